"""Lost frames and what is played instead of them; play-out that is late for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.corpus.degradations.network import GONE_MS, JOIN, MS, FrameLoss, Jitter
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.step import Step, Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]

NETWORK: tuple[Step, ...] = (
    FrameLoss(0.1, 1.5, 20, 1),
    FrameLoss(0.1, 1.5, 10, 1, "repeat"),
    FrameLoss(0.2, 3.0, 60, 2, "repeat", 0.8, 0.02),
    FrameLoss(0.2, 3.0, 40, 2, "fade"),
    Jitter((16_000,), (30_000,), (25,)),
    Jitter((4_000, 20_000), (9_000, 40_000), (10, 40)),
)
LONG_GAPS = FrameLoss(0.3, 12.0, 10, 4)
"""Gaps of 120 ms on average, twice as long as a fade"""


@pytest.fixture(scope="module")
def tracks(talker: Callable[..., Samples]) -> Tracks:
    """Speech in soft noise."""
    return WhiteNoise(40.0, 1)(start(talker(4.0, seed=3)))


def s_mos(step: Step, tracks: Tracks) -> float:
    made = step(tracks)
    return label(made.clean, made.speech, made.noise).s_mos


def lost(step: FrameLoss, length: int) -> NDArray[np.bool_]:
    """(length,): samples whose frames never came."""
    return np.repeat(step.lost(-(-length // (step.frame_ms * MS))), step.frame_ms * MS)[:length]


def since_last_good(gone: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(samples,): how many samples of the gap have gone by, 0 outside."""
    places = np.arange(len(gone))
    return places - np.maximum.accumulate(np.where(gone, -1, places))


@pytest.mark.parametrize("step", NETWORK, ids=str)
def test_sum_of_the_tracks_is_what_the_step_does_to_the_mixture(step: Step, tracks: Tracks) -> None:
    whole = step(replace(tracks, speech=tracks.mixture, noise=np.zeros_like(tracks.noise)))
    made = step(tracks)
    np.testing.assert_allclose(made.mixture, whole.mixture, atol=1e-6)
    assert np.abs(made.mixture - tracks.mixture).max() > 0.01


@pytest.mark.parametrize("step", NETWORK, ids=str)
def test_step_keeps_length_type_reference_and_time_and_repeats_itself(step: Step, tracks: Tracks) -> None:
    made, again = step(tracks), type(step)(**vars(step))(tracks)
    for part in ("clean", "speech", "noise"):
        samples = getattr(made, part)
        assert samples.dtype == np.float32 and samples.shape == tracks.clean.shape
        assert np.isfinite(samples).all()
        np.testing.assert_array_equal(samples, getattr(again, part))
    np.testing.assert_array_equal(made.clean, tracks.clean)
    assert delay(made.clean, made.speech) == 0


@pytest.mark.parametrize("step", NETWORK, ids=str)
def test_silence_stays_silent(step: Step) -> None:
    assert not np.any(step(start(np.zeros(33_333, np.float32))).mixture)


@pytest.mark.parametrize("concealment", ["repeat", "fade"])
def test_more_loss_lowers_s(concealment: str, tracks: Tracks) -> None:
    little = FrameLoss(0.02, 1.0, 20, 5, concealment)  # type: ignore[arg-type]
    assert s_mos(replace(little, rate=0.25, burst=2.0), tracks) < s_mos(little, tracks) - 0.5


def test_loss_that_is_concealed_damages_less(tracks: Tracks) -> None:
    silent = FrameLoss(0.1, 1.0, 40, 5)
    assert s_mos(replace(silent, concealment="repeat"), tracks) > s_mos(silent, tracks) + 0.5
    assert s_mos(replace(silent, concealment="fade"), tracks) > s_mos(silent, tracks) + 0.5


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
def test_repetition_fills_gaps_as_loudly_as_what_came_before(frame_ms: int) -> None:
    noise = np.random.default_rng(1).standard_normal(20 * 16_000).astype(np.float32)
    step = FrameLoss(0.2, 2.0, frame_ms, 3, "repeat")
    gone = lost(step, len(noise))
    made = step(Tracks(noise, noise, noise)).speech
    assert np.mean(made[gone] ** 2) == pytest.approx(np.mean(noise**2), rel=0.3)  # joins halve their power
    silent = replace(step, concealment="silence")(Tracks(noise, noise, noise)).speech
    assert np.mean(silent[gone] ** 2) < 0.15 * np.mean(noise**2)


def test_repetition_uses_the_last_good_frame_and_nothing_that_was_lost() -> None:
    """The samples of each frame are its number: in a gap, they must be the number of the frame before."""
    frame, count = 20 * MS, 200
    numbers = np.repeat(np.arange(1, count + 1), frame).astype(np.float32)
    step = FrameLoss(0.3, 2.0, 20, 6, "repeat")
    gone = lost(step, len(numbers))
    assert 20 < np.count_nonzero(gone) / frame < 100 and not gone[0]
    made = step(Tracks(numbers, numbers, numbers)).speech
    last_good = np.maximum.accumulate(np.where(gone, 0, numbers))
    np.testing.assert_allclose(made[gone], last_good[gone], rtol=1e-5)


def test_received_frames_are_untouched_but_for_the_joins(tracks: Tracks) -> None:
    step = FrameLoss(0.1, 1.5, 20, 1, "repeat")
    near = np.convolve(lost(step, len(tracks.clean)), np.ones(2 * JOIN + 1), mode="same") > 0.5
    made = step(tracks)
    np.testing.assert_array_equal(made.speech[~near], tracks.speech[~near])
    assert np.any(made.speech[near] != tracks.speech[near])


def test_repetition_makes_no_clicks() -> None:
    """At the ends of a gap in a tone, consecutive samples differ by little."""
    time = np.arange(8 * 16_000) / 16_000
    tone = np.sin(2 * np.pi * 333 * time).astype(np.float32)
    made = FrameLoss(0.2, 2.0, 20, 3, "repeat")(Tracks(tone, tone, tone)).speech
    assert np.abs(np.diff(made)).max() < np.abs(np.diff(tone)).max() + 2 / JOIN + 1e-3


def test_a_clip_that_begins_with_a_gap_begins_with_silence() -> None:
    ones = np.ones(16_000, np.float32)
    step = next(s for s in (FrameLoss(0.4, 2.0, 20, seed, "repeat") for seed in range(99)) if s.lost(50)[0])
    made = step(Tracks(ones, ones, ones)).speech
    assert not np.any(made[: 20 * MS])
    assert made.max() == pytest.approx(1.0, abs=1e-6)


def test_fade_is_repetition_that_dies_away() -> None:
    noise = np.random.default_rng(1).standard_normal(30 * 16_000).astype(np.float32)
    repeated, faded = (
        replace(LONG_GAPS, concealment=kind)(Tracks(noise, noise, noise)).speech for kind in ("repeat", "fade")
    )
    age = since_last_good(lost(LONG_GAPS, len(noise))) / MS
    ratios = []
    for low, high in ((0, 10), (20, 30), (45, 55)):
        part = (age > low) & (age <= high)
        ratios.append(float(np.sum(faded[part] ** 2) / np.sum(repeated[part] ** 2)))
    np.testing.assert_allclose(ratios, (1.0, 0.7**2, 0.2**2), atol=0.02)
    late = age > GONE_MS + 0.1
    assert np.count_nonzero(late) > 10_000
    assert not np.any(faded[late]) and np.any(repeated[late])


@pytest.mark.parametrize(("bad_loss", "good_loss"), [(1.0, 0.0), (0.7, 0.0), (0.8, 0.05)])
def test_both_states_lose_as_asked(bad_loss: float, good_loss: float) -> None:
    """The rate is the whole share; runs of loss end by leaving the bad state or by a frame that comes through."""
    gone = FrameLoss(0.2, 4.0, 20, 7, "silence", bad_loss, good_loss).lost(200_000)
    assert np.mean(gone) == pytest.approx(0.2, abs=0.01)
    mean_gap = np.count_nonzero(gone) / np.count_nonzero(gone[1:] & ~gone[:-1])
    if good_loss == 0:
        assert mean_gap == pytest.approx(1 / (1 - 0.75 * bad_loss), rel=0.05)
    pairs = np.mean(gone[1:] & gone[:-1]) / np.mean(gone)
    assert pairs == pytest.approx(1 - 1 / mean_gap, abs=0.01)
    assert pairs > 0.4, "not in bursts"


def test_late_stretches_are_late_and_all_else_is_where_it_was() -> None:
    clip = np.random.default_rng(1).standard_normal(48_000).astype(np.float32)
    made = Jitter((10_000, 30_000), (15_000, 40_000), (20, 35))(Tracks(clip, clip, clip)).speech
    kept = [slice(0, 10_001), slice(15_000 + JOIN, 30_001), slice(40_000 + JOIN, None)]
    for part in kept:
        np.testing.assert_array_equal(made[part], clip[part])
    for begin, end, ms in ((10_000, 15_000, 20), (30_000, 40_000, 35)):
        late = slice(begin + JOIN, end + 1)
        np.testing.assert_allclose(made[late], clip[begin + JOIN - ms * MS : end + 1 - ms * MS], atol=1e-6)


def test_jitter_lowers_s_and_leaves_n(tracks: Tracks) -> None:
    made = Jitter((6_000, 22_000), (16_000, 45_000), (30, 40))(tracks)
    before, after = (label(t.clean, t.speech, t.noise) for t in (tracks, made))
    assert after.s_mos < before.s_mos - 0.2
    assert before.n_mos - after.n_mos < before.s_mos - after.s_mos


def test_jitter_makes_no_clicks() -> None:
    tone = np.sin(2 * np.pi * 333 * np.arange(48_000) / 16_000).astype(np.float32)
    made = Jitter((10_000, 30_000), (15_000, 40_000), (20, 35))(Tracks(tone, tone, tone)).speech
    assert np.abs(np.diff(made)).max() < np.abs(np.diff(tone)).max() + 2 / JOIN + 1e-3


def test_drawn_jitter_comes_back_in_time_and_is_late_for_less_than_half(full_pool: Pool) -> None:
    rng = np.random.default_rng(2)
    counts = set()
    for _ in range(60):
        step = Jitter.draw(rng, full_pool, 48_000)
        counts.add(len(step.grow_at))
        places = np.ravel(np.stack([step.grow_at, step.shrink_at], axis=1))
        assert np.all(np.diff(places) > JOIN) and places[0] > 4_800 and places[-1] < 0.9 * 48_000
        assert sum(step.shrink_at) - sum(step.grow_at) < 24_000
        assert all(10 <= stretch <= 40 for stretch in step.stretch_ms)
    assert counts == {1, 2, 3, 4}
