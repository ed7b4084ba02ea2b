"""Comparison before and after: errors of rated scores, changes of the others."""

from __future__ import annotations

import numpy as np
import pytest

from mtqnet.targets import TARGETS
from mtqnet.training.finetune.comparison import AFTER, BEFORE, compared

RNG_SEED = 3


def test_figures_of_rated_scores_and_change_of_the_others() -> None:
    rng = np.random.default_rng(RNG_SEED)
    before = {t.key: t.from_training(rng.uniform(-1, 1, 30)) for t in TARGETS}
    after = dict(before) | {"g_mos": before["g_mos"] + 0.5, "sdi_est": before["sdi_est"] * 10**0.3}
    truth = {"g_mos": before["g_mos"] + 0.5, "n_mos": np.full(30, np.nan)}
    found = compared(before, after, truth)
    assert [(f.target, f.split) for f in found.figures] == [("g_mos", BEFORE), ("g_mos", AFTER)]
    assert found.figures[0].rmse == pytest.approx(0.5) and found.figures[1].rmse == 0.0
    moved = {m.target: m for m in found.changes}
    assert set(moved) == {t.key for t in TARGETS} - {"g_mos"}
    assert (moved["sdi_est"].mean, moved["sdi_est"].largest) == pytest.approx((0.3, 0.3), abs=1e-3)
    assert moved["stoi_est"].mean == 0.0 and moved["stoi_est"].lcc == 1.0


def test_recordings_without_a_rating_are_ignored() -> None:
    before = {t.key: np.full(10, 3.0) if t.high == 5.0 else np.full(10, 1.0) for t in TARGETS}
    truth = {"s_mos": np.where(np.arange(10) < 4, 4.0, np.nan)}
    found = compared(before, before, truth)
    assert [f.clips for f in found.figures] == [4, 4]
    assert all(m.recordings == 10 for m in found.changes)
