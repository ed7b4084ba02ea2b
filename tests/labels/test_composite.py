"""The composite measures of Hu and Loizou, against their own figures and on signals whose answer is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError, MissingExtraError, UsageError
from mtqnet.labels.composite import PesqVariant, combine, composite, llr, pesq_nb_raw, segmental_snr, wss
from mtqnet.labels.intrusive import pesq_wb

Samples = NDArray[np.float32]
Measure = Callable[..., float]
MEASURES = (llr, wss, segmental_snr)


def noise_for(speech: Samples, snr_db: float) -> Samples:
    """White noise, by power over the whole clip; the same noise at every level."""
    noise = np.random.default_rng(0).standard_normal(len(speech))
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return noise.astype(np.float32)


def sweeps(rate: int) -> tuple[Samples, Samples]:
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
    assert ratings == pytest.approx((3.3050, 2.6160, 2.7133), abs=5e-5)


def test_ratings_stay_on_the_scale() -> None:
    assert combine(0.0, 0.0, 35.0, 4.64) == (5.0, 5.0, 5.0)
    assert combine(3.0, 150.0, -10.0, 1.0) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("rate", "expected"),
    # From a plain program that takes one frame after the other and solves the equations without Levinson.
    [(16_000, (0.029772, 7.38041, 13.75523)), (8_000, (0.031718, 7.01384, 13.83572))],
)
def test_measures_agree_with_a_plain_program(rate: int, expected: tuple[float, float, float]) -> None:
    clean, processed = sweeps(rate)
    assert [measure(clean, processed, rate) for measure in MEASURES] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("pesq", ["wideband", "narrowband"])
def test_identical_signals_are_perfect(pesq: PesqVariant, voice: Callable[..., Samples]) -> None:
    speech = voice(3.0)  # with pauses of digital silence
    perfect = composite(speech, speech, pesq)
    assert (perfect.csig, perfect.cbak, perfect.covl) == (5.0, 5.0, 5.0)
    assert (perfect.llr, perfect.wss, perfect.segmental_snr_db) == (0.0, 0.0, 35.0)
    assert perfect.pesq == pytest.approx(4.64 if pesq == "wideband" else 4.5, abs=1e-3)


@pytest.mark.parametrize("pesq", ["wideband", "narrowband"])
def test_more_noise_is_worse_on_every_measure(pesq: PesqVariant, talker: Callable[..., Samples]) -> None:
    speech = talker(4.0)
    noisy = [composite(speech, speech + noise_for(speech, snr), pesq) for snr in (25, 15, 5, -5)]
    for better, worse in pairwise(noisy):
        assert better.csig > worse.csig
        assert better.cbak > worse.cbak
        assert better.covl > worse.covl
        assert better.llr < worse.llr
        assert better.wss < worse.wss
        assert better.segmental_snr_db > worse.segmental_snr_db
        assert better.pesq > worse.pesq


def test_ratings_are_the_sums_of_the_measures_next_to_them(talker: Callable[..., Samples]) -> None:
    speech = talker(3.0)
    got = composite(speech, speech + noise_for(speech, 8))
    assert (got.csig, got.cbak, got.covl) == combine(got.llr, got.wss, got.segmental_snr_db, got.pesq)
    assert got.pesq == pesq_wb(speech, speech + noise_for(speech, 8))


@pytest.mark.parametrize("gain", [0.25, 2.0, -1.0])
def test_envelope_and_slopes_ignore_gain(gain: float) -> None:
    clean, processed = sweeps(SAMPLE_RATE)
    for measure in (llr, wss):
        assert measure(clean, np.float32(gain) * processed) == pytest.approx(measure(clean, processed), rel=1e-5)


@pytest.mark.parametrize(("gain", "expected_db"), [(0.5, 6.0206), (0.9, 20.0), (2.0, 0.0), (-1.0, -6.0206)])
def test_segmental_snr_takes_levels_as_they_are(gain: float, expected_db: float) -> None:
    clean, _ = sweeps(SAMPLE_RATE)
    assert segmental_snr(clean, np.float32(gain) * clean) == pytest.approx(expected_db, abs=1e-3)


@pytest.mark.parametrize(("gain", "limit_db"), [(100.0, -10.0), (1.001, 35.0)])
def test_segmental_snr_is_limited_in_every_frame(gain: float, limit_db: float) -> None:
    clean, _ = sweeps(SAMPLE_RATE)
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


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("measure", MEASURES)
def test_sounds_that_are_predicted_perfectly_give_a_number(measure: Measure, rate: int) -> None:
    best = 35.0 if measure is segmental_snr else 0.0
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    sounds = (tone, np.ones_like(tone), sweeps(rate)[0])
    for clean, processed in permutations(sounds, 2):
        assert np.isfinite(measure(clean, processed, rate))
        assert measure(clean, processed, rate) != best
        assert measure(clean, clean, rate) == best


@pytest.mark.parametrize("gain", [0.25, 7.0, -1.0])
def test_llr_is_never_negative(gain: float) -> None:
    clean = noise_for(np.ones(SAMPLE_RATE, np.float32), 10)
    assert 0 <= llr(clean, np.float32(gain) * clean) < 1e-9


@pytest.mark.parametrize("measure", [*MEASURES, pesq_nb_raw, composite])
def test_signals_of_unlike_length_have_no_value(measure: Measure, voice: Callable[..., Samples]) -> None:
    with pytest.raises(LabelError, match="align them first"):
        measure(voice(2.0), voice(1.5))


@pytest.mark.parametrize("measure", [*MEASURES, pesq_nb_raw, composite])
def test_silence_has_no_value(measure: Measure, voice: Callable[..., Samples]) -> None:
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    with pytest.raises(LabelError, match="clean reference is silent"):
        measure(silence, voice(2.0))
    with pytest.raises(LabelError, match="processed signal is silent"):
        measure(voice(2.0), silence)


@pytest.mark.parametrize("measure", MEASURES)
def test_one_frame_and_a_hop_are_enough(measure: Measure) -> None:
    clean, processed = (signal[:600] for signal in sweeps(SAMPLE_RATE))
    assert np.isfinite(measure(clean, processed))
    with pytest.raises(LabelError, match="too short"):
        measure(clean[:599], processed[:599])


@pytest.mark.parametrize("measure", MEASURES)
def test_rates_below_8_khz_are_refused(measure: Measure) -> None:
    with pytest.raises(UsageError, match="8000 Hz"):
        measure(*sweeps(6_000), 6_000)


def test_unknown_variant_of_pesq_is_refused(voice: Callable[..., Samples]) -> None:
    with pytest.raises(UsageError, match="narrowband"):
        composite(voice(1.0), voice(1.0), "wb")  # type: ignore[arg-type]


def test_too_short_for_pesq_has_no_value() -> None:
    clean, processed = (signal[:2_000] for signal in sweeps(SAMPLE_RATE))
    assert np.isfinite(llr(clean, processed))
    with pytest.raises(LabelError, match="PESQ failed"):
        pesq_nb_raw(clean, processed)


def test_raw_score_is_the_one_that_p862_1_maps_to_the_lqo(talker: Callable[..., Samples]) -> None:
    import pesq

    speech = talker(3.0)
    noisy = speech + noise_for(speech, 10)
    raw = pesq_nb_raw(speech, noisy)
    assert 1.0 < raw < 4.0
    mapped = 0.999 + 4 / (1 + np.exp(4.6607 - 1.4945 * raw))  # ITU-T P.862.1, equation 1
    assert mapped == pytest.approx(pesq.pesq(SAMPLE_RATE, speech, noisy, "nb"), abs=1e-5)


def test_without_the_package_pesq_the_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, voice: Callable[..., Samples]
) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(MissingExtraError, match=r"mtqnet\[corpus\]"):
        composite(voice(1.0), voice(1.0), "narrowband")


def test_real_noisy_and_enhanced_speech_is_near_the_published_means(shared_data: Path) -> None:
    """VoiceBank-DEMAND and CMGAN. Published over 824 sentences: noisy 3.35, 2.44, 2.63; CMGAN 4.63, 3.94, 4.12."""
    folder = shared_data / "pairs_voicebank_demand_cmgan"
    names = sorted(path.name for path in (folder / "clean").glob("*.flac"))[::3]
    assert len(names) >= 8
    means = []
    for kind in ("noisy", "enhanced_cmgan"):
        rated = [composite(*_read(folder / "clean" / name, folder / kind / name)) for name in names]
        means.append(np.array([(one.csig, one.cbak, one.covl) for one in rated]))
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
