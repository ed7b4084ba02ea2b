"""Length: windows cover everything once, and their scores become one by time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtqnet.audio.level import FRAME
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.audio.windows import MAX_WINDOW_S, Window, active_seconds, combine, cut, filled, pad, settled, weights

LIMIT = round(MAX_WINDOW_S * SAMPLE_RATE)


@given(samples=st.integers(1, 50 * LIMIT))
def test_windows_cover_without_gap_or_overlap(samples: int) -> None:
    windows = cut(samples)
    assert windows[0].start == 0
    assert windows[-1].stop == samples
    assert all(left.stop == right.start for left, right in pairwise(windows))


@given(samples=st.integers(1, 50 * LIMIT))
def test_windows_are_few_equal_and_short_enough(samples: int) -> None:
    lengths = [window.samples for window in cut(samples)]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= LIMIT
    assert len(lengths) == -(-samples // LIMIT)


def test_up_to_the_limit_a_recording_stays_whole() -> None:
    assert len(cut(LIMIT)) == 1
    assert len(cut(LIMIT + 1)) == 2


def test_equally_lively_windows_weigh_the_same(voice: Callable[..., Samples]) -> None:
    samples = np.tile(voice(4.0), 6)
    weight = weights(cut(len(samples)), samples)
    np.testing.assert_allclose(weight, weight.mean(), rtol=0.1)
    values = np.array([[1.0, 3.0], [2.0, 4.0], [3.0, 5.0]])
    np.testing.assert_allclose(combine(values, weight), [2.0, 4.0], atol=0.1)


def test_a_pause_weighs_nothing_be_it_silent_or_noisy(voice: Callable[..., Samples]) -> None:
    hiss = np.random.default_rng(0).standard_normal(2 * LIMIT).astype(np.float32) * np.float32(1e-3)
    speech = np.resize(voice(4.0), LIMIT)
    for pause in (0 * hiss, hiss):
        samples = np.concatenate([speech, pause])
        weight = weights(cut(len(samples)), samples)
        assert weight[0] > 1.0
        np.testing.assert_array_equal(weight[1:], 0.0)


def test_without_any_active_sound_length_weighs() -> None:
    windows = cut(2 * LIMIT)
    np.testing.assert_allclose(weights(windows, np.zeros(2 * LIMIT, dtype=np.float32)), MAX_WINDOW_S)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 5))
def test_padding_keeps_every_row_and_adds_zeros(lengths: list[int], width: int) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((length, width)).astype(np.float32) for length in lengths]
    batch, told = pad(rows)
    assert batch.shape == (len(rows), max(lengths), width)
    assert batch.dtype == np.float32
    assert told.tolist() == lengths
    for place, row in zip(batch, rows, strict=True):
        np.testing.assert_array_equal(place[: len(row)], row)
        assert not place[len(row) :].any()


def test_a_batch_may_be_a_whole_multiple_long() -> None:
    rows = [np.ones((length, 3), dtype=np.float32) for length in (5, 9, 2)]
    batch, lengths = pad(rows, 4)
    assert batch.shape == (3, 12, 3)
    assert lengths.tolist() == [5, 9, 2]
    assert batch.sum() == 3 * (5 + 9 + 2)
    assert pad(rows[1:2], 9)[0].shape == (1, 9, 3)


@given(
    samples=st.integers(1, 4 * LIMIT),
    skip=st.integers(0, 2 * LIMIT),
    blocks=st.lists(st.integers(500, LIMIT), min_size=1, max_size=5),
)
def test_windows_filled_from_blocks_are_the_windows_of_the_whole(
    samples: int, skip: int, blocks: list[int]
) -> None:
    recording = np.arange(skip + samples, dtype=np.float32)
    edges = np.cumsum(np.resize(blocks, 1 + len(recording) // min(blocks)))
    windows = cut(samples)
    pieces = filled(windows, np.split(recording, edges[edges < len(recording)]), skip)
    for window, piece in zip(windows, pieces, strict=True):
        np.testing.assert_array_equal(piece, recording[skip:][window.start // FRAME * FRAME : window.stop])


def test_blocks_that_end_early_leave_windows_out() -> None:
    assert len(list(filled(cut(3 * LIMIT), [np.zeros(2 * LIMIT, dtype=np.float32)]))) == 2


def test_active_time_is_a_fraction_of_a_second() -> None:
    sound = np.zeros(SAMPLE_RATE, np.float32)
    sound[: SAMPLE_RATE // 4] = 0.1
    assert active_seconds(Window(0, SAMPLE_RATE), sound, 1e-4) == pytest.approx(0.25, abs=0.021)


def test_the_weight_of_a_single_window_is_one() -> None:
    only = [Window(0, 8000)]
    assert settled(only, [0.3]).tolist() == weights(only, np.zeros(8000, np.float32)).tolist() == [1.0]
