"""Noise reducers whose spectral gain is computed on the mixture and applied to both tracks.

What they do to the speech and to the noise is known exactly ("shadow filtering"). One class a rule for the gain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import istft, stft
from mtqnet.corpus.degradations.step import Tracks, uniform
from mtqnet.corpus.pool import Pool
from mtqnet.errors import missing_extra

SMOOTHING = 0.98
"""Weight of the past in the decision-directed a-priori SNR (Ephraim and Malah 1984)."""
POWER_SMOOTHING = 0.85
"""Weight of the past in the power whose minimum is the noise."""
MINIMUM_FRAMES = 60
"""Frames of 16 ms, about one second: the reach of the minimum, before and after."""
MINIMUM_BIAS = 2.0
"""The minimum of a smoothed power is below its mean (Martin 2001)."""
EDGE_FRAMES = 4
"""Frames at each end that the transform's padding touches."""
MINIMUM_PRIOR = 10**-2.5
"""-25 dB, the least a-priori SNR of LogMmse: below it residual noise turns musical (Cappe 1994)."""
TINY = 1e-12
"""Power of a bin (full scale is 1) below which it is empty."""

Power = NDArray[np.floating]
Gain = NDArray[np.float64]


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

    @classmethod
    def full(cls, rng: np.random.Generator) -> SpectralGain:
        """A Wiener filter with a usual floor."""
        return cls(uniform(rng, 0.8, 2), uniform(rng, -30, -15), 1.0)

    def __call__(self, tracks: Tracks) -> Tracks:
        return _shadowed(tracks, self._gain)

    def _gain(self, power: Power) -> Gain:
        """(frames, bins) power of the mixture -> gain of the same shape, floor to 1."""
        posterior = power / np.maximum(self.over * _noise_power(power), TINY)
        gain = np.empty_like(power, dtype=np.float64)
        floor = 10 ** (self.floor_db / 20)
        before = np.ones(power.shape[1])
        for frame, snr in enumerate(posterior):
            prior = SMOOTHING * before + (1 - SMOOTHING) * np.maximum(snr - 1, 0)
            wiener = prior / (1 + prior)
            before = wiener**2 * snr
            gain[frame] = np.maximum(wiener**self.sharpness, floor)
        return gain


@dataclass(frozen=True)
class SpectralSubtraction:
    """The noise spectrum taken off the spectrum of each frame (Boll 1979; Berouti et al. 1979).

    `over` is how often the noise is taken off (Berouti's alpha; 3 to 6 is usual, more eats the speech), `floor_db`
    what is left of the noise at least, in dB below it (Berouti's beta: a low floor leaves lone peaks, musical
    noise), `exponent` 1 for magnitudes (Boll), 2 for powers (Berouti).
    """

    over: float
    floor_db: float
    exponent: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> SpectralSubtraction:  # noqa: ARG003
        return cls(uniform(rng, 1, 8), uniform(rng, -50, -8), int(rng.integers(1, 3)))

    @classmethod
    def full(cls, rng: np.random.Generator) -> SpectralSubtraction:
        """The usual over-subtraction of Berouti et al."""
        return cls(uniform(rng, 2, 5), uniform(rng, -40, -15), int(rng.integers(1, 3)))

    def __call__(self, tracks: Tracks) -> Tracks:
        return _shadowed(tracks, self._gain)

    def _gain(self, power: Power) -> Gain:
        """(frames, bins) power of the mixture -> gain of the same shape, 0 to 1."""
        share = (_noise_power(power) / np.maximum(power, TINY)) ** (self.exponent / 2)
        floor = 10 ** (self.floor_db / 20 * self.exponent)
        left = np.maximum(1 - self.over * share, floor * share)
        return np.minimum(left, 1.0) ** (1 / self.exponent)


@dataclass(frozen=True)
class LogMmse:
    """The estimator of least mean square error in log amplitude (Ephraim and Malah 1985).

    `over` and `floor_db` as for SpectralGain; `smoothing` is the weight of the past in the a-priori SNR: 0.98 is
    usual, less lets the residual noise sing, more blurs the onsets of speech.
    """

    over: float
    floor_db: float
    smoothing: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> LogMmse:  # noqa: ARG003
        return cls(uniform(rng, 0.7, 4), uniform(rng, -30, -6), uniform(rng, 0.85, 0.995))

    @classmethod
    def full(cls, rng: np.random.Generator) -> LogMmse:
        """The usual smoothing of Ephraim and Malah."""
        return cls(uniform(rng, 0.8, 2), uniform(rng, -30, -15), 0.98)

    def __call__(self, tracks: Tracks) -> Tracks:
        return _shadowed(tracks, self._gain)

    def _gain(self, power: Power) -> Gain:
        """(frames, bins) power of the mixture -> gain of the same shape, floor to 1. Needs scipy."""
        try:
            from scipy.special import exp1
        except ImportError as error:
            raise missing_extra("logMMSE", "corpus") from error
        posterior = np.maximum(power / np.maximum(self.over * _noise_power(power), TINY), TINY)
        gain = np.empty_like(posterior)
        floor = 10 ** (self.floor_db / 20)
        before = np.ones(power.shape[1])
        for frame, snr in enumerate(posterior):
            prior = self.smoothing * before + (1 - self.smoothing) * np.maximum(snr - 1, 0)
            wiener = np.maximum(prior, MINIMUM_PRIOR) / (1 + np.maximum(prior, MINIMUM_PRIOR))
            log_mmse = np.minimum(wiener * np.exp(exp1(wiener * snr) / 2), 1.0)
            before = log_mmse**2 * snr
            gain[frame] = np.maximum(log_mmse, floor)
        return gain


def _shadowed(tracks: Tracks, gain_of: Callable[[Power], Gain]) -> Tracks:
    """Both tracks times the gain that the rule finds in the mixture's power."""
    gain = gain_of(np.abs(stft(tracks.mixture)) ** 2)
    length = len(tracks.clean)
    return replace(
        tracks,
        speech=istft(gain * stft(tracks.speech), length),
        noise=istft(gain * stft(tracks.noise), length),
    )


def _noise_power(power: Power) -> Gain:
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
