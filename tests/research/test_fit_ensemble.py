"""The fit of the label ensemble: weights by agreement, moved to the labeller where ratings exist."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.corpus.degradations import KINDS, MODULATED, NOISE
from mtqnet.corpus.ensemble import Line
from research import fit_ensemble
from research.fit_ensemble import UNCHANGED, Pool, Rated

RNG = np.random.default_rng(1)
CONDITIONS: NDArray[np.int64] = np.repeat(np.arange(10), 6)
TALKERS = np.tile(["f1", "m1", "f2"], 20)
TRUTH: NDArray[np.float64] = np.asarray(1.5 + 0.3 * CONDITIONS, dtype=np.float64)
EVERY = np.ones(60, dtype=bool)

Array = NDArray[np.float64]


def rated(labeller: Array, predictor: Array) -> Rated:
    """N-MOS of ten conditions and three talkers."""
    sources = {"n_mos": labeller, "dnsmos_bak": predictor}
    conditions, talkers = [f"c{number}" for number in CONDITIONS], TALKERS.tolist()
    kinds = {NOISE: EVERY, MODULATED: EVERY}
    return Rated("set", sources, {"n_mos": TRUTH}, kinds, conditions, talkers, {"n_mos": labeller})


def found(one: Rated) -> dict[str, fit_ensemble.Found]:
    pool = Pool(one.sources, [one.kind] * 60, [])
    return fit_ensemble.by_ratings("n_mos", [one], pool.lines("n_mos"), pool, fit_ensemble.SHARES)


def test_a_predictor_that_agrees_keeps_its_weight_and_gets_a_line_to_the_ratings() -> None:
    made = found(rated(TRUTH + 0.3 * RNG.standard_normal(60), 0.5 * TRUTH + 1 + 0.02 * RNG.standard_normal(60)))
    assert made[NOISE].basis == "ratings: set; share 1.0"
    assert made[NOISE].weights["dnsmos_bak"] > 0.7
    assert made[NOISE].lines["n_mos"] == UNCHANGED
    assert made[NOISE].lines["dnsmos_bak"].slope == pytest.approx(2.0, abs=0.1)


def test_a_predictor_that_is_wrong_in_some_conditions_leaves_the_labeller_alone() -> None:
    wrong = TRUTH + np.where(CONDITIONS == 9, -2.5, 0.0)
    made = found(rated(TRUTH + 0.01 * RNG.standard_normal(60), wrong))
    assert made[NOISE].weights["dnsmos_bak"] < 0.02


def test_moved_weights_sum_to_one() -> None:
    made = fit_ensemble.moved("n_mos", {"n_mos": 0.4, "dnsmos_bak": 0.6}, 0.25)
    assert made == pytest.approx({"n_mos": 0.85, "dnsmos_bak": 0.15})


def test_the_grid_contains_all_weights_that_sum_to_one() -> None:
    made = fit_ensemble.grid(3)
    assert len(made) == len(set(made)) == 66
    np.testing.assert_allclose(np.sum(made, axis=1), 1.0)


def test_where_sources_know_nothing_of_each_other_the_labeller_keeps_its_least_weight() -> None:
    sources: dict[str, Array] = {"n_mos": TRUTH, "dnsmos_bak": TRUTH + 0.1 * RNG.standard_normal(60)}
    pool = Pool(sources, [(KINDS[-2],)] * 60, [])
    made = fit_ensemble.by_others("n_mos", KINDS[-2], pool.lines("n_mos"), pool)
    assert made.weights["n_mos"] == pytest.approx(fit_ensemble.LEAST_ALONE["n_mos"])
    assert made.basis == "60 clips"


def test_the_lines_restore_the_deviation_that_averaging_takes() -> None:
    sources: dict[str, Array] = {"n_mos": TRUTH, "dnsmos_bak": TRUTH + 0.8 * RNG.standard_normal(60)}
    pool = Pool(sources, [(NOISE,)] * 60, [])
    weights = {"n_mos": 0.5, "dnsmos_bak": 0.5}
    lines = fit_ensemble.spread("n_mos", pool.lines("n_mos"), weights, pool)
    mean = np.sum([0.5 * lines[key](sources[key]) for key in sources], axis=0)
    assert (np.mean(mean), np.std(mean)) == pytest.approx((np.mean(TRUTH), np.std(TRUTH)))
    assert isinstance(lines["n_mos"], Line)
