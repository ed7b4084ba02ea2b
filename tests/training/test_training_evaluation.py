"""Figures of scores against labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mtqnet.causes import CAUSE_KEYS
from mtqnet.errors import ModelError
from mtqnet.targets import PESQ, S_MOS, SDI, TARGETS
from mtqnet.training import evaluation


def test_perfect_scores_have_perfect_figures() -> None:
    truth = np.array([1.2, 2.0, 3.3, 4.4])
    found = evaluation.compare("test", S_MOS, truth, truth)
    assert (found.clips, found.lcc, found.srcc, found.rmse) == (4, 1.0, 1.0, 0.0)


def test_figures_are_pearson_spearman_and_rmse() -> None:
    truth, score = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.1, 1.2, 4.0])
    found = evaluation.compare("test", PESQ, truth, score)
    assert found.lcc == pytest.approx(np.corrcoef(truth, score)[0, 1], abs=1e-4)
    assert found.srcc == 1.0, "the order is right"
    assert found.rmse == pytest.approx(np.sqrt((0.9**2 + 1.8**2) / 4), abs=1e-4)


def test_sdi_is_compared_by_its_logarithm() -> None:
    truth = np.array([0.001, 0.01, 0.1, 1.0])
    found = evaluation.compare("test", SDI, truth, 10 * truth)
    assert found.lcc == 1.0 and found.rmse == 1.0


def test_clips_without_label_are_left_out() -> None:
    truth = np.array([1.0, np.nan, 3.0, 4.0])
    found = evaluation.compare("test", S_MOS, truth, np.array([1.0, 5.0, 3.0, 4.0]))
    assert found.clips == 3 and found.rmse == 0.0


def test_every_split_and_target_has_a_row(toy_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        sf.write(tmp_path / f"{number}.wav", 10 ** (-number / 16) / 500 * rng.standard_normal(16_000), 16_000)
        labels = {target.label: str(target.from_training(np.array(number / 2 - 2))) for target in TARGETS}
        rows.append({"file": f"{number}.wav", "split": "validation" if number % 2 else "test", **labels})
    found = evaluation.figures(rows, evaluation.predict(toy_model, rows, tmp_path).scores)
    assert [(f.split, f.target) for f in found] == [(s, t.key) for s in ("test", "validation") for t in TARGETS]
    assert all(f.clips == 4 for f in found)
    assert found[0].srcc == -1.0, "the softer, the lower; the labels rise"


def test_a_clip_that_is_refused_costs_no_other(toy_model: Path, tmp_path: Path) -> None:
    """One mixed clip in 36,000 is too quiet: after hours of training no reason to end without figures."""
    rows = []
    for number in range(4):
        noise = np.random.default_rng(number).standard_normal(16_000) / 100
        sf.write(tmp_path / f"{number}.wav", noise if number else 0 * noise, 16_000)
        labels = {target.label: str(2.0 + number / 2) for target in TARGETS}
        rows.append({"id": str(number), "file": f"{number}.wav", "split": "test", "steps": [], **labels})
    said = evaluation.predict(toy_model, rows, tmp_path).scores
    assert np.isnan(said["s_mos"]).tolist() == [True, False, False, False]
    assert {figure.clips for figure in evaluation.figures(rows, said)} == {3}
    assert "0" not in {failure["clip"] for failure in evaluation.failures(rows, said)}
    with pytest.raises(ModelError, match="none of the 1 held-out clips"):
        evaluation.predict(toy_model, rows[:1], tmp_path)


def test_clip_that_cannot_be_read_is_named(toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.wav"):
        evaluation.predict(toy_model, [{"file": "gone.wav", "split": "test"}], tmp_path)


def test_correlation_with_a_constant_is_not_defined_and_not_an_error() -> None:
    found = evaluation.compare("test", S_MOS, np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]))
    assert np.isnan(found.lcc) and np.isnan(found.srcc)
    assert found.rmse > 0


def test_area_under_the_curve_counts_ordered_pairs() -> None:
    truth, score = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.9])
    assert evaluation.auc(truth, score) == pytest.approx(3.5 / 4)
    assert np.isnan(evaluation.auc(np.ones(3), np.arange(3.0)))


def test_causes_of_spliced_clips_are_those_of_either_part() -> None:
    splice = {"step": "Splice", "start_s": 0, "end_s": 1, "kind": "degraded", "steps": [{"step": "Clipping"}]}
    rows = [
        {"recipe": json.dumps({"steps": steps}), "equivalent_snr_db": 60.0, "split": "test"}
        for steps in ([splice], [{"step": "G711"}])
    ]
    found = evaluation.present(rows)
    clipping, coding = CAUSE_KEYS.index("clipping"), CAUSE_KEYS.index("coding")
    assert found[:, clipping].tolist() == [1, 0] and found[:, coding].tolist() == [0, 1]
    figures = evaluation.cause_figures(rows, found)
    assert {figure["cause"]: figure["auc"] for figure in figures}["clipping"] == 1.0
