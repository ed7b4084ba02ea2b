"""Figures and intervals after fine-tuning: intervals are never narrower without enough test ratings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtqnet.scoring.intervals import Band, Intervals
from mtqnet.targets import KEYS, TARGETS
from mtqnet.training.evaluation import ENOUGH, Array, tuned_intervals
from mtqnet.training.finetune import AFTER, BEFORE, compared

TERMS = 1 + 6 + 21
PARENT = Intervals(0.9, {key: Band((0.0,) * TERMS, 0.0, 0.0, 0.5) for key in KEYS})
"""Half a point to either side, independent of the scores"""


def said(count: int, place: float = 0.0) -> dict[str, Array]:
    """The same scores for all, at this place of the training scale."""
    return {target.key: target.from_training(np.full(count, place)) for target in TARGETS}


def missed(count: int, seed: int) -> Array:
    """Ratings of G-MOS 3 that miss it by up to 1.5."""
    return 3.0 + np.random.default_rng(seed).uniform(-1.5, 1.5, count)


def test_coverage_of_recalibrated_intervals_on_other_recordings() -> None:
    made = tuned_intervals(PARENT, said(200), said(200), {"g_mos": missed(200, 0)})
    assert made.intervals is not None
    low, high = made.intervals.ends(said(5_000))
    fresh = missed(5_000, 1)
    assert np.mean((fresh >= low["g_mos"]) & (fresh <= high["g_mos"])) == pytest.approx(0.9, abs=0.05)
    assert made.messages["g_mos"] == "re-calibrated on 200 held-out recordings"


def test_accurate_model_has_narrower_intervals_with_enough_ratings() -> None:
    made = tuned_intervals(PARENT, said(50), said(50), {"g_mos": np.full(50, 3.01)})
    assert made.intervals is not None
    assert made.intervals.bands["g_mos"].factor == pytest.approx(0.01, rel=1e-6)


def test_few_ratings_widen_and_never_narrow() -> None:
    few = ENOUGH - 1
    for miss, factor in ((0.1, 0.5), (1.2, 1.2)):
        truth = np.full(few, 3.0)
        truth[0] += miss
        made = tuned_intervals(PARENT, said(few), said(few), {"g_mos": truth})
        assert made.intervals is not None
        assert made.intervals.bands["g_mos"].factor == pytest.approx(factor)
        assert made.messages["g_mos"].startswith("widened by")


def test_intervals_without_ratings_widen_by_the_change_of_scores() -> None:
    made = tuned_intervals(PARENT, said(30), said(30, 0.2), {"g_mos": missed(30, 0)})
    assert made.intervals is not None
    assert made.intervals.bands["stoi_est"].factor == pytest.approx(0.7)
    assert made.messages["stoi_est"] == "widened by 40%: its scores changed"
    still = tuned_intervals(PARENT, said(30), said(30), {"g_mos": missed(30, 0)})
    assert still.intervals is not None and still.intervals.bands["stoi_est"].factor == 0.5


def test_new_intervals_need_ratings_of_all_scores() -> None:
    none = tuned_intervals(None, said(60), said(60), {"g_mos": missed(60, 0)})
    assert none.intervals is None and "the original model has none" in none.messages["all"]
    rng = np.random.default_rng(0)
    spread = {t.key: t.from_training(rng.uniform(-1.5, 1.5, 60)) for t in TARGETS}
    truth = {t.key: t.from_training(t.to_training(spread[t.key]) + rng.normal(0, 0.2, 60)) for t in TARGETS}
    made = tuned_intervals(None, spread, spread, truth)
    assert made.intervals is not None and set(made.intervals.bands) == set(KEYS)


def test_shape_of_the_original_intervals_is_kept() -> None:
    shape = (0.3, *(0.1,) * (TERMS - 1))
    parent = Intervals(
        0.9, {key: replace(PARENT.bands[key], weights=shape, lowest=-1.0, highest=1.0) for key in KEYS}
    )
    made = tuned_intervals(parent, said(40), said(40), {"g_mos": missed(40, 0)})
    assert made.intervals is not None
    assert all(band.weights == shape for band in made.intervals.bands.values())


def test_figures_of_rated_scores_and_change_of_the_others() -> None:
    rng = np.random.default_rng(3)
    before = {t.key: t.from_training(rng.uniform(-1, 1, 30)) for t in TARGETS}
    after = dict(before) | {"g_mos": before["g_mos"] + 0.5, "sdi_est": before["sdi_est"] * 10**0.3}
    truth = {"g_mos": before["g_mos"] + 0.5, "n_mos": np.full(30, np.nan)}
    figures, changes = compared(before, after, truth)
    assert [(f.target, f.split) for f in figures] == [("g_mos", BEFORE), ("g_mos", AFTER)]
    assert figures[0].rmse == pytest.approx(0.5) and figures[1].rmse == 0.0
    moved = {m.target: m for m in changes}
    assert set(moved) == {t.key for t in TARGETS} - {"g_mos"}
    assert (moved["sdi_est"].mean, moved["sdi_est"].largest) == pytest.approx((0.3, 0.3), abs=1e-3)
    assert moved["stoi_est"].mean == 0.0 and moved["stoi_est"].lcc == 1.0


def test_recordings_without_a_rating_are_ignored() -> None:
    before = {t.key: np.full(10, 3.0) if t.high == 5.0 else np.full(10, 1.0) for t in TARGETS}
    truth = {"s_mos": np.where(np.arange(10) < 4, 4.0, np.nan)}
    figures, changes = compared(before, before, truth)
    assert [f.clips for f in figures] == [4, 4]
    assert all(m.recordings == 10 for m in changes)
