"""Modulated noise (MNRU) has the required level and follows the envelope of the speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.corpus.degradations.device import mnru, mnru_gain

Samples = NDArray[np.float32]


@pytest.mark.parametrize("q_db", [-5.0, 0.0, 8.0, 24.0, 40.0])
def test_q_is_speech_power_over_modulated_noise_power(q_db: float, voice: Callable[..., Samples]) -> None:
    speech = voice(4.0)
    noise = mnru(speech, q_db, np.random.default_rng(0)) - speech
    measured = 10 * np.log10(np.mean(speech**2) / np.mean(noise**2))
    assert measured == pytest.approx(q_db, abs=0.25)


def test_noise_follows_the_speech(voice: Callable[..., Samples]) -> None:
    speech = voice(4.0)
    noise = mnru(speech, 10.0, np.random.default_rng(0)) - speech
    assert np.all(noise[speech == 0] == 0)
    loud = np.abs(speech) > np.quantile(np.abs(speech), 0.9)
    assert np.mean(noise[loud] ** 2) > 20 * np.mean(noise[~loud] ** 2)


def test_noise_is_white_of_unit_power() -> None:
    gain = mnru_gain(100_000, 0.0, np.random.default_rng(0)).astype(np.float64) - 1.0
    assert np.mean(gain) == pytest.approx(0.0, abs=0.02)
    assert np.mean(gain**2) == pytest.approx(1.0, abs=0.02)
    assert np.mean(gain[1:] * gain[:-1]) == pytest.approx(0.0, abs=0.02)


def test_what_contains_for_a_mixture_contains_for_its_parts(voice: Callable[..., Samples]) -> None:
    speech, noise = voice(1.0), voice(1.0, seed=3)
    gain = mnru_gain(len(speech), 12.0, np.random.default_rng(4))
    whole = mnru(speech + noise, 12.0, np.random.default_rng(4))
    np.testing.assert_allclose(gain * speech + gain * noise, whole, atol=1e-6)


def test_same_generator_same_noise(voice: Callable[..., Samples]) -> None:
    one, two, other = (mnru(voice(1.0), 12.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
