"""A noise reducer whose spectral gain is computed on the mixture and applied to both tracks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.degrade.step import uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks
from mtqnet.signal.stft import istft, stft

SMOOTHING = 0.98
"""Weight of the past in the decision-directed a-priori SNR (Ephraim and Malah 1984)."""
POWER_SMOOTHING = 0.85
"""Weight of the past in the power whose minimum is the noise."""
MINIMUM_FRAMES = 60
"""Frames of 16 ms, about one second: the reach of the minimum, before and after."""
MINIMUM_BIAS = 2.0
"""The minimum of a smoothed power lies below its mean (Martin 2001)."""
EDGE_FRAMES = 4
"""Frames at each end that the transform's padding touches."""


@dataclass(frozen=True)
class SpectralGain:
    """A Wiener filter with decision-directed SNR and minimum statistics.

    `over` is how much noise is assumed beyond what is estimated, `floor_db` the least gain, `sharpness` the
    exponent on the gain (1 Wiener, 0.5 softer, 2 beyond what is sensible: musical noise and hollow speech).
    """

    over: float
    floor_db: float
    sharpness: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> SpectralGain:  # noqa: ARG003
        return cls(uniform(rng, 0.7, 4), uniform(rng, -35, -6), uniform(rng, 0.5, 2))

    def __call__(self, tracks: Tracks) -> Tracks:
        gain = self._gain(np.abs(stft(tracks.mixture)) ** 2)
        length = len(tracks.clean)
        return replace(
            tracks,
            speech=istft(gain * stft(tracks.speech), length),
            noise=istft(gain * stft(tracks.noise), length),
        )

    def _gain(self, power: NDArray[np.floating]) -> NDArray[np.float64]:
        """(frames, bins) power of the mixture -> gain of the same shape, floor to 1."""
        posterior = power / np.maximum(self.over * _noise_power(power), 1e-12)
        gain = np.empty_like(power)
        floor = 10 ** (self.floor_db / 20)
        before = np.ones(power.shape[1])
        for frame, snr in enumerate(posterior):
            prior = SMOOTHING * before + (1 - SMOOTHING) * np.maximum(snr - 1, 0)
            wiener = prior / (1 + prior)
            before = wiener**2 * snr
            gain[frame] = np.maximum(wiener**self.sharpness, floor)
        return gain


def _noise_power(power: NDArray[np.floating]) -> NDArray[np.float64]:
    """(frames, bins) -> (frames, bins): minimum of the smoothed power around each frame (Martin 2001)."""
    smooth = np.empty_like(power, dtype=np.float64)
    state = power[: MINIMUM_FRAMES // 4].mean(axis=0)
    for frame, row in enumerate(power):
        state = POWER_SMOOTHING * state + (1 - POWER_SMOOTHING) * row
        smooth[frame] = state
    # The padding of the transform is silence, which is not noise: the minimum leaves the edges out.
    edge = min(EDGE_FRAMES, len(smooth) // 4)
    inner = smooth[edge : len(smooth) - edge]
    padded = np.pad(inner, ((MINIMUM_FRAMES, MINIMUM_FRAMES), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * MINIMUM_FRAMES + 1, axis=0)
    return np.pad(MINIMUM_BIAS * windows.min(axis=-1), ((edge, edge), (0, 0)), mode="edge")
