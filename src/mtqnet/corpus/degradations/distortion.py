"""Distortion of single samples: modulated noise, clipping, overdrive and coarse quantisation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import Samples, Tracks, draw_seed, uniform
from mtqnet.corpus.pool import Pool


def mnru_gain(samples: int, q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Compute the gain of the unit for each sample: y = x (1 + 10^(-Q/20) N) in P.810, N white Gaussian noise.

    The same gain can be applied to a mixture and to its parts.

    Args:
        samples: Number of samples.
        q_db: Q in dB, the level of the speech over that of the modulated noise.
        rng: Source of randomness.

    Returns:
        Shape (samples,).
    """
    noise = rng.standard_normal(samples, dtype=np.float32)
    return np.float32(1.0) + np.float32(10 ** (-q_db / 20)) * noise


def mnru(samples: NDArray[np.float32], q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add modulated noise at Q dB: (samples,) -> (samples,)."""
    return samples * mnru_gain(len(samples), q_db, rng)


TINY = 1e-9
"""Full scale is 1; below this a sample has no gain to speak of."""
MIN_Q_DB, MAX_Q_DB = 0.0, 50.0
"""dB; P.810's useful range, from barely recognisable speech to inaudible distortion."""
FULL_SCALE = 1.0
SHARE_FRAME = SAMPLE_RATE // 50
"""Samples, 20 ms, over which the power of speech and noise is compared."""


@dataclass(frozen=True)
class Mnru:
    """Modulated noise, ITU-T P.810: on the speech before noise is added, or on the whole signal."""

    q_db: float
    whole: bool
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Mnru:  # noqa: ARG003
        return cls(uniform(rng, MIN_Q_DB, MAX_Q_DB), bool(rng.random() < 0.2), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        rng = np.random.default_rng(self.seed)
        if self.whole:
            return tracks.gained(mnru_gain(len(tracks.clean), self.q_db, rng))
        return replace(tracks, speech=mnru(tracks.speech, self.q_db, rng))


@dataclass(frozen=True)
class Clipping:
    """The mixture cut (hard) or bent (soft: tanh) `drive_db` below its peak. Output over input: the gain."""

    drive_db: float
    soft: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Clipping:  # noqa: ARG003
        return cls(uniform(rng, 1, 24), bool(rng.random() < 0.4))

    def __call__(self, tracks: Tracks) -> Tracks:
        mixture = tracks.mixture
        limit = np.float32(np.abs(mixture).max() * 10 ** (-self.drive_db / 20))
        if limit < TINY:
            return tracks
        return _bent(tracks, limit * np.tanh(mixture / limit) if self.soft else np.clip(mixture, -limit, limit))


@dataclass(frozen=True)
class Overdrive:
    """A gain set too high: the peak goes `gain_db` beyond full scale, where the converter cuts it.

    The same degradation as hard clipping, but the signal remains at full scale.
    """

    gain_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Overdrive:  # noqa: ARG003
        return cls(uniform(rng, 3, 20))

    def __call__(self, tracks: Tracks) -> Tracks:
        peak = float(np.abs(tracks.mixture).max(initial=0.0))
        if peak < TINY:
            return tracks
        driven = tracks.gained(FULL_SCALE / peak * 10 ** (self.gain_db / 20))
        return _bent(driven, np.clip(driven.mixture, -FULL_SCALE, FULL_SCALE))


@dataclass(frozen=True)
class Quantisation:
    """Linear PCM of few bits, rounded to the nearest step (ITU-T G.191 calls it "uniform PCM").

    The peak of the mixture is `headroom_db` below full scale during quantisation; the level is restored afterwards.
    The error is new sound: of each moment's error, speech and noise get shares as their powers there, as in
    labels/three_signal.py.
    """

    bits: int
    headroom_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Quantisation:  # noqa: ARG003
        return cls(int(rng.integers(4, 13)), uniform(rng, 0, 12))

    def __call__(self, tracks: Tracks) -> Tracks:
        mixture = tracks.mixture
        peak = float(np.abs(mixture).max(initial=0.0))
        if peak < TINY:
            return tracks
        step = np.float32(peak * 10 ** (self.headroom_db / 20) * 2.0 ** (1 - self.bits))
        heard = step * np.round(mixture / step)
        power, other = _local_power(tracks.speech), _local_power(tracks.noise)
        speech = tracks.speech + ((power + TINY**2) / (power + other + TINY**2)).astype(np.float32) * (
            heard - mixture
        )
        return replace(tracks, speech=speech, noise=heard - speech)


def _bent(tracks: Tracks, heard: Samples) -> Tracks:
    """Multiply both tracks by the gain that turns their mixture into the output, sample by sample."""
    mixture = tracks.mixture
    some = np.abs(mixture) > TINY
    gain = np.ones_like(mixture)
    gain[some] = heard[some] / mixture[some]
    return tracks.gained(gain)


def _local_power(samples: Samples) -> NDArray[np.float64]:
    """(samples,) -> (samples,): mean power of the SHARE_FRAME about each sample."""
    total = np.cumsum(np.pad(np.square(samples, dtype=np.float64), (SHARE_FRAME // 2 + 1, SHARE_FRAME // 2)))
    return np.asarray((total[SHARE_FRAME:] - total[:-SHARE_FRAME])[: len(samples)] / SHARE_FRAME)
