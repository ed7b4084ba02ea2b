"""What a device does to the whole signal: band limits and level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.corpus.degrade.step import uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks
from mtqnet.signal.audio import SAMPLE_RATE
from mtqnet.signal.level import FLOOR_DB, active_level

PEAK_LIMIT = 0.99
"""Full scale is 1. A level that would go beyond is lowered: clipping is a step of its own."""


@dataclass(frozen=True)
class BandLimit:
    """Zero-phase Butterworth magnitude: `low_hz` high-pass (0: none), `high_hz` low-pass (8000: none)."""

    low_hz: float
    high_hz: float
    order: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> BandLimit:  # noqa: ARG003
        kind = rng.random()
        if kind < 0.25:  # an 8 kHz chain: nothing from its Nyquist rate on
            return cls(0.0, 3800.0, 64)
        if kind < 0.45:  # the telephone band
            return cls(300.0, 3400.0, 12)
        low = uniform(rng, 80, 600) if kind > 0.7 else 0.0
        high = uniform(rng, 1200, 7500) if kind < 0.85 else 8000.0
        return cls(low, high, int(rng.integers(2, 9)))

    def __call__(self, tracks: Tracks) -> Tracks:
        hertz = np.fft.rfftfreq(len(tracks.clean), 1 / SAMPLE_RATE)
        response = np.ones_like(hertz)
        if self.low_hz > 0:
            response /= np.sqrt(1 + (self.low_hz / np.maximum(hertz, 1e-3)) ** (2 * self.order))
        if self.high_hz < SAMPLE_RATE / 2:
            response /= np.sqrt(1 + (hertz / self.high_hz) ** (2 * self.order))
        return tracks.filtered(response)


@dataclass(frozen=True)
class Playback:
    """Active level of the mixture, in dBov. The last step of every recipe."""

    level_dbov: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Playback:  # noqa: ARG003
        return cls(uniform(rng, -45, -15))

    def __call__(self, tracks: Tracks) -> Tracks:
        mixture = tracks.mixture
        level, peak = active_level(mixture), float(np.abs(mixture).max())
        if level <= FLOOR_DB:
            return tracks
        return tracks.gained(min(10 ** ((self.level_dbov - level) / 20), PEAK_LIMIT / peak))
