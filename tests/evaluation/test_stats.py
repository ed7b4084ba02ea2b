"""The figures of ITU-T P.1401 are compared with values calculated by hand, with other code, and with general
properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize
from scipy import stats as scipy_stats

from mtqnet.evaluation import statistics as stats

Array = NDArray[np.float64]

RATING = np.array([1.5, 2.0, 2.0, 3.5, 4.0, 4.5])
SCORE = np.array([1.0, 2.5, 2.0, 3.0, 3.0, 5.0])


def wavy(items: int = 78, seed: int = 0) -> tuple[Array, Array]:
    """Ratings that rise with the scores, fall, and rise again, so that a free cubic would not do."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(1, 5, items)
    return 3 + 1.2 * np.sin((score - 3) * 1.6) + 0.2 * rng.standard_normal(items), score


def fitted(rating: Array, score: Array) -> stats.Mapping:
    mapping = stats.mapping(rating, score)
    assert mapping is not None
    return mapping


def test_figures_are_those_worked_by_hand() -> None:
    """Errors 0.5, 0.5, 0, 0.5, 1, 0.5: squares sum to 2. Of 15 pairs 13 are in order; each side ties one."""
    assert stats.rmse(RATING, SCORE) == pytest.approx(np.sqrt(2 / 6), abs=1e-12)
    assert stats.rmse(RATING, SCORE, freedom=4) == pytest.approx(1.0, abs=1e-12)
    assert stats.kendall(RATING, SCORE) == pytest.approx((13 - 0) / 14, abs=1e-12)
    half = np.array([0.5, 0.2, 0.1, 1.0, 0.4, 0.5])  # beyond it: 0, 0.3, 0, 0, 0.6, 0
    assert stats.rmse(RATING, SCORE, half) == pytest.approx(np.sqrt(0.45 / 6), abs=1e-12)


def test_correlations_are_scipys() -> None:
    assert stats.lcc(RATING, SCORE) == pytest.approx(scipy_stats.pearsonr(RATING, SCORE).statistic, abs=1e-12)
    assert stats.srcc(RATING, SCORE) == pytest.approx(scipy_stats.spearmanr(RATING, SCORE).statistic, abs=1e-12)


def test_interval_of_votes_is_students() -> None:
    """12 votes with a deviation of 0.4523: t(11) = 2.20099."""
    half = stats.votes_half(np.array([0.4523, 1.0]), np.array([12.0, 1.0]))
    assert half[0] == pytest.approx(2.20099 * 0.4523 / np.sqrt(12), abs=1e-5)
    assert np.isnan(half[1])


@pytest.mark.parametrize("items", [0, 1, 2])
def test_too_few_items_have_no_correlation(items: int) -> None:
    for figure in (stats.lcc, stats.srcc, stats.kendall):
        assert np.isnan(figure(RATING[:items], SCORE[:items]))


def test_items_all_alike_have_no_correlation() -> None:
    for figure in (stats.lcc, stats.srcc, stats.kendall):
        assert np.isnan(figure(RATING, np.full(6, 3.0)))
        assert np.isnan(figure(np.full(6, 3.0), SCORE))


def test_three_different_scores_have_no_mapping() -> None:
    assert stats.mapping(RATING, np.array([1.0, 1, 2, 2, 3, 3])) is None


def test_mapping_is_plain_least_squares_where_that_rises() -> None:
    score = np.linspace(1, 5, 30)
    rating = 0.5 + 0.3 * score + 0.02 * score**3 / 5
    mapping = fitted(rating, score)
    assert mapping.coefficients == pytest.approx((0.5, 0.3, 0.0, 0.004), abs=1e-9)
    assert stats.rmse(rating, mapping(score)) == pytest.approx(0.0, abs=1e-10)


def test_mapping_is_the_best_of_those_that_rise() -> None:
    """A general solver with slopes of at least zero at 400 points finds the same error."""
    rating, score = wavy()
    places = np.linspace(score.min(), score.max(), 400) - 3

    def error(c: Array) -> float:
        return float(np.sum((np.polynomial.polynomial.polyval(score - 3, c) - rating) ** 2))

    rising: Any = {"type": "ineq", "fun": lambda c: c[1] + 2 * c[2] * places + 3 * c[3] * places**2}
    options: Any = {"maxiter": 1000, "ftol": 1e-12}
    best = optimize.minimize(error, [3, 0.5, 0, 0], constraints=rising, method="SLSQP", options=options)
    mapped = fitted(rating, score)(score)
    assert stats.rmse(rating, mapped) == pytest.approx(np.sqrt(best.fun / len(rating)), abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1, 5, allow_nan=False), st.floats(1, 5, allow_nan=False)), min_size=5, max_size=30
    )
)
def test_mapping_never_falls_and_never_hurts(pairs: list[tuple[float, float]]) -> None:
    rating, score = np.array(pairs).T.round(2)
    if len(np.unique(score)) < 4:
        return
    mapping = fitted(rating, score)
    curve = mapping(np.linspace(score.min(), score.max(), 200))
    assert (np.diff(curve) >= -1e-7).all()
    flat = np.full(len(rating), rating.mean())
    assert stats.rmse(rating, mapping(score)) <= stats.rmse(rating, flat) + 1e-7


def test_scores_that_run_the_wrong_way_are_mapped_to_a_flat_line() -> None:
    score = np.linspace(1, 5, 20)
    mapped = fitted(6 - score, score)(score)
    assert np.ptp(mapped) == pytest.approx(0.0, abs=1e-9)
    assert mapped[0] == pytest.approx(3.0)


def test_beyond_its_range_a_mapping_stays_at_its_end() -> None:
    rating, score = wavy()
    mapping = fitted(rating, score)
    ends = mapping(np.array([score.min(), score.max()]))
    assert mapping(np.array([-9.0, 99.0])) == pytest.approx(ends)


def test_all_at_once_are_the_single_figures() -> None:
    half = np.full(6, 0.3)
    mapped = fitted(RATING, SCORE)
    told = stats.agreement(RATING, SCORE, half, mapped)
    assert tuple(told) == stats.FIGURES
    assert told["kendall"] == stats.kendall(RATING, SCORE)
    assert told["rmse_star"] == stats.rmse(RATING, SCORE, half)
    assert told["rmse_star_mapped"] == stats.rmse(RATING, mapped(SCORE), half, 4)
    few = stats.agreement(RATING[:3], SCORE[:3], np.full(3, np.nan), stats.mapping(RATING[:3], SCORE[:3]))
    assert {name for name, value in few.items() if np.isnan(value)} == {
        "rmse_star", "rmse_mapped", "rmse_star_mapped"
    }  # fmt: skip


def test_the_difference_of_two_sets_of_two_has_an_interval() -> None:
    found = stats.unpaired(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    assert found.value == pytest.approx(2.5)
    assert found.low <= found.value <= found.high
    alone = stats.unpaired(np.array([1.0]), np.array([3.0, 5.0]))
    assert alone.value == pytest.approx(3.0) and np.isnan(alone.low)
