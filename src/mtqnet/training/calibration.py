"""Prediction intervals fitted on calibration clips, and their coverage on other clips.

Split conformal prediction with input-dependent width (scoring/intervals.py). Calibration clips are not used for
training or for the choice of the best epoch. On one half of them a ridge regression predicts the logarithm of the
error from the scores; the other half determines the factor by which the intervals must be widened to contain
COVERAGE of the labels. Then the halves are exchanged, so that every clip contributes to the quantile.

Calibration clips contain the codecs and suppressors of the training, but recordings of users often contain others.
So the errors of clips with such tools are multiplied by a factor that was measured with each tool left out of the
training (NewToolsConfig; research/left_out_tools.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import log_ndtr

from mtqnet.causes import Calibration, log_odds
from mtqnet.errors import ModelError
from mtqnet.scoring.intervals import Band, Intervals, terms
from mtqnet.targets import Target, named

COVERAGE = 0.9
LEAST = 40
"""Fewest calibration clips"""
KIND_LEAST = 50
"""Fewest clips of a kind of processing for which the coverage is reported"""
PENALTY = 10.0
"""Penalty of the ridge regression, in clips"""
SMALLEST = 1e-3
"""Smallest error on the training scale whose logarithm is used"""

Array = NDArray[np.float64]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Coverage:
    """Coverage of the intervals of one target on some clips."""

    kind: str
    """Which clips: a split, or a kind of processing in it"""
    target: str
    clips: int
    share: float
    """Fraction of the labels inside the interval"""
    width: float
    """Mean width in the target's unit; for SDI of log10"""


def fit(
    scores: Values, labels: Values, targets: Sequence[str], seed: int = 0, factors: Values | None = None
) -> Intervals:
    """Fit the intervals of these targets.

    Args:
        scores: Scores of the calibration clips, (clips,) by target.
        labels: Their labels; NaN where unknown.
        targets: Keys of the targets.
        seed: Seed of the division into halves.
        factors: Factors of the errors, (clips,) by target; by default 1.

    Raises:
        ModelError: If a target has too few labels.
    """
    x = terms(list(named(list(targets))), scores)
    first = np.random.default_rng(seed).permutation(len(x)) < len(x) // 2
    ones = np.ones(len(x))
    bands = {
        t.key: _band(t, x, scores[t.key], labels[t.key], first, ones if factors is None else factors[t.key])
        for t in named(list(targets))
    }
    return Intervals(COVERAGE, bands)


def covered(kind: str, intervals: Intervals, scores: Values, labels: Values) -> list[Coverage]:
    """Return the coverage by target on clips that were not used for calibration; NaN in either is ignored."""
    low, high = intervals.ends(scores)
    rows = []
    for target in named(list(intervals.bands)):
        truth = np.clip(labels[target.key], target.low, target.high)
        known = ~np.isnan(truth) & ~np.isnan(scores[target.key])
        if known.any():
            ends = low[target.key][known], high[target.key][known]
            inside = (truth[known] >= ends[0]) & (truth[known] <= ends[1])
            width = target.compress(ends[1]) - target.compress(ends[0])
            means = round(float(inside.mean()), 4), round(float(width.mean()), 4)
            rows.append(Coverage(kind, target.key, int(known.sum()), *means))
    return rows


def by_kind(
    intervals: Intervals, rows: Sequence[Mapping[str, Any]], scores: Values, labels: Values
) -> list[Coverage]:
    """Return the coverage on each split, and on each kind of processing (column `steps`) with enough clips."""
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        inside = np.array([row["split"] == split for row in rows])
        found += covered(split, intervals, selected(inside, scores), selected(inside, labels))
        for kind in sorted({step for row in rows if row["split"] == split for step in row["steps"]}):
            processed = inside & np.array([kind in row["steps"] for row in rows])
            if processed.sum() >= KIND_LEAST:
                name = f"{split}: {kind}"
                found += covered(name, intervals, selected(processed, scores), selected(processed, labels))
    return found


def selected(which: NDArray[np.bool_] | NDArray[np.int64], values: Values) -> Values:
    """Return the values of some clips."""
    return {key: array[which] for key, array in values.items()}


def ridge(x: Array, y: Array, penalty: float) -> Array:
    """Solve a ridge regression: (rows, columns), (rows,) or (rows, targets) -> (columns,) or (columns,
    targets)."""
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y), dtype=np.float64)


def logistic(probabilities: Array, truth: Array) -> Calibration:
    """Fit the calibration of a probability (Platt 1999), with a small penalty on the distance from the identity.

    Args:
        probabilities: (clips,)
        truth: (clips,): 1, 0, or NaN for unknown.
    """
    known = ~np.isnan(truth) & ~np.isnan(probabilities)
    y = truth[known]
    if not len(y) or not 0 < y.mean() < 1:
        return Calibration()
    odds = log_odds(probabilities[known])

    def loss(x: Array) -> float:
        z = x[0] * odds + x[1]
        penalty = (x[0] - 1) ** 2 + x[1] ** 2
        return float(np.sum(np.logaddexp(0, z) - y * z) + penalty)

    slope, offset = optimize.minimize(loss, np.array([1.0, 0.0])).x
    return Calibration(float(slope), float(offset))


def difference_error(
    scores: Values, labels: Values, speech: Sequence[str], targets: Sequence[str]
) -> dict[str, float]:
    """Fit the error of differences between clips of the same speech by the order of their labels.

    The probability that the second clip is better than the first is Phi(d / s) for the difference d of their scores; s
    is fitted by maximum likelihood (probit regression without an offset).

    Args:
        scores: Scores of clips, (clips,) by target.
        labels: Their labels; NaN where unknown.
        speech: Recording of speech that each clip was made from.
        targets: Keys of the targets.

    Returns:
        s by target, in the unit of the target, of log10 for SDI. Targets with fewer than LEAST pairs are omitted.
    """
    of_speech: dict[str, list[int]] = {}
    for index, name in enumerate(speech):
        of_speech.setdefault(name, []).append(index)
    pairs = [pair for group in of_speech.values() for pair in combinations(group, 2)]
    if not pairs:
        return {}
    first, second = np.array(pairs).T
    found = {}
    for target in named(list(targets)):
        score, label = target.compress(scores[target.key]), target.compress(labels[target.key])
        d, better = score[second] - score[first], np.sign(label[second] - label[first])
        known = np.isfinite(d) & np.isfinite(better) & (better != 0)
        if known.sum() < LEAST:
            continue
        signed = d[known] * better[known]

        def loss(log_s: float, signed: Array = signed) -> float:
            return -float(log_ndtr(signed / math.exp(log_s)).sum())

        fit = optimize.minimize_scalar(loss, bounds=(math.log(0.01), math.log(10.0)), method="bounded")
        found[target.key] = round(math.exp(float(fit.x)), 4)
    return found


def conformal_quantile(ratios: Array, coverage: float) -> float:
    """Return the factor that split conformal prediction applies: a quantile of errors divided by widths."""
    index = min(math.ceil((len(ratios) + 1) * coverage), len(ratios)) - 1
    return float(np.sort(ratios)[index])


def _band(
    target: Target, x: Array, scores: Array, labels: Array, first: NDArray[np.bool_], factors: Array
) -> Band:
    known = ~np.isnan(labels) & ~np.isnan(x).any(axis=1)
    if known.sum() < LEAST:
        raise ModelError(
            f"intervals of {target.name} need at least {LEAST} calibration clips with a label, found {known.sum()}"
        )
    x, first = x[known], first[known]
    error = factors[known] * np.abs(target.to_training(labels[known]) - target.to_training(scores[known]))
    ratio = np.empty(len(error))
    for half in (first, ~first):
        ratio[half] = error[half] / _expected_error(x[~half], error[~half], x).half_width(x[half])
    band = _expected_error(x, error, x)
    return Band(band.weights, band.lowest, band.highest, conformal_quantile(ratio, COVERAGE))


def _expected_error(x: Array, error: Array, all_terms: Array) -> Band:
    """Fit the expected error as a function of the terms; `all_terms` limit the range of the result."""
    size = np.log(np.maximum(error, SMALLEST))
    mean = float(size.mean())
    weights = ridge(x, size - mean, PENALTY)
    weights[0] += mean  # so the penalty pulls towards the mean width, not towards the width 1
    exponent = all_terms @ weights
    return Band(tuple(weights.tolist()), float(exponent.min()), float(exponent.max()), 1.0)
