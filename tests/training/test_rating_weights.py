"""Weights of ratings depend on their votes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from mtqnet.errors import UsageError
from mtqnet.evaluation import ratings
from mtqnet.training import ratings as tuning
from mtqnet.training.ratings import Rated, rated

Write = Callable[[Path, Sequence[Mapping[str, object]]], Path]


def read(write: Write, folder: Path, rows: Sequence[Mapping[str, object]], by: str = "") -> Rated:
    table = ratings.read(write(folder / "labels.csv", rows))
    return rated(table, folder, by)


def test_more_votes_have_more_weight_and_empty_cells_are_no_rating(write: Write, tmp_path: Path) -> None:
    rows = [
        {"file": f"{n}.wav", "g_mos": g, "votes": n} for n, g in ((2, 3), (8, 3), (32, ""), (512, 4), (5120, 2))
    ]
    found = read(write, tmp_path, rows)
    assert np.isnan(found.labels["g_mos"]).tolist() == [False, False, True, False, False]
    weights = found.weights["g_mos"]
    assert weights[0] < weights[1] < weights[3] < weights[4]
    assert weights[[0, 1, 3, 4]].mean() == pytest.approx(1.0)
    assert weights[4] < 1.01 * weights[3]  # more votes do not help beyond the error of the model
    assert "votes" in found.weighting


def test_equal_votes_have_more_weight_but_a_limited_one(write: Write, tmp_path: Path) -> None:
    rows = [{"file": f"{s}.wav", "sig_mos": 3, "sig_std": s, "n_votes": 3} for s in (0.0, 0.8, 1.6)]
    weights = read(write, tmp_path, rows).weights["s_mos"]
    assert weights[0] > weights[1] > weights[2]
    assert weights[0] < 2 * weights[2]


def test_confidence_intervals_are_used_without_votes(write: Write, tmp_path: Path) -> None:
    rows = [{"file": f"{c}.wav", "bak_mos": 3, "bak_ci95": c} for c in (0.2, 1.0)]
    found = read(write, tmp_path, rows)
    error = np.array([0.2, 1.0]) / 1.96
    raw = tuning.TAU**2 / (tuning.TAU**2 + error**2)
    np.testing.assert_allclose(found.weights["n_mos"], raw / raw.mean())
    assert "95 % intervals" in found.weighting


def test_without_votes_and_intervals_all_weights_are_one(write: Write, tmp_path: Path) -> None:
    found = read(write, tmp_path, [{"file": f"{n}.wav", "g_mos": 3, "sdi": 0.1} for n in range(3)])
    assert all(weights.tolist() == [1.0] * 3 for weights in found.weights.values())
    assert "the same weight" in found.weighting


def test_rating_with_unknown_error_has_the_median_weight(write: Write, tmp_path: Path) -> None:
    rows = [{"file": f"{n}.wav", "g_mos": 3, "votes": n} for n in (2, 8, 32)] + [{"file": "x.wav", "g_mos": 3}]
    weights = read(write, tmp_path, rows).weights["g_mos"]
    assert weights[3] == pytest.approx(weights[1])


def test_groups_are_those_of_the_column_or_single_recordings(write: Write, tmp_path: Path) -> None:
    rows = [{"file": f"{n}.wav", "g_mos": 3, "talker": f"t{n % 2}"} for n in range(4)]
    assert read(write, tmp_path, rows, "talker").groups == ("t0", "t1", "t0", "t1")
    assert read(write, tmp_path, rows).groups == ("0.wav", "1.wav", "2.wav", "3.wav"), "wherever the table lies"
    rows[2]["talker"] = ""
    with pytest.raises(UsageError, match="row 3: the column 'talker' is empty"):
        read(write, tmp_path, rows, "talker")


@pytest.mark.parametrize(("column", "values"), [("mushra", (20, 80)), ("stoi", (91, 55)), ("pesq", (0.1, 0.2))])
def test_other_scales_are_refused(column: str, values: tuple[float, ...], write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(not on|outside) the scale"):
        read(write, tmp_path, [{"file": f"{v}.wav", column: v} for v in values])


def test_recordings_with_a_rating_of_the_requested_scores(write: Write, tmp_path: Path) -> None:
    rows = [{"file": f"{n}.wav", "g_mos": g, "s_mos": s} for n, (g, s) in enumerate([(3, ""), ("", 4), ("", "")])]
    found = read(write, tmp_path, rows)
    assert found.with_any(["g_mos"]) == [0]
    assert found.with_any(["g_mos", "s_mos"]) == [0, 1]


def test_selected_recordings_keep_labels_weights_and_groups(write: Write, tmp_path: Path) -> None:
    rows = [{"file": f"{n}.wav", "g_mos": 1 + n, "votes": n + 1, "talker": n} for n in range(4)]
    whole = read(write, tmp_path, rows, "talker")
    part = whole.take([3, 1])
    assert part.names == ("3.wav", "1.wav") and part.groups == ("3", "1")
    assert part.labels["g_mos"].tolist() == [4.0, 2.0]
    assert part.weights["g_mos"].tolist() == whole.weights["g_mos"][[3, 1]].tolist()
