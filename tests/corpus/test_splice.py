"""A splice degrades a part of the clip alone, or everything but a part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import Clipping
from mtqnet.corpus.degradations.network import SPLICE_FADE, Splice
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.step import Tracks, start

Samples = NDArray[np.float32]
STEPS = (WhiteNoise(5.0, 1), Clipping(18.0, False))


@pytest.fixture
def tracks(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(30.0, 2)(start(talker(3.0)))


def degraded(tracks: Tracks) -> Tracks:
    for step in STEPS:
        tracks = step(tracks)
    return tracks


@pytest.mark.parametrize("kind", ["degraded", "good"])
def test_the_part_and_the_rest_are_exactly_before_and_after_the_steps(kind: str, tracks: Tracks) -> None:
    made = Splice(1.0, 2.0, kind, STEPS)(tracks)  # type: ignore[arg-type]
    inside, outside = (degraded(tracks), tracks) if kind == "degraded" else (tracks, degraded(tracks))
    part = slice(SAMPLE_RATE + SPLICE_FADE, 2 * SAMPLE_RATE - SPLICE_FADE)
    for name in ("speech", "noise"):
        whole = getattr(made, name)
        np.testing.assert_array_equal(whole[part], getattr(inside, name)[part])
        for rest in (slice(None, SAMPLE_RATE), slice(2 * SAMPLE_RATE, None)):
            np.testing.assert_array_equal(whole[rest], getattr(outside, name)[rest])
    np.testing.assert_array_equal(made.clean, tracks.clean)


class Silenced:
    """A step that leaves nothing."""

    def __call__(self, tracks: Tracks) -> Tracks:
        return tracks.gained(0.0)


def test_ends_of_the_part_are_faded() -> None:
    ones = np.ones(3 * SAMPLE_RATE, np.float32)
    weight = Splice(1.0, 2.0, "degraded", (Silenced(),))(start(ones)).speech
    assert weight.min() == 0 and weight.max() == 1
    assert np.abs(np.diff(weight)).max() == pytest.approx(1 / SPLICE_FADE, rel=0.01)


def test_place_is_drawn_within_the_clip_and_half_a_second_to_four_long() -> None:
    rng = np.random.default_rng(1)
    for samples in (2 * SAMPLE_RATE, 7 * SAMPLE_RATE):
        drawn = [Splice.over(rng, STEPS, samples, 0.4) for _ in range(200)]
        lengths = [step.end_s - step.start_s for step in drawn]
        assert min(lengths) >= 0.499 and max(lengths) <= min(4.001, 0.801 * samples / SAMPLE_RATE)
        assert min(step.start_s for step in drawn) >= 0
        assert max(step.end_s for step in drawn) <= samples / SAMPLE_RATE + 0.001
        assert 0.25 < np.mean([step.kind == "good" for step in drawn]) < 0.55
