"""How near predicted scores come to ratings: the figures of ITU-T P.1401, and the mapping that goes before them.

Conventions: `rating` and `score` are (items,) each, an item a recording or a condition, and hold no NaN. A figure
that the items cannot give (too few of them, or all alike) is NaN; `validate` raises for what nobody can mean.

    lcc           Pearson correlation                                    P.1401 (01/2020), 7.5.3
    srcc          Spearman rank correlation
    kendall       Kendall's tau-b: share of pairs in the right order, ties taken out
    rmse          root mean square error                                 P.1401, 7.5.1
    rmse_star     the same, an error inside a rating's 95 % interval counted as none    P.1401, 7.7
    third_order   mapping of scores onto the scale of the ratings: a cubic that rises    P.1401, 7.3.2
    evaluate      all figures at once

What is taken from where: the clause numbers are those of the table of contents of P.1401 (01/2020). Its text is
not at hand. The formulas of RMSE* (its equations 7-27 and 7-29) and the four degrees of freedom of the mapping
are as the evaluation of NISQA (Mittag et al., Interspeech 2021) quotes and uses them; not verified against the
standard. Without a mapping nothing is taken off the number of items here; some implementations take off one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from mtqnet.errors import UsageError

LEAST_ITEMS = 3
"""Items below which a correlation says nothing: two points always lie on a line."""
CUBIC_FREEDOM = 4
"""Degrees of freedom that a third-order mapping takes away: its four coefficients (P.1401, 7.5.1; see above)."""
LEVEL = 0.95
"""Of every interval"""
CORNERS = 65
"""Places of the range at which a mapping may become flat; finer ones change no third decimal of an RMSE."""

FIGURES = ("lcc", "srcc", "kendall", "rmse", "rmse_star", "rmse_mapped", "rmse_star_mapped")
"""Keys of `evaluate`, in its order; `mapped`: after a third-order mapping"""

Array = NDArray[np.float64]


def validate(rating: Array, score: Array) -> None:
    """Raise UsageError unless both are (items,) of the same length and finite."""
    if rating.shape != score.shape or rating.ndim != 1:
        raise UsageError(f"ratings {rating.shape} and scores {score.shape} do not belong together")
    if not (np.isfinite(rating).all() and np.isfinite(score).all()):
        raise UsageError("ratings and scores must be finite: leave out the recordings that lack one")


def lcc(rating: Array, score: Array) -> float:
    """Pearson's linear correlation coefficient (ITU-T P.1401, 7.5.3). (items,) twice. Raises UsageError."""
    validate(rating, score)
    if not _varied(rating, score):
        return float("nan")
    return float(np.corrcoef(rating, score)[0, 1])


def srcc(rating: Array, score: Array) -> float:
    """Spearman's rank correlation coefficient, ties by their mean rank. (items,) twice. Raises UsageError."""
    validate(rating, score)
    if not _varied(rating, score):
        return float("nan")
    return float(np.corrcoef(stats.rankdata(rating), stats.rankdata(score))[0, 1])


def kendall(rating: Array, score: Array) -> float:
    """Kendall's tau-b (Kendall 1945). (items,) twice. Raises UsageError."""
    validate(rating, score)
    if not _varied(rating, score):
        return float("nan")
    return float(stats.kendalltau(rating, score, variant="b").statistic)


def rmse(rating: Array, score: Array, freedom: int = 0) -> float:
    """Root mean square error (ITU-T P.1401, 7.5.1), in the ratings' unit. (items,) twice. Raises UsageError.

    `freedom`: coefficients of the mapping that the scores went through, taken off the number of items.
    """
    validate(rating, score)
    return _root_mean(np.abs(rating - score), freedom)


def rmse_star(rating: Array, score: Array, half: Array, freedom: int = 0) -> float:
    """Epsilon-insensitive RMSE (ITU-T P.1401, 7.7), in the ratings' unit. (items,) three times.

    `half` is half the 95 % interval of each rating (`votes_half`): an error within it counts as none, of a larger
    one only what lies beyond. NaN where an interval is unknown. Raises UsageError.
    """
    validate(rating, score)
    if half.shape != rating.shape:
        raise UsageError(f"ratings {rating.shape} and their intervals {half.shape} do not belong together")
    return _root_mean(np.maximum(np.abs(rating - score) - half, 0.0), freedom)


def votes_half(deviation: Array, votes: Array) -> Array:
    """Half the 95 % interval of mean votes (ITU-T P.1401, 7.4): t(votes - 1) deviation / sqrt(votes).

    (items,) standard deviation and number of votes -> (items,); NaN below two votes. Student's t whatever the
    number; tables that were made with 1.96 (the P.808 toolkit) carry their own, slightly narrower, interval.
    """
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
    """The scores it was fitted on. Between them it never falls; outside nothing is known of it."""

    def __call__(self, score: Array) -> Array:
        """(items,) scores -> (items,) on the scale of the ratings. Beyond the range: the value at its end."""
        inside = np.clip(score, self.low, self.high)
        mapped: Array = np.polynomial.polynomial.polyval(inside, np.array(self.coefficients))
        return mapped


def third_order(rating: Array, score: Array) -> Mapping:
    """The cubic through (items,) scores and ratings with the least squared error that does not fall between the
    lowest and the highest score (ITU-T P.1401, 7.3.2). Raises UsageError for fewer than four different scores.

    The plain least-squares cubic if it rises throughout. Else the best of those that do: their slope is a sum of
    parabolas, none below zero in the range, with weights that are not negative (any such slope is one, Lukacs), so
    that non-negative least squares finds it. Scores that run against the ratings give a flat line.
    """
    validate(rating, score)
    if len(np.unique(score)) < CUBIC_FREEDOM:
        raise UsageError(f"a third-order mapping needs {CUBIC_FREEDOM} or more different scores")
    low, high = float(score.min()), float(score.max())
    place = (2 * score - low - high) / (high - low)
    cubic = np.asarray(np.linalg.lstsq(np.vander(place, 4, increasing=True), rating)[0], dtype=np.float64)
    if not _rises(cubic):
        cubic = _best_rising(place, rating)
    middle, width = (low + high) / 2, (high - low) / 2
    in_scores = np.polynomial.Polynomial(cubic)(np.polynomial.Polynomial([-middle / width, 1 / width]))
    constant, linear, square, cube = np.pad(in_scores.coef, (0, 4))[:4]
    return Mapping((float(constant), float(linear), float(square), float(cube)), low, high)


def mapping(rating: Array, score: Array) -> Mapping | None:
    """`third_order` where there are enough different scores for it. (items,) twice. Raises UsageError."""
    return third_order(rating, score) if len(np.unique(score)) >= CUBIC_FREEDOM else None


def evaluate(rating: Array, score: Array, half: Array, mapped: Mapping | None) -> dict[str, float]:
    """All FIGURES of (items,) ratings and scores, NaN where there is none. Raises UsageError.

    `half` as in `rmse_star`, NaN where unknown. `mapped` is `mapping(rating, score)`, or was fitted before.
    """
    fitted = np.full(len(score), np.nan) if mapped is None else mapped(score)
    freedom = CUBIC_FREEDOM
    return {
        "lcc": lcc(rating, score),
        "srcc": srcc(rating, score),
        "kendall": kendall(rating, score),
        "rmse": rmse(rating, score),
        "rmse_star": rmse_star(rating, score, half),
        "rmse_mapped": rmse(rating, fitted, freedom) if mapped else float("nan"),
        "rmse_star_mapped": rmse_star(rating, fitted, half, freedom) if mapped else float("nan"),
    }


def _rises(cubic: Array) -> bool:
    """Whether a polynomial of places -1 to 1 never falls there: looked up at the ends and where it is steepest."""
    _, linear, square, cube = cubic
    turn = [-square / (3 * cube)] if cube != 0 else []
    places = (-1.0, 1.0, *(place for place in turn if abs(place) < 1))
    return all(linear + 2 * square * place + 3 * cube * place**2 >= 0 for place in places)


def _best_rising(place: Array, rating: Array) -> Array:
    """Coefficients of the least-squares cubic among those that never fall between places -1 and 1."""
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


def _root_mean(error: Array, freedom: int) -> float:
    if len(error) <= freedom:
        return float("nan")
    return float(np.sqrt(np.sum(error**2) / (len(error) - freedom)))
