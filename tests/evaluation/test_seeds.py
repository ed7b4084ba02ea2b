"""Figures and their intervals: known correlations, paired differences, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mtqnet.evaluation import seeds as figures
from mtqnet.evaluation.seeds import Resampled
from mtqnet.evaluation.statistics import RESAMPLES
from mtqnet.targets import G_MOS, QUEST, S_MOS, SDI, Target

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def scored(clips: int, noise: float, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    rng = np.random.default_rng(seed)
    truth = {t.key: rng.uniform(1.5, 4.5, clips) for t in QUEST}
    return truth, {key: np.clip(y + noise * rng.standard_normal(clips), 1, 5) for key, y in truth.items()}


@pytest.mark.parametrize("target", [G_MOS, SDI])
def test_measures_are_those_of_scipy_on_the_targets_scale(target: Target) -> None:
    rng = np.random.default_rng(1)
    truth = target.from_training(rng.uniform(-2, 2, 50))
    score = target.from_training(rng.uniform(-2, 2, 50))
    found = figures.measure(target, truth, score)
    y, x = target.compress(truth), target.compress(score)
    assert found.lcc == pytest.approx(stats.pearsonr(y, x)[0])
    assert found.srcc == pytest.approx(stats.spearmanr(y, x)[0])
    assert found.mse == pytest.approx(np.mean((y - x) ** 2))


def test_clips_without_truth_are_left_out() -> None:
    truth, score = np.array([1.0, np.nan, 3.0, 4.0]), np.array([2.0, 5.0, 3.0, 3.5])
    kept = ~np.isnan(truth)
    assert figures.measure(G_MOS, truth, score) == figures.measure(G_MOS, truth[kept], score[kept])


def test_ratings_on_another_scale_are_not_clipped_and_have_no_error() -> None:
    rated, score = np.array([10.0, 40.0, 90.0]), np.array([1.5, 2.0, 4.0])
    found = figures.measure(G_MOS, rated, score, is_mos=False)
    assert found.lcc == pytest.approx(np.corrcoef(rated, score)[0, 1])
    assert np.isnan(found.mse)


def test_weighted_correlation_is_that_of_the_drawn_clips() -> None:
    rng = np.random.default_rng(2)
    y, x = rng.standard_normal(30), rng.standard_normal(30)
    places = rng.integers(0, 30, 30)
    counts = np.bincount(places, minlength=30)[None].astype(float)
    assert figures.weighted_lcc(counts, y, x)[0] == pytest.approx(np.corrcoef(y[places], x[places])[0, 1])


def test_interval_of_one_run_is_near_that_of_fisher() -> None:
    truth, run = scored(400, 0.8, 3)
    only = {G_MOS.key: truth[G_MOS.key]}
    found = figures.interval(figures.mean_lcc((G_MOS,), only, [run]))
    z = np.arctanh(found.mean)
    low, high = np.tanh(z - 1.96 / np.sqrt(397)), np.tanh(z + 1.96 / np.sqrt(397))
    assert found.half == pytest.approx((high - low) / 2, rel=0.25)


def test_seeds_that_differ_widen_the_interval() -> None:
    still = np.full(RESAMPLES, 0.9) + 0.001 * np.random.default_rng(1).standard_normal(RESAMPLES)
    same = figures.interval(Resampled(np.full(5, 0.9), still))
    unlike = figures.interval(Resampled(np.array([0.88, 0.89, 0.9, 0.91, 0.92]), still))
    assert unlike.half > 5 * same.half
    expected = stats.t.ppf(0.975, 4) * np.std([0.88, 0.89, 0.9, 0.91, 0.92], ddof=1) / np.sqrt(5)
    assert unlike.half == pytest.approx(expected, rel=0.05)


def test_difference_is_paired_on_the_clips() -> None:
    """Two arms with the same errors but for a little: the difference is far surer than either figure."""
    truth, run = scored(300, 0.7, 4)
    rng = np.random.default_rng(5)
    worse = {key: score + 0.3 * rng.standard_normal(300) for key, score in run.items()}
    one, other = (figures.mean_lcc(QUEST, truth, [r]) for r in (run, worse))
    less = figures.difference(one, other)
    assert less.mean == pytest.approx(one.by_seed[0] - other.by_seed[0])
    assert less.half < 0.7 * figures.interval(one).half
    assert less.low > 0 and less.p < 0.05


def test_no_difference_has_no_small_p() -> None:
    """The interval of the difference of two equal methods contains zero about as often as its level states."""
    covered = 0
    for trial in range(60):
        truth, _ = scored(150, 0.0, trial)
        rng = np.random.default_rng(1000 + trial)

        def runs(truth: dict[str, Array], rng: np.random.Generator) -> list[dict[str, Array]]:
            return [{k: y + 0.6 * rng.standard_normal(150) for k, y in truth.items()} for _ in range(5)]

        pair = [figures.mean_lcc((G_MOS,), truth, runs(truth, rng)) for _ in range(2)]
        less = figures.difference(*pair)
        covered += less.low <= 0 <= less.high
    assert covered >= 54  # 95 % of 60 is 57


def test_clips_that_a_run_does_not_score_count_for_nothing() -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(1, 5, 60)
    said = np.clip(truth + 0.5 * rng.standard_normal(60), 1, 5)
    part = np.where(np.arange(60) < 40, said, np.nan)
    assert figures.measure(S_MOS, truth, part) == figures.measure(S_MOS, truth[:40], said[:40])
    made = figures.mean_lcc([S_MOS], {"s_mos": truth}, [{"s_mos": part}])
    assert made.by_seed[0] == pytest.approx(np.corrcoef(truth[:40], said[:40])[0, 1])
    assert np.isfinite(made.by_draw).all()
    less = figures.difference(figures.mean_lcc([S_MOS], {"s_mos": truth}, [{"s_mos": said}]), made)
    assert less.low < less.mean < less.high
