"""What all steps have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks


class Step(Protocol):
    """One kind of damage with its parameters: a frozen dataclass of numbers and strings.

    Equal parameters give equal samples: noise that a step makes comes from a seed among them.
    """

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Step:
        """Parameters for a clip of so many samples."""
        ...

    def __call__(self, tracks: Tracks) -> Tracks: ...


def draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number of three decimals, so that a recipe in JSON is the very same number."""
    return round(float(rng.uniform(low, high)), 3)
