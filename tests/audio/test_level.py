"""Levels are compared with calculated levels of simple signals and with the tables of the standards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, STEP, _magnitudes, a_weighted_power, active_level, rms_level, to_db
from mtqnet.audio.resampling import SAMPLE_RATE

Samples = NDArray[np.float32]

A_WEIGHTING_DB = {
    31.5: -39.4, 63: -26.2, 100: -19.1, 125: -16.1, 250: -8.6, 500: -3.2, 1000: 0.0, 2000: 1.2, 4000: 1.0,
    6300: -0.1,
}  # fmt: skip
"""IEC 61672-1, table of frequency weightings, by nominal frequency."""


def tone(hertz: float, seconds: float, rms_db: float = -26.0) -> Samples:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.sqrt(2) * 10 ** (rms_db / 20) * np.sin(2 * np.pi * hertz * time)
    return np.asarray(sound, dtype=np.float32)


def test_full_scale_square_wave_is_0_dbov() -> None:
    square = np.where(np.arange(16_000) % 160 < 80, 1.0, -1.0)
    assert rms_level(square) == pytest.approx(0.0, abs=1e-9)


def test_tone_without_pauses_is_active_throughout() -> None:
    assert active_level(tone(400, 4)) == pytest.approx(-26.0, abs=0.1)


@pytest.mark.parametrize("on_s", [2, 4])
def test_pauses_do_not_lower_the_active_level(on_s: int) -> None:
    """Half of the time is pause; only the hangover of 0.2 s after each tone counts as active, the rest not."""
    spoken = tone(400, on_s)
    half = np.tile(np.concatenate([spoken, np.zeros_like(spoken)]), 8 // on_s)
    assert rms_level(half) == pytest.approx(-29.0, abs=0.05)
    # Active for the hangover beyond each tone, and for what the smoother takes to fall below the threshold.
    least, most = (-26.0 - 10 * np.log10((on_s + held_s) / on_s) for held_s in (0.35, 0.2))
    assert least < active_level(half) < most


def test_pauses_shorter_than_the_hangover_count_as_speech() -> None:
    spoken = tone(400, 0.1)
    broken = np.tile(np.concatenate([spoken, np.zeros_like(spoken)]), 40)
    assert active_level(broken) == pytest.approx(rms_level(broken), abs=0.15)


@given(gain_db=st.floats(-30, 20))
@settings(max_examples=20, deadline=None)
def test_level_follows_gain_in_db(gain_db: float) -> None:
    spoken = np.concatenate([tone(300, 0.7), np.zeros(8000, np.float32)] * 3)
    louder = spoken * 10 ** (gain_db / 20)
    assert rms_level(louder) - rms_level(spoken) == pytest.approx(gain_db, abs=1e-6)
    # P.56 interpolates between thresholds 6 dB apart, so the gain is correct within a few hundredths of a dB.
    assert active_level(louder) - active_level(spoken) == pytest.approx(gain_db, abs=0.1)


def test_speech_in_soft_noise_has_the_level_of_the_speech(voice: Callable[..., Samples]) -> None:
    spoken = voice(4.0)
    noise = 10 ** (-66 / 20) * np.random.default_rng(0).standard_normal(len(spoken))
    assert active_level(spoken + noise) == pytest.approx(active_level(spoken), abs=0.1)


@pytest.mark.parametrize("length", [0, 3, 100, SAMPLE_RATE])
def test_silence_is_at_the_floor(length: int) -> None:
    silence = np.zeros(length, np.float32)
    assert active_level(silence) == rms_level(silence) == FLOOR_DB
    assert a_weighted_power(silence) == 0.0
    assert to_db(0.0) == FLOOR_DB


@pytest.mark.parametrize(("hertz", "weight_db"), A_WEIGHTING_DB.items())
def test_a_weighting_is_that_of_the_standard(hertz: float, weight_db: float) -> None:
    exact = 1000 * 10 ** (round(10 * np.log10(hertz / 1000)) / 10)  # 125 Hz is the nominal frequency of 125.89 Hz
    whole_periods_s = round(4 * exact) / exact
    assert to_db(a_weighted_power(tone(exact, whole_periods_s))) == pytest.approx(-26.0 + weight_db, abs=0.06)


@pytest.mark.parametrize("samples", [1, 2, 15_999, 16_000])
def test_a_weighting_lifts_no_frequency_by_more_than_its_largest_gain(samples: int) -> None:
    """Parseval, for odd and even lengths: the weighting's largest gain is 1.3 dB."""
    noise = np.random.default_rng(2).standard_normal(samples)
    assert a_weighted_power(noise) <= np.mean(noise**2) * 10**0.13


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_magnitude_of_a_step_is_the_mean_of_its_samples(kind: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    samples = (rng.standard_normal(STEP * 5_000) * 10.0 ** rng.uniform(-9, 1, STEP * 5_000)).astype(kind)
    slow = np.abs(samples).astype(np.float64).reshape(-1, STEP).mean(axis=1)
    np.testing.assert_allclose(_magnitudes(samples, 5_000), slow, rtol=1e-14)
