"""The end of a training, and the time of each stage, summed over all calls of a resumed run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import QUEST
from mtqnet.training.data import Clock, RunPaths
from mtqnet.training.pipeline import SILENT, TrainedModel, finish


def test_time_of_two_calls_is_summed_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0, 90.0, 1000.0, 1030.0])
    monkeypatch.setattr("mtqnet.training.data.time.monotonic", lambda: next(now))
    first = Clock(tmp_path / "run/time.json")
    first.tick("corpus")
    first.tick("features")
    again = Clock(tmp_path / "run/time.json")
    again.tick("features")
    assert again.seconds == {"corpus": 60.0, "features": 60.0}
    assert again.minutes() == {"corpus": 1.0, "features": 1.0}


def test_model_trained_without_mpl_is_exported_and_evaluated_with_three_scores(
    tmp_path: Path, voice: Callable[..., NDArray[np.float32]]
) -> None:
    rows = []
    for number in range(4):
        sf.write(tmp_path / f"{number}.wav", voice(1.0, seed=number), SAMPLE_RATE)
        labels = {"s_mos": 2.0 + number / 2, "n_mos": 3.0, "g_mos": 4.0 - number / 2}
        rows.append({"id": str(number), "file": f"{number}.wav", "split": "test", "steps": ["Opus"], **labels})
    targets = tuple(target.key for target in QUEST)
    model = TrainedModel(tiny.config(tiny.PLAIN), tiny.network(tiny.PLAIN, targets), None, {"labels": "none"})
    paths = RunPaths(tmp_path, tmp_path / "run", tmp_path)
    finished = finish(model, rows, paths, SILENT, Clock(tmp_path / "run/time.json"))
    assert [(figure.target, figure.clips) for figure in finished.figures] == [(key, 4) for key in targets]
    scores = Predictor(finished.exported.model).score(tmp_path / "0.wav").raise_for_error()
    assert scores.g_mos is not None and scores.pesq_est is None
    record = json.loads(finished.exported.record.read_text())
    assert record["kinds"] == [] and len(record["failures"]) == 3 * 3
