"""Intervals: their coverage, their width with more items, and the result for too few items."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtqnet.evaluation import statistics as bootstrap


def test_interval_of_a_mean_is_near_students_and_covers_it() -> None:
    values = np.random.default_rng(1).normal(3.0, 0.5, 60)
    made = bootstrap.mean(values)
    low, high = scipy_stats.t.interval(0.95, 59, values.mean(), values.std(ddof=1) / np.sqrt(60))
    assert (made.low, made.high) == pytest.approx((low, high), abs=0.02)
    assert made.low < made.value < made.high


def test_true_mean_lies_in_most_intervals() -> None:
    rng = np.random.default_rng(2)
    made = [bootstrap.mean(rng.normal(3.0, 1.0, 30)) for _ in range(100)]
    assert 88 <= sum(one.low <= 3.0 <= one.high for one in made) <= 99


def test_same_items_same_interval() -> None:
    values = np.random.default_rng(3).normal(size=40)
    assert bootstrap.mean(values) == bootstrap.mean(values)


def test_figures_of_one_call_share_their_resamples() -> None:
    values = np.random.default_rng(4).normal(size=50)
    one, two = bootstrap.intervals(50, lambda at: np.array([values[at].mean(), 2 * values[at].mean()]))
    assert (two.value, two.low, two.high) == pytest.approx((2 * one.value, 2 * one.low, 2 * one.high))


def test_figure_that_hardly_exists_has_no_interval() -> None:
    (made,) = bootstrap.intervals(5, lambda at: np.array([1.0 if len(set(at.tolist())) == 5 else np.nan]))
    assert made.value == 1.0
    assert np.isnan(made.low)


def test_pairs_tell_what_unpaired_sets_cannot() -> None:
    """Recordings differ by far more than the two systems do."""
    rng = np.random.default_rng(5)
    first = rng.normal(3.0, 0.8, 40)
    second = first + 0.1 + 0.05 * rng.standard_normal(40)
    together, apart = bootstrap.paired(first, second), bootstrap.unpaired(first, second)
    assert together.found
    assert not apart.found
    assert together.value == pytest.approx(apart.value)
    assert together.effect > 1 > apart.effect > 0


def test_effects_are_their_formulas() -> None:
    first, second = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 3, 5, 5, 6, 8])
    change = second - first
    assert bootstrap.paired(first, second).effect == pytest.approx(change.mean() / change.std(ddof=1))
    pooled = np.sqrt((5 * first.var(ddof=1) + 5 * second.var(ddof=1)) / 10)
    hedges = (1 - 3 / 39) * (second.mean() - first.mean()) / pooled
    assert bootstrap.unpaired(first, second).effect == pytest.approx(hedges)


def test_turned_round_a_difference_changes_its_sign() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=30), rng.normal(0.5, 1, 30)
    there, back = bootstrap.paired(first, second), bootstrap.paired(second, first)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


@pytest.mark.parametrize(("pairs", "enough"), [(0, False), (1, False), (5, False), (6, True), (50, True)])
def test_five_pairs_tell_nothing(pairs: int, enough: bool) -> None:
    """Not even when all agree: 2 / 2^5 is more than 5 %."""
    made = bootstrap.paired(np.zeros(pairs), np.linspace(1, 2, pairs))
    assert made.found is enough


def test_three_against_three_tell_nothing() -> None:
    """20 orders, of which two are as extreme: 10 %. Four against four: 2 of 70."""
    assert not bootstrap.enough_apart(3, 3)
    assert bootstrap.enough_apart(4, 4)
    assert not bootstrap.unpaired(np.array([1.0, 2, 3]), np.array([5.0, 6, 7])).found


def test_no_difference_at_all_has_no_effect() -> None:
    made = bootstrap.paired(np.arange(10.0), np.arange(10.0))
    assert (made.value, made.low, made.high, made.effect) == (0.0, 0.0, 0.0, 0.0)
    assert not made.found
