"""Intervals fitted on calibration clips, and how many labels they cover on others.

Calibration clips are held out from training and from the choice of the best epoch. One half of them tells how far
off the model is at which scores (a ridge regression of the logarithm of the error), the other half how much wider
the interval must be to hold COVERAGE of the labels, and then the halves change places: split-conformal prediction
(scoring/intervals.py), with every clip in the quantile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import ModelError
from mtqnet.scoring.intervals import Band, Intervals, terms
from mtqnet.targets import Target, named
from mtqnet.training import ridge

COVERAGE = 0.9
LEAST = 40
"""Calibration clips; fewer say nothing of a tenth of them"""
KIND_LEAST = 50
"""Clips of a kind of processing whose coverage is told"""
PENALTY = 10.0
"""Of the ridge regression, in clips"""
SMALLEST = 1e-3
"""Error on the training scale below which a logarithm means nothing"""

Array = NDArray[np.float64]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Covered:
    """How intervals did on some clips."""

    kind: str
    """Which clips: a split, or a kind of processing in it"""
    target: str
    clips: int
    share: float
    """Of labels within the interval, 0 to 1"""
    width: float
    """Mean, in the target's own unit; for SDI of log10"""


def fit(scores: Values, labels: Values, targets: Sequence[str], seed: int = 0) -> Intervals:
    """Intervals of these targets from scores and labels of calibration clips, (clips,) each; NaN where unknown.

    Raises ModelError for too few clips.
    """
    x = terms(list(named(list(targets))), scores)
    first = np.random.default_rng(seed).permutation(len(x)) < len(x) // 2
    bands = {t.key: _band(t, x, scores[t.key], labels[t.key], first) for t in named(list(targets))}
    return Intervals(COVERAGE, bands)


def _band(target: Target, x: Array, scores: Array, labels: Array, first: NDArray[np.bool_]) -> Band:
    known = ~np.isnan(labels) & ~np.isnan(x).any(axis=1)
    if known.sum() < LEAST:
        raise ModelError(f"{known.sum()} clips with {target.name} to calibrate on: intervals need {LEAST}")
    x, first = x[known], first[known]
    error = np.abs(target.to_training(labels[known]) - target.to_training(scores[known]))
    ratio = np.empty(len(error))
    for half in (first, ~first):
        ratio[half] = error[half] / _usual(x[~half], error[~half], x).half_width(x[half])
    made = _usual(x, error, x)
    place = min(math.ceil((len(ratio) + 1) * COVERAGE), len(ratio)) - 1
    return Band(made.weights, made.lowest, made.highest, float(np.sort(ratio)[place]))


def _usual(x: Array, error: Array, everywhere: Array) -> Band:
    """How far off the model usually is at such scores; terms `everywhere` tell between which ends."""
    size = np.log(np.maximum(error, SMALLEST))
    usual = float(size.mean())
    weights = ridge.solve(x, size - usual, PENALTY)
    weights[0] += usual  # the penalty pulls towards one width for all, not towards the width 1
    exponent = everywhere @ weights
    return Band(tuple(weights.tolist()), float(exponent.min()), float(exponent.max()), 1.0)


def covered(kind: str, intervals: Intervals, scores: Values, labels: Values) -> list[Covered]:
    """By target, on clips that did not calibrate; those without a label or a score count for nothing."""
    low, high = intervals.ends(scores)
    found = []
    for target in named(list(intervals.bands)):
        truth = np.clip(labels[target.key], target.low, target.high)
        known = ~np.isnan(truth) & ~np.isnan(scores[target.key])
        if known.any():
            ends = low[target.key][known], high[target.key][known]
            inside = (truth[known] >= ends[0]) & (truth[known] <= ends[1])
            width = target.compress(ends[1]) - target.compress(ends[0])
            means = round(float(inside.mean()), 4), round(float(width.mean()), 4)
            found.append(Covered(kind, target.key, int(known.sum()), *means))
    return found


def by_kind(
    intervals: Intervals, rows: Sequence[Mapping[str, Any]], scores: Values, labels: Values
) -> list[Covered]:
    """Coverage of each split, and of each kind of processing (column `steps`) that enough clips of it had."""
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        inside = np.array([row["split"] == split for row in rows])
        found += covered(split, intervals, picked(inside, scores), picked(inside, labels))
        kinds = sorted({step for row in rows if row["split"] == split for step in row["steps"]})
        for kind in kinds:
            had = inside & np.array([kind in row["steps"] for row in rows])
            if had.sum() >= KIND_LEAST:
                found += covered(f"{split}: {kind}", intervals, picked(had, scores), picked(had, labels))
    return found


def picked(which: NDArray[np.bool_] | NDArray[np.int64], values: Values) -> Values:
    """The same of some clips."""
    return {key: said[which] for key, said in values.items()}
