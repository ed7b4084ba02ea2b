"""The examples with other libraries have the scores of this package; skipped only if the library is not installed."""

from __future__ import annotations

import importlib
import io
import math
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import mtqnet

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/integrations"
pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the other libraries


def example(name: str, monkeypatch: pytest.MonkeyPatch, *needed: str) -> Any:
    """Import an example; skip the test where a library that it needs is not installed."""
    for package in needed:
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


@pytest.fixture
def files(examples: Path) -> list[Path]:
    return [examples / "1_clean.flac", examples / "3_crowd.flac"]


@pytest.fixture
def expected(files: list[Path]) -> list[float | None]:
    predictor = mtqnet.load("small", threads=1)
    return [predictor.score(file).g_mos for file in files]


def test_hugging_face_datasets(
    files: list[Path], expected: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    dataset = example("hf_datasets", monkeypatch, "datasets").scored([str(file) for file in files])
    assert dataset["g_mos"][:] == pytest.approx(expected)
    assert dataset["error"][:] == [None, None]


def test_lhotse(files: list[Path], expected: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("lhotse_cuts", monkeypatch, "lhotse")
    from lhotse import CutSet, MonoCut, Recording

    recordings = [Recording.from_file(file) for file in files]
    cuts = CutSet.from_cuts(
        MonoCut(f"cut-{n}", start=0, duration=one.duration, channel=0, recording=one)
        for n, one in enumerate(recordings)
    )
    good = list(module.good(cuts, (expected[0] + expected[1]) / 2))
    assert [cut.id for cut in good] == ["cut-0"]
    assert good[0].custom["g_mos"] == pytest.approx(expected[0], abs=0.01)


def test_webdataset(
    files: list[Path], expected: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = example("webdataset_shards", monkeypatch, "webdataset")
    for number, file in enumerate(files):
        with tarfile.open(tmp_path / f"shard-{number}.tar", "w") as shard:
            entry = tarfile.TarInfo(f"call{number}.flac")
            entry.size = file.stat().st_size
            shard.addfile(entry, io.BytesIO(file.read_bytes()))
    scored = list(module.scores(f"{tmp_path}/shard-{{0..1}}.tar"))
    assert [key for key, _ in scored] == ["call0", "call1"]
    assert [scores.g_mos for _, scores in scored] == pytest.approx(expected)


def test_spawned_data_loader(files: list[Path], expected: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")]))
    module = example("data_loader", monkeypatch, "torch")
    ((names, scores),) = list(module.loader(files, workers=1))
    assert [Path(name) for name in names] == files
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_pipe_from_ffmpeg(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    module = example("ffmpeg_pipe", monkeypatch)
    assert module.score(str(files[0])).g_mos == pytest.approx(mtqnet.score(files[0]).g_mos, abs=0.01)
    assert module.score(str(files[0]), 1.0, 2.0).duration_s == pytest.approx(2.0, abs=0.01)


def test_mlflow(files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = example("tracking", monkeypatch, "mlflow", "pandas")
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file:{tmp_path}")
    results = mtqnet.score([str(file) for file in files])
    module.log_to_mlflow(results, "calls")
    (run,) = mlflow.search_runs(experiment_names=["speech-quality"], output_format="list")
    assert run.data.metrics == pytest.approx(results.mean())
    table = mlflow.load_table("scores.json", run_ids=[run.info.run_id])
    assert table["g_mos"].tolist() == pytest.approx([row.g_mos for row in results])


def test_wandb(files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = example("tracking", monkeypatch, "wandb", "pandas")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    module.log_to_wandb(mtqnet.score([str(file) for file in files]), "calls")
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert list(run.glob("*.wandb"))
    assert list(run.glob("files/media/table/scores_*.json"))


def test_the_action_scores_summarises_and_checks(
    files: list[Path], bad_files: dict[str, Path], tmp_path: Path
) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" for step in steps)
    command = tmp_path / "bin/mtqnet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mtqnet "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_ACTION_PATH": str(ROOT), "MODEL": "small",
    }  # fmt: skip

    def step(number: int, **inputs: str) -> int:
        bash = ["bash", "-e", "-o", "pipefail", "-c", steps[number]["run"]]
        return subprocess.run(bash, env=environment | inputs, capture_output=True, timeout=120).returncode

    assert step(1, RECORDINGS=" ".join(map(str, files))) == 0
    table = (tmp_path / "output").read_text().strip().removeprefix("table=")
    summary = (tmp_path / "summary.md").read_text()
    assert "Speech quality of 2 recordings" in summary
    worst = mtqnet.load("small").score(files[1]).g_mos
    assert worst is not None
    assert f"{worst:.2f} |" in summary.split("3_crowd.flac")[1]
    assert summary.index("3_crowd") < summary.index("1_clean"), "worst first"
    assert step(2, TABLE=table, ARGUMENTS="--min g_mos=1.0") == 0
    assert step(2, TABLE=table, ARGUMENTS=f"--min g_mos={math.ceil(worst) + 2}") == 3
    assert step(1, RECORDINGS=f"{files[0]} {bad_files['silent']}") == 1
    assert "was not scored" in (tmp_path / "summary.md").read_text()
