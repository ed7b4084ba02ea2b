"""Signals that do not belong together, late signals and drifting clocks get no label, or a caution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from mtqnet.corpus.degradations.step import start
from mtqnet.corpus.degradations.vocoder import Resynthesis
from mtqnet.errors import LabelError
from mtqnet.labels.pairing import best_delay, check_delay, check_pair, drift, segment_delays, similarity
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
