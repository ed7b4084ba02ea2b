"""Three measures of degraded speech: each detects its kind, and together they are valid for codecs without waveform
matching."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.features import istft, stft
from mtqnet.corpus.degradations.device import BandLimit, mnru
from mtqnet.corpus.degradations.step import start
from mtqnet.labels.speech import (
    KEPT,
    LOST,
    MISSING_WEIGHT,
    MOST_DB,
    Looks,
    brought_back,
    coherence,
    curves,
    envelope_distance,
    equivalent_q,
    is_narrow,
    look,
    narrowed,
)

Samples = NDArray[np.float32]


def vocoded(speech: Samples, seed: int = 3) -> Samples:
    """Keep the magnitudes and draw random phases, as a vocoder without pitch phase does."""
    spectra = stft(speech)
    phases = np.random.default_rng(seed).uniform(-np.pi, np.pi, spectra.shape)
    return istft(np.abs(spectra) * np.exp(1j * phases), len(speech))


def modulated(speech: Samples, q_db: float) -> Samples:
    return mnru(speech, q_db, np.random.default_rng(6))


def test_undamaged_speech_looks_perfect(talker: Callable[..., Samples]) -> None:
    seen = look(talker(), talker())
    assert seen.pesq == pytest.approx(4.64, abs=0.01)
    assert seen.envelope_db == pytest.approx(0.0, abs=1e-9)
    assert seen.kept == pytest.approx(1.0, abs=1e-3)
    assert equivalent_q(seen, curves()) == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize("gain", [0.05, 3.0])
def test_level_changes_no_look(gain: float, talker: Callable[..., Samples]) -> None:
    speech, damaged = talker(), modulated(talker(), 20)
    one, other = look(speech, damaged), look(speech, np.float32(gain) * damaged)
    assert other.pesq == pytest.approx(one.pesq, abs=0.02)
    assert other.envelope_db == pytest.approx(one.envelope_db, abs=0.02)
    assert other.kept == pytest.approx(one.kept, abs=1e-3)


def test_more_modulated_noise_is_further_away_by_every_look(talker: Callable[..., Samples]) -> None:
    looks = [look(talker(), modulated(talker(), q)) for q in (40, 30, 20, 10)]
    for before, after in itertools.pairwise(looks):
        assert after.pesq < before.pesq and after.envelope_db > before.envelope_db and after.kept < before.kept


def test_waveform_is_kept_by_filters_and_noise_and_lost_by_a_vocoder(talker: Callable[..., Samples]) -> None:
    speech = talker()
    filtered = BandLimit(300.0, 3400.0, 12)(start(speech)).speech
    assert coherence(speech, filtered) > 0.9
    assert coherence(speech, modulated(speech, 15)) > KEPT
    assert coherence(speech, vocoded(speech)) < 0.35
    assert coherence(speech, -speech) == pytest.approx(0.0, abs=1e-3)


def test_envelope_is_deaf_to_phase(talker: Callable[..., Samples]) -> None:
    speech = talker()
    assert envelope_distance(speech, vocoded(speech)) < 0.5 * envelope_distance(speech, modulated(speech, 10))


def test_lost_band_counts_no_more_than_the_most(talker: Callable[..., Samples]) -> None:
    speech = talker()
    narrow = BandLimit(0.0, 1500.0, 64)(start(speech)).speech
    assert 1.0 < envelope_distance(speech, narrow) < MOST_DB
    assert envelope_distance(speech, np.zeros_like(speech)) == MOST_DB


def test_pesq_has_no_say_where_the_waveform_is_lost() -> None:
    good, bad = (equivalent_q(Looks(pesq, 0.5, LOST), curves()) for pesq in (4.0, 1.2))
    assert good == bad
    good, bad = (equivalent_q(Looks(pesq, 0.5, KEPT), curves()) for pesq in (4.0, 1.2))
    assert good > bad + 10


@pytest.mark.shared
def test_neural_codecs_rank_as_listeners_rank_them(shared_data: Path) -> None:
    """MUSHRA of seven codec conditions and the reference: at least 0.80 per condition, of G from two signals."""
    from research.labeller.tried import codec_ranks, rate_codecs

    rated = rate_codecs(shared_data / "mushra_neural_codec")
    per_condition, per_clip = codec_ranks(rated, np.array([clip.g_mos for clip in rated]))
    assert len(rated) == 64
    assert per_condition >= 0.80
    assert per_clip >= 0.50


def test_missing_energy_counts_less_than_added_energy(talker: Callable[..., Samples]) -> None:
    clean = talker(4.0)
    spectrum, hertz = np.fft.rfft(clean), np.fft.rfftfreq(len(clean), 1 / 16_000)
    band = (hertz > 3000) & (hertz < 4500)
    weaker, stronger = (
        np.fft.irfft(np.where(band, gain * spectrum, spectrum), len(clean)).astype(np.float32)
        for gain in (0.3, 3.3)
    )
    missing, full = (envelope_distance(clean, weaker, weight) for weight in (MISSING_WEIGHT, 1.0))
    assert missing < 0.95 * full
    assert missing < envelope_distance(clean, stronger)


def test_swallowed_syllables_are_detected(talker: Callable[..., Samples]) -> None:
    """Silence in pauses does not change the measure, silence in syllables does."""
    clean = talker(6.0)
    envelope = np.convolve(np.abs(clean), np.ones(800) / 800, mode="same")
    emptied = np.where(envelope > 0.02 * envelope.max(), clean, 0).astype(np.float32)
    swallowed = clean.copy()
    for place in range(8_000, len(clean) - 4_000, 24_000):
        swallowed[place : place + 3_200] = 0
    whole, between, syllables = (equivalent_q(look(clean, part), curves()) for part in (clean, emptied, swallowed))
    assert between > whole - 6
    assert syllables < between - 8


@pytest.mark.parametrize(("below_db", "narrow"), [(35.0, False), (44.5, False), (46.0, True), (60.0, True)])
def test_narrowband_means_45_db_less_power_above_4250_hz(below_db: float, narrow: bool) -> None:
    time = np.arange(16_000) / 16_000
    upper = 10 ** (-below_db / 20) * np.sin(2 * np.pi * 6000 * time)
    for gain in (0.001, 1.0):
        tones = gain * (np.sin(2 * np.pi * 1000 * time) + upper)
        assert is_narrow(tones.astype(np.float32)) == narrow
    assert not is_narrow(np.zeros(16_000, np.float32))


@pytest.mark.parametrize("samples", [150, 199, 200, 205, 301])
def test_narrowband_speech_is_brought_back_to_the_length_of_the_reference(samples: int) -> None:
    assert brought_back(np.ones(100, np.float32), samples).shape == (samples,)
    assert narrowed(np.ones(samples, np.float32)).shape == (samples,)
