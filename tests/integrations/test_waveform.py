"""Features in torch equal those of audio/features.py at any length and level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mtqnet.audio import features
from mtqnet.audio.features import FEATURES
from mtqnet.integrations import torch as waveform

Samples = NDArray[np.float32]


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("length", [8_000, 9_999, 16_160])
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_features_equal_those_of_numpy(name: str, length: int, gain: float, voice: Callable[..., Samples]) -> None:
    samples = np.multiply(gain, voice(1.2)[:length], dtype=np.float32)
    samples += np.float32(1e-4 * gain) * np.random.default_rng(0).standard_normal(length, dtype=np.float32)
    expected = FEATURES[name].compute(samples)
    found = waveform.VIEWS[name](torch.from_numpy(samples))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4, rtol=1e-4)


def test_all_features_are_implemented() -> None:
    assert set(waveform.VIEWS) == set(FEATURES)


def test_silence_is_at_the_floor() -> None:
    assert set(waveform.log_mel(torch.zeros(8_000)).numpy().ravel().tolist()) == {-10.0}


def test_peak_normalisation_equals_numpy_and_keeps_silence(voice: Callable[..., Samples]) -> None:
    samples = voice(0.5)
    found = waveform.peak_normalised(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(found, features.peak_normalised(samples), rtol=1e-6)
    assert not waveform.peak_normalised(torch.zeros(100)).any()
