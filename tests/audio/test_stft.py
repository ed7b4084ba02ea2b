"""Spectra that can be turned back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mtqnet.audio.features import STFT_BINS, STFT_HOP, STFT_WINDOW, istft, stft


@given(length=st.integers(1, 20_000), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_inverse_gives_the_samples_back_at_any_length(length: int, seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    spectra = stft(samples)
    assert spectra.shape[1] == STFT_BINS
    np.testing.assert_allclose(istft(spectra, length), samples, atol=2e-6)


def test_a_gain_on_all_bins_is_a_gain_on_the_samples() -> None:
    samples = np.random.default_rng(0).standard_normal(5_000).astype(np.float32)
    np.testing.assert_allclose(istft(0.25 * stft(samples), 5_000), 0.25 * samples, atol=1e-6)


def test_energy_is_kept() -> None:
    """Squared windows sum to one, so the spectra have the energy of the signal (Parseval)."""
    samples = np.random.default_rng(1).standard_normal(8_192).astype(np.float32)
    power = np.abs(stft(samples)) ** 2
    energy = (2 * power.sum() - power[:, 0].sum() - power[:, -1].sum()) / STFT_WINDOW
    np.testing.assert_allclose(energy, np.sum(samples.astype(np.float64) ** 2), rtol=1e-5)


def test_a_bin_is_its_frequency() -> None:
    time = np.arange(16_000) / 16_000
    spectra = stft(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    assert np.abs(spectra[20]).argmax() == 1000 * STFT_WINDOW // 16_000


def test_frames_are_a_hop_apart() -> None:
    click = np.zeros(10 * STFT_HOP, np.float32)
    click[5 * STFT_HOP] = 1.0
    heard = np.flatnonzero(np.abs(stft(click)).max(axis=1) > 1e-6)
    assert heard.tolist() == [6]  # at a frame's middle; its neighbours have the click where their window is 0
