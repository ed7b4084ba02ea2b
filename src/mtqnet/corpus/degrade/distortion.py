"""Distortion that is a gain for each sample: modulated noise and clipping."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mtqnet.corpus.degrade.step import draw_seed, uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks
from mtqnet.signal.mnru import mnru, mnru_gain

TINY = 1e-9
"""Full scale is 1; below this a sample has no gain to speak of."""


@dataclass(frozen=True)
class Mnru:
    """Modulated noise, ITU-T P.810: on the speech before noise is added, or on the whole signal."""

    q_db: float
    whole: bool
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Mnru:  # noqa: ARG003
        return cls(uniform(rng, 0, 45), bool(rng.random() < 0.2), draw_seed(rng))

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
        bent = limit * np.tanh(mixture / limit) if self.soft else np.clip(mixture, -limit, limit)
        heard = np.abs(mixture) > TINY
        gain = np.ones_like(mixture)
        gain[heard] = bent[heard] / mixture[heard]
        return tracks.gained(gain)
