"""The composite measures of Hu and Loizou, against their own figures and on signals whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError
from mtqnet.labels.intrusive import Composite, combine, composite, llr, pesq_wb, segmental_snr, wss

Samples = NDArray[np.float32]
Measure = Callable[..., float]
MEASURES = (llr, wss, segmental_snr)


def noise_for(speech: Samples, snr_db: float) -> Samples:
    """White noise, by power over the whole clip; the same noise at every level."""
    noise = np.random.default_rng(0).standard_normal(len(speech))
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return noise.astype(np.float32)


def rated(clean: Samples, processed: Samples) -> Composite:
    return composite(clean, processed, pesq_wb(clean, processed))


def sweeps(rate: int = SAMPLE_RATE) -> tuple[Samples, Samples]:
    """One second of a rich sound without any random number, and the same with another sound in it."""
    n = np.arange(rate, dtype=np.float64)
    clean = 0.02 * np.sin(1.7 * n * n)
    for harmonic in range(1, 9):
        clean += 0.1 / harmonic * np.sin(harmonic * 2 * np.pi * (150 * n + 0.002 * n * n) / rate)
    processed = 0.9 * clean + 0.01 * np.sin(2.3 * n * n) + 0.02 * np.sin(2 * np.pi * 1000 * n / rate)
    return clean.astype(np.float32), processed.astype(np.float32)


def test_sums_give_the_figures_of_the_authors_example() -> None:
    # Printed in the readme of their program, for sp09.wav and enhanced_logmmse.wav.
    ratings = combine(llr=0.681368, wss=49.671978, segmental_snr_db=3.991727, pesq=2.255732)
    assert astuple(ratings) == pytest.approx((3.3050, 2.6160, 2.7133), abs=5e-5)


def test_ratings_stay_on_the_scale() -> None:
    assert combine(0.0, 0.0, 35.0, 4.64) == Composite(5.0, 5.0, 5.0)
    assert combine(3.0, 150.0, -10.0, 1.0) == Composite(1.0, 1.0, 1.0)


def test_measures_agree_with_a_plain_program() -> None:
    """It takes one frame after the other and solves the equations without Levinson."""
    clean, processed = sweeps()
    found = [measure(clean, processed) for measure in MEASURES]
    assert found == pytest.approx((0.029772, 7.38041, 13.75523), rel=1e-4)


def test_identical_signals_are_perfect(voice: Callable[..., Samples]) -> None:
    speech = voice(3.0)  # with pauses of digital silence
    assert rated(speech, speech) == Composite(5.0, 5.0, 5.0)
    assert [measure(speech, speech) for measure in MEASURES] == [0.0, 0.0, 35.0]


def test_more_noise_is_worse_on_every_measure(talker: Callable[..., Samples]) -> None:
    speech = talker(4.0)
    noisy = [speech + noise_for(speech, snr) for snr in (25, 15, 5, -5)]
    ratings = [astuple(rated(speech, one)) for one in noisy]
    distances = [(llr(speech, one), wss(speech, one), -segmental_snr(speech, one)) for one in noisy]
    assert np.all(np.diff(ratings, axis=0) < 0) and np.all(np.diff(distances, axis=0) > 0)


@pytest.mark.parametrize("gain", [0.25, 2.0, -1.0])
def test_envelope_and_slopes_ignore_gain(gain: float) -> None:
    clean, processed = sweeps()
    for measure in (llr, wss):
        assert measure(clean, np.float32(gain) * processed) == pytest.approx(measure(clean, processed), rel=1e-5)


@pytest.mark.parametrize(("gain", "expected_db"), [(0.5, 6.0206), (0.9, 20.0), (2.0, 0.0), (-1.0, -6.0206)])
def test_segmental_snr_takes_levels_as_they_are(gain: float, expected_db: float) -> None:
    clean, _ = sweeps()
    assert segmental_snr(clean, np.float32(gain) * clean) == pytest.approx(expected_db, abs=1e-3)


@pytest.mark.parametrize(("gain", "limit_db"), [(100.0, -10.0), (1.001, 35.0)])
def test_segmental_snr_is_limited_in_every_frame(gain: float, limit_db: float) -> None:
    clean, _ = sweeps()
    assert segmental_snr(clean, np.float32(gain) * clean) == limit_db


@pytest.mark.parametrize("measure", MEASURES)
def test_where_the_clean_signal_is_digital_silence_nothing_counts(
    measure: Measure, talker: Callable[..., Samples]
) -> None:
    clean = talker(2.0)
    clean[10_000:20_000] = 0
    processed = clean + noise_for(clean, 10)
    other = processed.copy()
    other[10_480:19_520] *= 50  # a frame and more away from the speech
    assert np.isfinite(measure(clean, processed))
    assert measure(clean, processed) == measure(clean, other)
    other[:9_000] *= 50
    assert measure(clean, processed) != measure(clean, other)


@pytest.mark.parametrize("measure", MEASURES)
def test_gaps_in_the_processed_signal_count_and_give_a_number(
    measure: Measure, talker: Callable[..., Samples]
) -> None:
    clean = talker(2.0)
    whole = clean + noise_for(clean, 30)
    torn = whole.copy()
    torn[8_000:16_000] = 0
    assert np.isfinite(measure(clean, torn))
    worse = measure(clean, torn) - measure(clean, whole)
    assert worse < 0 if measure is segmental_snr else worse > 0


@pytest.mark.parametrize("measure", MEASURES)
def test_sounds_that_are_predicted_perfectly_give_a_number(measure: Measure) -> None:
    best = 35.0 if measure is segmental_snr else 0.0
    tone = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    sounds = (tone, np.ones_like(tone), sweeps()[0])
    for clean, processed in permutations(sounds, 2):
        assert np.isfinite(measure(clean, processed))
        assert measure(clean, processed) != best
        assert measure(clean, clean) == best


@pytest.mark.parametrize("gain", [0.25, 7.0, -1.0])
def test_llr_is_never_negative(gain: float) -> None:
    clean = noise_for(np.ones(SAMPLE_RATE, np.float32), 10)
    assert 0 <= llr(clean, np.float32(gain) * clean) < 1e-9


@pytest.mark.parametrize("measure", MEASURES)
def test_signals_of_unlike_length_have_no_value(measure: Measure, voice: Callable[..., Samples]) -> None:
    with pytest.raises(LabelError, match="align them first"):
        measure(voice(2.0), voice(1.5))


@pytest.mark.parametrize("measure", MEASURES)
def test_silence_has_no_value(measure: Measure, voice: Callable[..., Samples]) -> None:
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    with pytest.raises(LabelError, match="clean reference is silent"):
        measure(silence, voice(2.0))
    with pytest.raises(LabelError, match="processed signal is silent"):
        measure(voice(2.0), silence)


@pytest.mark.parametrize("measure", MEASURES)
def test_one_frame_and_a_hop_are_enough(measure: Measure) -> None:
    clean, processed = (signal[:600] for signal in sweeps())
    assert np.isfinite(measure(clean, processed))
    with pytest.raises(LabelError, match="too short"):
        measure(clean[:599], processed[:599])


def test_real_noisy_and_enhanced_speech_is_near_the_published_means(shared_data: Path) -> None:
    """VoiceBank-DEMAND and CMGAN. Published over 824 sentences: noisy 3.35, 2.44, 2.63; CMGAN 4.63, 3.94, 4.12."""
    folder = shared_data / "pairs_voicebank_demand_cmgan"
    names = sorted(path.name for path in (folder / "clean").glob("*.flac"))[::3]
    assert len(names) >= 8
    means = []
    for kind in ("noisy", "enhanced_cmgan"):
        pairs = [_read(folder / "clean" / name, folder / kind / name) for name in names]
        means.append(np.array([astuple(rated(*pair)) for pair in pairs]))
    noisy, enhanced = means
    assert np.all(enhanced >= noisy)
    assert noisy.mean(axis=0) == pytest.approx([3.35, 2.44, 2.63], abs=0.6)
    assert enhanced.mean(axis=0) == pytest.approx([4.63, 3.94, 4.12], abs=0.4)


def test_real_recording_agrees_with_a_plain_program(shared_data: Path) -> None:
    folder = shared_data / "pairs_voicebank_demand_cmgan"
    clean, noisy = _read(folder / "clean" / "p232_005.flac", folder / "noisy" / "p232_005.flac")
    got = [measure(clean, noisy) for measure in MEASURES]
    assert got == pytest.approx([0.918736, 42.70307, -0.01148], rel=1e-6, abs=1e-5)


def _read(clean: Path, processed: Path) -> tuple[Samples, Samples]:
    one, other = (sf.read(path, dtype="float32")[0] for path in (clean, processed))
    return one, other
