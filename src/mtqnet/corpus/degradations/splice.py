"""A degradation in a part of the clip alone, or everywhere but in a part of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import Step
from mtqnet.corpus.tracks import Samples, Tracks

SHORTEST_S, LONGEST_S = 0.5, 4.0
"""Seconds of the part"""
LARGEST_FRACTION = 0.8
"""Of the clip"""
FADE = 160
"""Samples, 10 ms: the cross-fade at either end, inside the part"""


@dataclass(frozen=True)
class Splice:
    """A part of the clip before (`good`) or after (`degraded`) some steps, and the rest the other way round."""

    start_s: float
    """Where the part begins, in seconds from the start of the clip"""
    end_s: float
    """Where it ends"""
    kind: Literal["degraded", "good"]
    """Quality of the part in comparison with the rest"""
    steps: tuple[Step, ...]
    """What the degraded parts have been through; no part of it is late."""

    @classmethod
    def over(cls, rng: np.random.Generator, steps: tuple[Step, ...], samples: int, good: float) -> Splice:
        """Return a part at a random place of a clip of so many samples, the good one with the chance `good`."""
        seconds = samples / SAMPLE_RATE
        longest = min(LONGEST_S, LARGEST_FRACTION * seconds)
        length = float(rng.uniform(min(SHORTEST_S, longest), longest))
        start = float(rng.uniform(0, seconds - length))
        kind: Literal["degraded", "good"] = "good" if rng.random() < good else "degraded"
        return cls(round(start, 3), round(start + length, 3), kind, steps)

    def __call__(self, tracks: Tracks) -> Tracks:
        degraded = tracks
        for step in self.steps:
            degraded = step(degraded)
        inside, outside = (tracks, degraded) if self.kind == "good" else (degraded, tracks)
        weight = self._inside(len(tracks.clean))
        return replace(
            tracks,
            speech=weight * inside.speech + (1 - weight) * outside.speech,
            noise=weight * inside.noise + (1 - weight) * outside.noise,
        )

    def _inside(self, length: int) -> Samples:
        """(length,): 1 in the part, 0 outside it, with a ramp of FADE samples within either end."""
        begin, end = round(self.start_s * SAMPLE_RATE), round(self.end_s * SAMPLE_RATE)
        places, weights = (begin, begin + FADE, end - FADE, end), (0.0, 1.0, 1.0, 0.0)
        return np.interp(np.arange(length), places, weights, left=0.0, right=0.0).astype(np.float32)
