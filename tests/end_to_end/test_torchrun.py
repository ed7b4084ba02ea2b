"""`torchrun -m mtqnet train`: two processes train the same model as one, without random steps in the processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from command_line import call
from mtqnet.corpus.sources import Sources

CONFIG = """
name = "tiny"
seed = 3

[corpus]
speech = ["speech"]
without = ["missing"]
noise = ["noise"]
train = 6
validation = 4
test = 2
unseen = 0

[network]
front_ends = ["logmel"]
conv_channels = [4, 8]
time_strides = [4, 2]
band_strides = [4, 4]
lstm = 8
dense = 8
dropout = 0.0

[teacher]
epochs = 2
batch = 2
level_db = 0.0

[student]
epochs = 2
batch = 2
level_db = 0.0
"""


def train(processes: int, sources: Sources, folder: Path) -> Path:
    """Run the command and return the run's folder. The corpus, the slow part, is shared."""
    (folder / "tiny.toml").write_text(CONFIG)
    out = folder / f"run{processes}"
    options: list[str | Path] = ["train", folder / "tiny.toml", "--data", sources.speech[0].parent, "--out", out,
               "--corpus", folder / "corpus"]  # fmt: skip
    if processes == 1:
        done = call(*options)
    else:
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "mtqnet"]
        done = subprocess.run(
            [sys.executable, "-m", *torchrun, *map(str, options)], capture_output=True, text=True, timeout=300,
            check=False, env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Per clip, held out") == 1  # only one process prints
    return out


def losses(run: Path, network: str) -> list[float]:
    with safe_open(run / f"{network}.safetensors", "pt") as stored:
        history = json.loads(stored.metadata()["history"])
    return [epoch["train_loss"] for epoch in history]


@pytest.fixture(scope="module")
def runs(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("torchrun")
    return {processes: train(processes, sources, folder) for processes in (2, 1)}


@pytest.mark.parametrize("network", ["mosa-net", "mtq-net"])
def test_two_processes_have_the_losses_of_one(network: str, runs: dict[int, Path]) -> None:
    np.testing.assert_allclose(losses(runs[2], network), losses(runs[1], network), rtol=0, atol=1e-4)


def test_first_process_writes_one_model(runs: dict[int, Path]) -> None:
    for run in runs.values():
        assert sorted(path.name for path in (run / "model").iterdir()) == [
            "tiny.json", "tiny.md", "tiny.onnx", "tiny.safetensors"
        ]  # fmt: skip
    made = {processes: json.loads((run / "model/tiny.json").read_text()) for processes, run in runs.items()}
    assert made[1]["best_epochs"] == made[2]["best_epochs"]
