"""Length: windows cover everything once, and their scores become one by time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtqnet.signal.audio import SAMPLE_RATE
from mtqnet.signal.windows import MAX_WINDOW_S, combine, cut, pad

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


@given(st.integers(1, 5 * LIMIT), st.integers(1, 6))
def test_combining_is_the_mean_over_time(samples: int, targets: int) -> None:
    windows = cut(samples)
    values = np.random.default_rng(samples).uniform(1, 5, (len(windows), targets))
    by_sample = sum(window.samples * row for window, row in zip(windows, values, strict=True)) / samples
    np.testing.assert_allclose(combine(windows, values), by_sample)


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
