"""Statistics of evaluation: agreement of predicted scores with ratings (ITU-T P.1401), and bootstrap intervals.

Conventions: `rating` and `score` are (items,) each, an item is a recording or a condition, and they contain no
NaN. A figure that the items cannot give (too few of them, or all equal) is NaN.

The clause numbers are those of the table of contents of P.1401 (01/2020); its text was not available. The
formulas of RMSE* (equations 7-27 and 7-29) and the four degrees of freedom of the mapping follow the evaluation
of NISQA (Mittag et al., Interspeech 2021); they were not verified against the standard. Without a mapping the
number of items is not reduced here; some implementations subtract one.

Bootstrap intervals are percentiles of a figure over resamples of the items with replacement (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, 13.3). With few items they are too narrow; `enough_pairs` and
`enough_apart` state below which number no difference can be detected. The bootstrap needs numpy only, so that
`compare` and `gate` work in the core installation; correlations of ranks and the mapping need scipy (extra
`analysis`), which is imported when they are called. scipy.stats.bootstrap would make it a dependency of both
commands and gives the same percentiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

LEAST_ITEMS = 3
"""Smallest number of items for a correlation: two points are always on a line."""
CUBIC_FREEDOM = 4
"""Degrees of freedom that a third-order mapping takes away: its four coefficients (P.1401, 7.5.1; see above)."""
LEVEL = 0.95
"""Coverage of every interval"""
CORNERS = 65
"""Places of the range at which a mapping may become flat; finer ones change no third decimal of an RMSE."""

FIGURES = ("lcc", "srcc", "kendall", "rmse", "rmse_star", "rmse_mapped", "rmse_star_mapped")
"""Keys of `evaluate`, in its order; `mapped`: after a third-order mapping"""
RESAMPLES = 1000
SEED = 20
"""Seed of the resamples: equal items have equal intervals."""
LEAST_RESAMPLES = RESAMPLES // 2
"""Resamples in which a figure must exist (not all items alike) for its interval to mean something"""

Array = NDArray[np.float64]
Places = NDArray[np.intp]


def lcc(rating: Array, score: Array) -> float:
    """Pearson's linear correlation coefficient (ITU-T P.1401, 7.5.3). (items,) twice."""
    return float(np.corrcoef(rating, score)[0, 1]) if _varied(rating, score) else float("nan")


def srcc(rating: Array, score: Array) -> float:
    """Spearman's rank correlation coefficient, ties by their mean rank. (items,) twice."""
    if not _varied(rating, score):
        return float("nan")
    from scipy import stats

    return float(np.corrcoef(stats.rankdata(rating), stats.rankdata(score))[0, 1])


def kendall(rating: Array, score: Array) -> float:
    """Kendall's tau-b (Kendall 1945). (items,) twice."""
    if not _varied(rating, score):
        return float("nan")
    from scipy import stats

    return float(stats.kendalltau(rating, score, variant="b").statistic)


def rmse(rating: Array, score: Array, half: Array | float = 0.0, freedom: int = 0) -> float:
    """RMSE (ITU-T P.1401, 7.5.1) in the ratings' unit; with `half` RMSE*, the epsilon-insensitive RMSE (7.7).

    Args:
        rating: (items,).
        score: (items,).
        half: (items,) half the 95 % interval of each rating (`votes_half`), NaN where unknown: an error within it
            counts as zero, a larger error is reduced by it.
        freedom: Coefficients of the mapping that the scores went through, taken off the number of items.
    """
    if len(rating) <= freedom:
        return float("nan")
    error = np.maximum(np.abs(rating - score) - half, 0.0)
    return float(np.sqrt(np.sum(error**2) / (len(error) - freedom)))


def votes_half(deviation: Array, votes: Array) -> Array:
    """Half the 95 % interval of mean votes (ITU-T P.1401, 7.4): t(votes - 1) deviation / sqrt(votes).

    (items,) standard deviation and number of votes -> (items,); NaN below two votes. Student's t for any number of
    votes; tables computed with 1.96 (the P.808 toolkit) have their own, slightly narrower, interval.
    """
    from scipy import stats

    enough = votes >= 2
    count = np.where(enough, votes, 2.0)
    half: Array = stats.t.ppf((1 + LEVEL) / 2, count - 1) * deviation / np.sqrt(count)
    return np.where(enough, half, np.nan)


@dataclass(frozen=True)
class Mapping:
    """A polynomial from scores to ratings."""

    coefficients: tuple[float, float, float, float]
    """Of 1, x, x^2, x^3"""
    low: float
    high: float
    """The scores it was fitted on. It is monotonic between them and undefined outside."""

    def __call__(self, score: Array) -> Array:
        """(items,) scores -> (items,) on the scale of the ratings. Beyond the range: the value at its end."""
        inside = np.clip(score, self.low, self.high)
        mapped: Array = np.polynomial.polynomial.polyval(inside, np.array(self.coefficients))
        return mapped


def mapping(rating: Array, score: Array) -> Mapping | None:
    """Fit the monotonic cubic with the least squared error to (items,) scores and ratings (ITU-T P.1401, 7.3.2).

    It does not fall between the lowest and the highest score. None for fewer than four different scores.

    The plain least-squares cubic if it rises throughout. Else the best of those that do: their slope is a sum of
    parabolas that are not negative in the range, with non-negative weights (any such slope is one, Lukacs), so
    that non-negative least squares finds it. For scores that decrease with the ratings, the result is a constant.
    """
    if len(np.unique(score)) < CUBIC_FREEDOM:
        return None
    low, high = float(score.min()), float(score.max())
    place = (2 * score - low - high) / (high - low)
    cubic = np.asarray(np.linalg.lstsq(np.vander(place, 4, increasing=True), rating)[0], dtype=np.float64)
    if not _rises(cubic):
        cubic = _best_rising(place, rating)
    middle, width = (low + high) / 2, (high - low) / 2
    in_scores = np.polynomial.Polynomial(cubic)(np.polynomial.Polynomial([-middle / width, 1 / width]))
    constant, linear, square, cube = np.pad(in_scores.coef, (0, 4))[:4]
    return Mapping((float(constant), float(linear), float(square), float(cube)), low, high)


def agreement(rating: Array, score: Array, half: Array, mapped: Mapping | None) -> dict[str, float]:
    """All FIGURES of (items,) ratings and scores, NaN where there is none.

    `half` as in `rmse`. `mapped` is `mapping(rating, score)`, or was fitted before.
    """
    fitted = np.full(len(score), np.nan) if mapped is None else mapped(score)
    return {
        "lcc": lcc(rating, score),
        "srcc": srcc(rating, score),
        "kendall": kendall(rating, score),
        "rmse": rmse(rating, score),
        "rmse_star": rmse(rating, score, half),
        "rmse_mapped": rmse(rating, fitted, freedom=CUBIC_FREEDOM),
        "rmse_star_mapped": rmse(rating, fitted, half, CUBIC_FREEDOM),
    }


def _rises(cubic: Array) -> bool:
    """Whether a polynomial of places -1 to 1 never falls there: looked up at the ends and where it is steepest."""
    _, linear, square, cube = cubic
    turn = [-square / (3 * cube)] if cube != 0 else []
    places = (-1.0, 1.0, *(place for place in turn if abs(place) < 1))
    return all(linear + 2 * square * place + 3 * cube * place**2 >= 0 for place in places)


def _best_rising(place: Array, rating: Array) -> Array:
    """Coefficients of the least-squares cubic among those that never fall between places -1 and 1."""
    from scipy import optimize

    parts = _rising_parts()
    values = np.vander(place, 4, increasing=True) @ parts.T
    weights, _ = optimize.nnls(values - values.mean(axis=0), rating - rating.mean())
    cubic: Array = weights @ parts
    cubic[0] = rating.mean() - float(values.mean(axis=0) @ weights)
    return cubic


@cache
def _rising_parts() -> Array:
    """(CORNERS + 1, 4): coefficients of cubics whose slope touches zero at one place, or at both ends."""
    corners = np.linspace(-1, 1, CORNERS)
    slopes = [np.array([c * c, -2 * c, 1.0]) for c in corners] + [np.array([1.0, 0.0, -1.0])]
    return np.array([np.polynomial.polynomial.polyint(slope) for slope in slopes])


def _varied(rating: Array, score: Array) -> bool:
    return len(rating) >= LEAST_ITEMS and bool(np.ptp(rating) > 0) and bool(np.ptp(score) > 0)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where the items cannot give it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """Difference of the second set minus the first, in the scores' unit."""

    effect: float
    """Without unit: pairs, Cohen's d_z; unpaired, Hedges' g. 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988)."""
    items: int
    """Pairs, or recordings of both sets"""
    enough: bool
    """Whether there are enough items to detect a difference"""

    @property
    def found(self) -> bool:
        """Whether zero is outside the interval."""
        return self.enough and not self.low <= 0 <= self.high


def intervals(items: int, figures: Callable[[Places], Array]) -> list[Estimate]:
    """Several figures of the same `items` items, each with its interval, in their order.

    `figures` takes places (items,), with repeats in a resample, and returns (figures,).
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
    """The mean of (items,) values with its interval; NaN without values, no interval for a single value."""
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
    """Whether pairs that all have the same sign are significant: the sign test's 2 / 2^pairs is below 5 %."""
    return 2.0 / 2.0**pairs < 1 - LEVEL


def enough_apart(first: int, second: int) -> bool:
    """The same for two sets without overlap: two of all possible orders are below 5 %."""
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
    """An effect size: infinite if all items have the same difference, zero if there is no difference."""
    if np.isnan(spread):
        return float("nan")
    if value == 0:
        return 0.0
    return value / spread if spread > 0 else float(np.copysign(np.inf, value))
