"""Pitch of speech, pulses at a pitch, and the transform of the project's own networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.generative import HOP, pitch, pulses
from mtqnet.corpus.degradations.step import hann, samples_of, spectra

Samples = NDArray[np.float32]


@pytest.mark.parametrize("hertz", [80.0, 120.0, 210.0, 350.0])
def test_pitch_of_a_gliding_voice(hertz: float) -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    glide = hertz * 2 ** (0.2 * np.sin(2 * np.pi * time))
    phase = 2 * np.pi * np.cumsum(glide) / SAMPLE_RATE
    voice = np.sum([np.cos(k * phase) / k for k in range(1, 15)], axis=0).astype(np.float32)
    frequency, voicing = pitch(0.05 * voice)
    wanted = np.interp(np.arange(len(frequency)) * HOP, np.arange(len(glide)), glide)
    assert len(frequency) == len(voicing) == 1 + SAMPLE_RATE // HOP
    assert np.abs(12 * np.log2(frequency / wanted))[5:-5].max() < 0.5, "semitones"
    assert voicing[5:-5].min() == 1.0


def test_noise_and_silence_are_not_voiced() -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    assert pitch(noise)[1].mean() < 0.05
    assert not pitch(np.zeros(SAMPLE_RATE, np.float32))[1].any()


def test_pulses_have_power_one_and_the_wanted_period() -> None:
    frames = 1 + SAMPLE_RATE // HOP
    train = pulses(np.full(frames, 125.0), np.ones(frames), SAMPLE_RATE)
    assert np.mean(train**2) == pytest.approx(1.0, abs=0.02)
    peaks = np.flatnonzero(train > 0.9 * train.max())
    assert set(np.diff(peaks)) == {SAMPLE_RATE // 125}
    assert not pulses(np.full(frames, 125.0), np.zeros(frames), SAMPLE_RATE).any()


@pytest.mark.parametrize(("window", "hop"), [(hann(512), 128), (np.sqrt(hann(512)), 256)])
def test_spectra_can_be_inverted(window: NDArray[np.float64], hop: int, talker: Callable[..., Samples]) -> None:
    samples = talker(1.0)[: 60 * hop]
    spectrum = spectra(samples, window, hop)
    assert spectrum.shape == (2, 257, 61)
    np.testing.assert_allclose(samples_of(spectrum, window, hop, len(samples)), samples, atol=1e-6)
