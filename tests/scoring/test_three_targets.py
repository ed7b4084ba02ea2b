"""A model that predicts PESQ, STOI and SDI alone, such as `mosa-net`: empty cells, and no other commands break."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

import mtqnet
import tiny_model
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.cli.app import app
from mtqnet.evaluation import plots
from mtqnet.evaluation.recordings import read
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.tables import cells
from mtqnet.targets import KEYS, OBJECTIVE
from mtqnet.training.export import export, load_weights

THREE = tuple(target.key for target in OBJECTIVE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    opened = load_weights(tiny_model.write(folder / "six"))
    torch.manual_seed(0)
    export(opened.network.only(THREE), None, "three", folder / "three", {"licence": "MIT", "config": {}})
    return folder / "three"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., NDArray[np.float32]]) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    for number in range(3):
        sf.write(folder / f"{number}.wav", voice(4.0, level_db=-40 + 8 * number, seed=number), SAMPLE_RATE)
    return folder


def test_scores_without_mos_are_none_and_empty_cells(model: Path, calls: Path) -> None:
    scores = Predictor(model).score(calls / "0.wav").raise_for_error()
    assert scores.g_mos is None and scores.pesq_est is not None
    row = cells(scores)
    assert [row[key] for key in KEYS[:3]] == [None] * 3 and row["sdi_est"] is not None
    assert "MOS" not in str(scores).replace("MOS-LQO", "") and "PESQ" in str(scores)


def test_over_time_has_the_three_scores_and_no_worst_stretch(model: Path, calls: Path) -> None:
    track = mtqnet.over_time(calls / "1.wav", model=model)
    assert track.targets == THREE and plots.worst_stretch(track) is None


def test_table_is_written_and_compared(model: Path, calls: Path, tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    done = CliRunner().invoke(app, ["score", str(calls), "--model", str(model), "-o", str(table), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 and {row["g_mos"] for row in rows} == {""} and all(row["stoi_est"] for row in rows)
    assert read(table).keys == THREE


def test_service_and_page_offer_models_with_all_scores_by_default(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtqnet.serving.settings import Settings

    monkeypatch.setattr(models, "WEIGHTS", model)
    assert models.shipped() == ("three",) and models.complete() == ()
    assert list(Settings.model_validate({"models": [str(model)], "database": ""}).records()) == ["three"]
