"""Where a figure may lie: bootstrap over items, differences between two sets of scores, and their size.

An item is what was drawn at random: a recording, or a condition. Intervals are percentiles of the figure over
resamples with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3). With few items
they come out too narrow; `enough_pairs` and `enough_apart` say below which number no difference can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 20
"""Of the resamples: the same items give the same interval, always."""
LEVEL = 0.95
LEAST_RESAMPLES = RESAMPLES // 2
"""Resamples in which a figure must exist (not all items alike) for its interval to mean something"""

Array = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where the items cannot give it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """How much higher the second set lies than the first, in the scores' unit."""

    effect: float
    """Without unit: pairs, Cohen's d_z; unpaired, Hedges' g. 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988)."""
    items: int
    """Pairs, or recordings of both sets"""
    enough: bool
    """Whether there are enough of them to tell a difference at all"""

    @property
    def found(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.enough and not self.low <= 0 <= self.high


def intervals(items: int, figures: Callable[[Places], Array]) -> list[Estimate]:
    """Several figures of the same `items` items, each with its interval, in their order.

    `figures` takes places (items,), with repeats in a resample, and gives (figures,).
    """
    values = figures(np.arange(items))
    rng = np.random.default_rng([SEED, items])
    draws = np.full((RESAMPLES, len(values)), np.nan)
    if items > 1:
        for draw in draws:
            draw[:] = figures(rng.integers(items, size=items))
    spans = [_percentiles(column) for column in draws.T]
    return [Estimate(float(value), *span) for value, span in zip(values, spans, strict=True)]


def mean(values: Array) -> Estimate:
    """The mean of (items,) values with its interval; NaN of none, no interval of one."""
    if len(values) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = _percentiles(_means(values, SEED)) if len(values) > 1 else (float("nan"), float("nan"))
    return Estimate(float(values.mean()), low, high)


def paired(first: Array, second: Array) -> Difference:
    """Mean of second less first, (pairs,) each, with its interval over pairs and Cohen's d_z (Lakens 2013)."""
    change = second - first
    spread = float(np.std(change, ddof=1)) if len(change) > 1 else float("nan")
    whole, pairs = mean(change), len(change)
    return Difference(whole.value, whole.low, whole.high, _ratio(whole.value, spread), pairs, enough_pairs(pairs))


def unpaired(first: Array, second: Array) -> Difference:
    """Mean of second (m,) less mean of first (n,), both resampled, with Hedges' g (Hedges 1981)."""
    n, m = len(first), len(second)
    if min(n, m) < 2:
        value = float(second.mean() - first.mean()) if min(n, m) else float("nan")
        return Difference(value, float("nan"), float("nan"), float("nan"), n + m, False)
    low, high = _percentiles(_means(second, SEED) - _means(first, SEED + 1))
    value = float(second.mean() - first.mean())
    freedom = n + m - 2
    pooled = float(np.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / freedom))
    small_sample = 1 - 3 / (4 * freedom - 1)
    return Difference(value, low, high, small_sample * _ratio(value, pooled), n + m, enough_apart(n, m))


def enough_pairs(pairs: int) -> bool:
    """Whether pairs that all point one way could be told from chance: the sign test's 2 / 2^pairs below 5 %."""
    return 2.0 / 2.0**pairs < 1 - LEVEL


def enough_apart(first: int, second: int) -> bool:
    """The same for two sets of which one lies wholly above the other: two of all their orders, below 5 %."""
    return 2.0 / comb(first + second, first) < 1 - LEVEL


def _means(values: Array, seed: int) -> Array:
    """(RESAMPLES,): means of resamples of (items,), drawn one by one so that many items need little memory."""
    rng = np.random.default_rng([seed, len(values)])
    return np.array([values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)])


def _percentiles(draws: Array) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if len(known) < LEAST_RESAMPLES:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _ratio(value: float, spread: float) -> float:
    """An effect: infinite where every item says the same, none where there is no difference either."""
    if np.isnan(spread):
        return float("nan")
    if value == 0:
        return 0.0
    return value / spread if spread > 0 else float(np.copysign(np.inf, value))
