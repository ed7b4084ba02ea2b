"""The sum of the speech track and the noise track is the mixture, and no step changes the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtqnet.corpus.degradations.step import Tracks, start

Samples = NDArray[np.float32]


def noise(samples: int, seed: int) -> Samples:
    return np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)


def test_a_clip_starts_clean(voice: Callable[..., Samples]) -> None:
    clean = voice(1.0)
    begun = start(clean)
    np.testing.assert_array_equal(begun.mixture, clean)
    np.testing.assert_array_equal(begun.speech, clean)
    assert not begun.noise.any()


def test_gain_on_tracks_is_gain_on_the_mixture() -> None:
    tracks = Tracks(noise(500, 0), noise(500, 1), noise(500, 2))
    gain = noise(500, 3)
    np.testing.assert_allclose(tracks.gained(gain).mixture, gain * tracks.mixture, atol=1e-5)
    np.testing.assert_allclose(tracks.gained(0.25).mixture, 0.25 * tracks.mixture, atol=1e-6)
    assert tracks.gained(0.25).speech.dtype == np.float32


@given(length=st.integers(2, 2_000), seed=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_filter_on_tracks_is_filter_on_the_mixture(length: int, seed: int) -> None:
    tracks = Tracks(noise(length, 0), noise(length, 1), noise(length, 2))
    response = np.random.default_rng(seed).uniform(0, 1, length // 2 + 1)
    whole = np.fft.irfft(np.fft.rfft(tracks.mixture) * response, length)
    filtered = tracks.filtered(response)
    assert filtered.speech.shape == filtered.noise.shape == (length,)
    np.testing.assert_allclose(filtered.mixture, whole, atol=1e-5)


def test_filter_that_passes_all_changes_nothing() -> None:
    tracks = Tracks(noise(501, 0), noise(501, 1), noise(501, 2))
    np.testing.assert_allclose(tracks.filtered(np.ones(251)).mixture, tracks.mixture, atol=1e-5)


def test_noise_adds_to_the_noise_track_alone() -> None:
    tracks = Tracks(noise(300, 0), noise(300, 1), noise(300, 2))
    more = tracks.with_noise(noise(300, 3))
    np.testing.assert_array_equal(more.speech, tracks.speech)
    np.testing.assert_array_equal(more.noise, tracks.noise + noise(300, 3))


def test_nothing_changes_the_reference() -> None:
    tracks = Tracks(noise(300, 0), noise(300, 1), noise(300, 2))
    for other in (
        tracks.gained(2.0),
        tracks.filtered(np.zeros(151)),
        tracks.with_noise(noise(300, 4)),
    ):
        np.testing.assert_array_equal(other.clean, noise(300, 0))
