"""Signals that do not belong together, late signals and drifting clocks get no label, or a caution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from mtqnet.corpus.degradations.generative import Resynthesis
from mtqnet.corpus.degradations.step import start
from mtqnet.errors import LabelError
from mtqnet.labels import pairing
from mtqnet.labels.pairing import (
    LEAST_SEGMENTS,
    ON_LINE,
    REACH,
    SEGMENT,
    best_delay,
    check_delay,
    check_pair,
    drift,
    segment_delays,
    similarity,
)
from mtqnet.labels.three_signal import label_three, label_two

Samples = NDArray[np.float32]
RATE = 16_000


def noise(like: Samples, snr_db: float) -> Samples:
    level = float(np.std(like)) * 10 ** (-snr_db / 20)
    return (level * np.random.default_rng(5).standard_normal(len(like))).astype(np.float32)


def drifted(samples: Samples, ppm: float) -> Samples:
    return np.asarray(soxr.resample(samples.astype(np.float64), RATE, RATE * (1 + ppm / 1e6)), dtype=np.float32)


def late(samples: Samples, seconds: float) -> Samples:
    return np.concatenate([np.zeros(round(seconds * RATE), np.float32), samples])[: len(samples)]


def test_another_sentence_is_refused_by_both_labellers(talker: Callable[..., Samples]) -> None:
    clean, other = talker(5.0, seed=1), talker(5.0, seed=2)
    background = noise(clean, 15)
    with pytest.raises(LabelError, match="do not belong together"):
        label_two(clean, other)
    with pytest.raises(LabelError, match="do not belong together"):
        label_three(clean, clean + background, other + background)


def test_a_delay_beyond_the_search_range_is_refused_with_its_length(talker: Callable[..., Samples]) -> None:
    clean = talker(6.0)
    with pytest.raises(LabelError, match=r"more than 0\.5 s late"):
        label_two(clean, late(clean, 1.0))
    assert best_delay(clean, late(clean, 1.0))[0] == pytest.approx(1.0, abs=0.02)


def test_a_clock_drift_of_50_ppm_is_refused_and_a_small_one_gets_a_caution(talker: Callable[..., Samples]) -> None:
    clean = talker(6.0)
    background = noise(clean, 20)
    with pytest.raises(LabelError, match=r"clock of the processed signal differs .* [+]5\d ppm|[+](49|50) ppm"):
        label_three(clean, clean + background, drifted(clean + background, 50)[: len(clean)])
    assert "clock" in check_delay(clean, drifted(clean, 20)[: len(clean)], "processed")
    assert check_delay(clean, clean + background, "processed") == ""


@pytest.mark.parametrize("ppm", [-100.0, 300.0])
def test_the_drift_is_measured(ppm: float, talker: Callable[..., Samples]) -> None:
    clean = talker(6.0)
    found = drift(*segment_delays(clean, drifted(clean, ppm)[: len(clean)]))
    assert found is not None
    assert found.ppm == pytest.approx(ppm, rel=0.1)


def test_samples_that_a_jitter_buffer_inserted_are_reported(talker: Callable[..., Samples]) -> None:
    clean = talker(6.0)
    stretched = np.insert(clean, len(clean) // 2, np.zeros(160, np.float32))[: len(clean)]
    assert "changes by 10 ms" in check_delay(clean, stretched, "processed")


def test_resynthesised_speech_belongs_to_its_original(talker: Callable[..., Samples]) -> None:
    """It keeps no waveform, only the envelopes."""
    clean = talker(4.0)
    rng = np.random.default_rng(1)
    made = Resynthesis.draw(rng, None, len(clean))(start(clean)).speech  # type: ignore[arg-type]
    check_pair(clean, made, "processed")
    assert similarity(clean, made) > similarity(clean, talker(4.0, seed=9)) + 0.3


def test_noise_that_hides_the_speech_is_no_error_but_a_caution(talker: Callable[..., Samples]) -> None:
    clean = talker(5.0)
    background = noise(clean, -15)
    made = label_three(clean, clean + background, 0.5 * (clean + background))
    assert "hides" in made.caution
    assert made.n_mos < 1.5


def test_a_signal_is_as_similar_to_itself_as_possible(talker: Callable[..., Samples]) -> None:
    clean = talker(3.0)
    assert similarity(clean, clean) == pytest.approx(1.0)
    assert similarity(clean, np.float32(0.1) * clean) == pytest.approx(1.0, abs=1e-3)
    assert similarity(clean, np.zeros_like(clean)) == 0.0


@pytest.mark.parametrize(("coherent", "similar"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0)])
def test_one_of_two_measures_is_enough_to_belong_together(
    coherent: float, similar: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "coherence", lambda *_: coherent)
    monkeypatch.setattr(pairing, "similarity", lambda *_: similar)
    assert pairing.belong(np.zeros(1, np.float32), np.zeros(1, np.float32)) == bool(coherent or similar)


def test_delays_of_segments_do_not_depend_on_the_level(talker: Callable[..., Samples]) -> None:
    clean = talker(4.0)
    other = late(clean, 0.001)
    places, lags = segment_delays(clean, other)
    soft_places, soft_lags = segment_delays(np.float32(1e-3) * clean, np.float32(1e-3) * other)
    assert lags == pytest.approx(16.0, abs=0.1) and len(lags) >= LEAST_SEGMENTS
    np.testing.assert_allclose(soft_places, places, rtol=1e-4)
    np.testing.assert_allclose(soft_lags, lags, atol=1e-3)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_delay_at_the_limit_of_the_search_is_not_reliable(sign: int, talker: Callable[..., Samples]) -> None:
    clean = talker(4.0)
    _, lags = segment_delays(*(clean, late(clean, REACH / RATE))[::sign])
    assert np.all(np.abs(lags) < REACH)


def test_the_place_of_a_segment_is_the_centre_of_its_energy() -> None:
    clean = np.zeros(RATE, np.float32)
    burst = np.hanning(400) * np.sin(np.arange(400) * 2 * np.pi * 300 / RATE)
    clean[7000:7400] = burst
    places, lags = segment_delays(clean, np.roll(clean, 5))
    assert len(places) and places == pytest.approx(7200.0, abs=5.0)
    assert lags == pytest.approx(5.0, abs=0.1)


def test_segments_may_deviate_by_the_drift_within_their_length() -> None:
    """The centre of energy of a segment is not exactly the place to which its delay belongs."""
    slope = 300e-6
    within = ON_LINE + 0.8 * slope * SEGMENT / 4
    places: NDArray[np.float64] = np.arange(12, dtype=np.float64) * 4000.0
    lags: NDArray[np.float64] = slope * places + within * np.tile([1.0, -1.0, -1.0, 1.0], 3)
    found = drift(places, lags)
    assert found is not None
    assert found.ppm == pytest.approx(300, abs=60)
    jumps: NDArray[np.float64] = 3.0 * np.tile([1.0, -1.0, -1.0, 1.0], 3)
    assert drift(places, np.add(lags, jumps, dtype=np.float64)) is None
