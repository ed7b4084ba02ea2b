"""What all steps have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mtqnet.corpus.tracks import Tracks


class Step(Protocol):
    """One kind of processing with its parameters: a frozen dataclass of numbers and strings.

    Equal parameters give equal samples: noise is generated from a seed among the parameters. Each kind but Splice
    has a class method `draw(rng, pool, samples)`, which picks parameters for a clip of so many samples.
    Suppressors also have `full(rng)`: the tool as it is used in practice, once and at full strength.
    """

    def __call__(self, tracks: Tracks) -> Tracks: ...


def draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number of three decimals, so that a recipe in JSON is the very same number."""
    return round(float(rng.uniform(low, high)), 3)
