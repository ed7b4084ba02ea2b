"""Before and after: the model as it was and the tuned one, on recordings that neither learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mtqnet.targets import Target, named
from mtqnet.training.evaluate import Figure, compare
from mtqnet.training.loop import lcc
from mtqnet.training.tuning.material import Array

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Moved:
    """How far the scores of one target went, for whatever reason. In its own unit; for SDI of log10."""

    target: str
    recordings: int
    mean: float
    """Of the magnitude"""
    largest: float
    lcc: float
    """Pearson correlation of the scores before and after"""


@dataclass(frozen=True)
class Judged:
    """What tuning did."""

    figures: list[Figure]
    """Of the targets with ratings, before and after"""
    moved: list[Moved]
    """Of those without"""


def judge(before: Mapping[str, Array], after: Mapping[str, Array], truth: Mapping[str, Array]) -> Judged:
    """Scores of the same recordings by target, (recordings,) each, and their ratings; NaN where there is none."""
    rated = [t for t in named(list(before)) if t.key in truth and not np.isnan(truth[t.key]).all()]
    others = [t for t in named(list(before)) if t not in rated]
    figures = [
        compare(when, target, truth[target.key], said[target.key])
        for target in rated
        for when, said in ((BEFORE, before), (AFTER, after))
    ]
    return Judged(figures, [_moved(target, before[target.key], after[target.key]) for target in others])


def _moved(target: Target, before: Array, after: Array) -> Moved:
    one, other = target.compress(before), target.compress(after)
    by = np.abs(other - one)
    numbers = (round(float(value), 4) for value in (by.mean(), by.max(), lcc(one, other)))
    return Moved(target.key, len(by), *numbers)
