"""Spectra are compared with the definitions of other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtqnet.audio.features import (
    CACHED_FRAMES,
    FEATURES,
    MEL_BANDS,
    MEL_FLOOR,
    MEL_HOP,
    MEL_WINDOW,
    log_mel,
    mel_matrix,
    peak_normalised,
    spectrum,
)
from mtqnet.audio.resampling import SAMPLE_RATE

NOISE = (0.1 * np.random.default_rng(1).standard_normal(2 * SAMPLE_RATE)).astype(np.float32)


@given(length=st.integers(400, 40_000))
@settings(max_examples=30, deadline=None)
def test_rows_follow_from_the_length(length: int) -> None:
    samples = np.resize(NOISE, length)
    rows = {name: feature.compute(samples).shape for name, feature in FEATURES.items()}
    assert rows == {"logmel": (length // 160, 80), "spectrum": (1 + length // 256, 257), "wave": (length, 1)}


@pytest.mark.parametrize("name", FEATURES)
def test_feature_keeps_its_promises(name: str) -> None:
    feature = FEATURES[name]
    rows = feature.compute(NOISE)
    assert rows.dtype == np.float32
    assert rows.shape[1] == feature.width
    assert abs(len(rows) - len(NOISE) / feature.hop) <= 1
    np.testing.assert_array_equal(rows, feature.compute(NOISE))


@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_gain_moves_log_mel_by_its_decibels(gain: float) -> None:
    moved = log_mel(NOISE * np.float32(gain)) - log_mel(NOISE)
    np.testing.assert_allclose(moved, 2 * np.log10(gain), atol=1e-4)


def test_silence_is_at_the_floor() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(8_000, np.float32)), np.log10(MEL_FLOOR))


def slaney_hz(mel: float) -> float:
    """Auditory Toolbox: 200/3 Hz a mel up to 1 kHz (15 mel), then 27 mel for a factor of 6.4."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def test_mel_bands_are_slaneys() -> None:
    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [slaney_hz(mel) for mel in np.linspace(0, top, MEL_BANDS + 2)]
    bins = np.arange(201) * 40.0
    for band in range(MEL_BANDS):
        low, centre, high = edges[band : band + 3]
        triangle = np.interp(bins, [low, centre, high], [0.0, 2 / (high - low), 0.0])
        np.testing.assert_allclose(mel_matrix()[:, band], triangle, atol=1e-8)


def test_mel_matrix_has_the_values_of_whisper() -> None:
    """As `transformers.audio_utils.mel_filter_bank` computes them for Whisper (norm and scale "slaney")."""
    matrix = mel_matrix()
    known = {
        (1, 0): 0.02486259,
        (2, 1): 0.02287177,
        (28, 29): 0.01848666,
        (196, 79): 0.00179504,
        (100, 60): 0.0,
    }
    for (row, band), value in known.items():
        assert matrix[row, band] == pytest.approx(value, abs=1e-8)


def test_a_wide_mel_band_has_unit_area() -> None:
    """Per Hz; the narrow bands, of a bin or two, are too coarsely sampled to show it."""
    np.testing.assert_allclose(mel_matrix()[:, 60:].sum(axis=0) * 40.0, 1.0, atol=0.02)


def test_a_tone_lies_in_its_band() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = (0.5 * np.sin(2 * np.pi * 3_000 * time)).astype(np.float32)
    top = 15 + 27 * np.log(8) / np.log(6.4)
    mel = 15 + 27 * np.log(3) / np.log(6.4)
    expected = mel / (top / (MEL_BANDS + 1)) - 1
    assert abs(int(log_mel(tone)[20:80].mean(axis=0).argmax()) - expected) <= 1
    assert int(spectrum(tone)[10:50].mean(axis=0).argmax()) == round(3_000 / (SAMPLE_RATE / 512))


def test_spectrum_is_the_magnitude_of_the_windowed_frame() -> None:
    row = spectrum(NOISE)[5]
    centre = 5 * 256
    by_hand = np.abs(np.fft.rfft(NOISE[centre - 256 : centre + 256] * np.hamming(512)))
    np.testing.assert_allclose(row, by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "half"), [("logmel", 200), ("spectrum", 256)])
def test_the_clip_is_mirrored_at_its_edges(name: str, half: int) -> None:
    """So its first row is the row in the middle of the mirrored clip."""
    compute = FEATURES[name].compute
    lead = 4 * half  # samples, a whole number of rows for both
    mirrored = np.concatenate([NOISE[lead:0:-1], NOISE])
    row = lead // FEATURES[name].hop
    np.testing.assert_allclose(compute(mirrored)[row], compute(NOISE)[0], rtol=1e-3, atol=1e-5)


def test_peak_normalisation() -> None:
    assert np.abs(peak_normalised(NOISE)).max() == pytest.approx(1.0)
    silence = np.zeros(10, np.float32)
    np.testing.assert_array_equal(peak_normalised(silence), silence)


def test_log_mel_of_many_frames_is_that_of_all_at_once() -> None:
    samples = np.resize(NOISE, 3 * CACHED_FRAMES * MEL_HOP + 777)
    padded = np.pad(samples, MEL_WINDOW // 2, mode="reflect").astype(np.float64)
    frames = np.stack([padded[start : start + MEL_WINDOW] for start in range(0, len(samples) - 159, MEL_HOP)])
    power = np.abs(np.fft.rfft(frames * np.hanning(MEL_WINDOW + 1)[:-1], axis=1)) ** 2
    np.testing.assert_allclose(log_mel(samples), np.log10(np.maximum(power @ mel_matrix(), MEL_FLOOR)), atol=1e-5)
