"""Automatic gain control that pumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks

HOP = SAMPLE_RATE // 200
"""Samples, 5 ms between two values of the gain; between them it is a straight line."""
TINY = 1e-10
"""Power, -100 dBov: what the detector takes for the softest."""


@dataclass(frozen=True)
class AutomaticGain:
    """A feed-forward control: the level of the mixture is brought to a target, within limits.

    Down with the attack time, up with the release time (Giannoulis, Massberg, Reiss, JAES 60(6), 2012, smooth
    branching detector, in dB). A short release lifts the noise in every pause, and a slow attack lets the next
    word in too loud. The gain comes from the mixture and goes to both tracks alike.
    """

    target_dbov: float
    """Level that the control aims at, dBov."""
    max_gain_db: float
    """dB; limit of the gain in both directions."""
    attack_ms: float
    release_ms: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AutomaticGain:  # noqa: ARG003
        attack, release = (round(low * ratio ** float(rng.random()), 3) for low, ratio in ((2, 50), (50, 40)))
        return cls(uniform(rng, -32, -16), uniform(rng, 6, 30), attack, release)

    def __call__(self, tracks: Tracks) -> Tracks:
        return tracks.gained(self._gain(tracks.mixture))

    def _gain(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) -> (samples,), by which the mixture is multiplied."""
        frames = -(-len(mixture) // HOP)
        power = np.square(np.pad(mixture, (0, frames * HOP - len(mixture))), dtype=np.float64)
        level_db = 10 * np.log10(power.reshape(frames, HOP).mean(axis=1) + TINY)
        wanted = np.clip(self.target_dbov - level_db, -self.max_gain_db, self.max_gain_db)
        down, up = (float(np.exp(-1000 * HOP / SAMPLE_RATE / ms)) for ms in (self.attack_ms, self.release_ms))
        gain_db = np.empty(frames)
        state = 0.0
        for frame, goal in enumerate(wanted):
            kept = down if goal < state else up
            state = kept * state + (1 - kept) * goal
            gain_db[frame] = state
        place = np.arange(len(mixture))
        return (10 ** (np.interp(place, np.arange(frames) * HOP, gain_db) / 20)).astype(np.float32)
