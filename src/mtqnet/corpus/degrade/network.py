"""What a packet network does: frames that never arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.corpus.degrade.step import draw_seed, uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks
from mtqnet.signal.audio import SAMPLE_RATE

FADE = 32
"""Samples, 2 ms: a player's ramp into and out of a gap."""


@dataclass(frozen=True)
class FrameLoss:
    """Frames replaced by silence, alone or in bursts (a two-state Gilbert chain, Gilbert 1960)."""

    rate: float
    """Share of frames lost."""
    burst: float
    """Mean length of a gap in frames; 1 is independent loss for small rates."""
    frame_ms: int
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> FrameLoss:  # noqa: ARG003
        return cls(uniform(rng, 0.01, 0.25), uniform(rng, 1, 3), int(rng.choice([10, 20, 40])), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        frame = self.frame_ms * SAMPLE_RATE // 1000
        count = -(-len(tracks.clean) // frame)
        kept = np.repeat(~self._lost(count), frame)[: len(tracks.clean)].astype(np.float32)
        held = np.pad(kept, (FADE // 2, FADE - FADE // 2 - 1), mode="edge")  # the clip's ends are no gaps
        return tracks.gained(np.convolve(held, np.full(FADE, 1 / FADE), mode="valid").astype(np.float32))

    def _lost(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        leave = 1 / self.burst
        enter = leave * self.rate / (1 - self.rate)
        draws = np.random.default_rng(self.seed).random(count)
        lost = np.zeros(count, dtype=bool)
        state = False
        for index, chance in enumerate(draws):
            state = chance >= leave if state else chance < enter
            lost[index] = state
        return lost
