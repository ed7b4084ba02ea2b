"""The shipped network trained by two processes and by one: the same loss curve.

    torchrun --nproc-per-node 2 benchmarks/scale_ddp.py WORK OUT.json

The example recordings, cut as clips.py does; labels are the scores of the shipped model. Fifty steps, an epoch
each, so that the history of a run is its loss curve. Dropout and random levels are off, because each process draws
its own: without them, the mean of the processes' losses and gradients is that of the whole batch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import clips
from figures import Figure

STEPS = 50
BATCH = 8
TRAIN, VALIDATION = 32, 4
"""Clips"""
LENGTHS_S = (1.0, 3.0)
CONFIG = Path(__file__).resolve().parents[1] / "configs/base.toml"
MOST = 1e-4
"""Difference of a loss"""


def measure(work: Path) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Figures, and both curves. Raises AssertionError where they differ."""
    one, one_s = _torchrun(1, work)
    two, two_s = _torchrun(2, work)
    apart = float(np.max(np.abs(np.subtract(one, two))))
    assert len(one) == len(two) == STEPS and apart <= MOST, f"the loss curves are {apart:g} apart"
    figures = [
        Figure("steps", STEPS, "steps"),
        Figure("loss of the first step", one[0], "Huber"),
        Figure("loss of the last step", one[-1], "Huber"),
        Figure("largest difference of a loss, two processes against one", apart, "Huber"),
        Figure("one process, features and start in", one_s, "s"),
        Figure("two processes, start in", two_s, "s"),
    ]
    rows = [
        {"step": n + 1, "one": f"{a:.9f}", "two": f"{b:.9f}"}
        for n, (a, b) in enumerate(zip(one, two, strict=True))
    ]
    return figures, rows


def _torchrun(processes: int, work: Path) -> tuple[list[float], float]:
    """The loss curve, and the seconds that it took."""
    here = Path(__file__).resolve()
    paths = [str(here.parents[1] / "src"), str(here.parent), os.environ.get("PYTHONPATH")]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), str(here)]
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = Path(folder) / "history.json"
        began = time.monotonic()
        subprocess.run(
            [sys.executable, *command, str(work), str(out)], check=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return json.loads(out.read_text()), time.monotonic() - began


def train(work: Path, checkpoint: Path) -> list[float]:
    """The loss curve of a run, as a share of the processes that there are."""
    import torch

    from mtqnet.audio.reading import Excerpt
    from mtqnet.scoring.predictor import Predictor
    from mtqnet.targets import KEYS
    from mtqnet.training import config, encoder, features, losses, trainer
    from mtqnet.training.batches import Dataset
    from mtqnet.training.model import Network

    settings = config.load(CONFIG)
    front_end = features.FrontEnd.of_config(settings)
    width = encoder.load(front_end.encoder).width if front_end.encoder else 0
    with trainer.first_alone():
        files = clips.many(work, TRAIN + VALIDATION, LENGTHS_S)
        views = features.compute(front_end, [Excerpt(file) for file in files], work / "features", "ddp", jobs=1)
    said = list(Predictor("base", 1, track=False).score_files(files))
    labels = {key: np.array([getattr(scores, key) for scores in said], dtype=np.float64) for key in KEYS}
    train_set, validation = (
        Dataset(views[part], {key: values[part] for key, values in labels.items()})
        for part in (slice(None, TRAIN), slice(TRAIN, None))
    )
    torch.manual_seed(settings.seed)
    network = Network(replace(settings.network, dropout=0.0, input_dropout=0.0), KEYS, width)
    loss = losses.supervised(KEYS, settings.teacher_loss)
    fit = config.FitConfig(epochs=STEPS, steps=1, batch=BATCH, level_db=0.0)
    history = trainer.fit(network, train_set, validation, loss, fit, settings.seed, checkpoint)
    return [epoch.train_loss for epoch in history]


if __name__ == "__main__":
    given, target = map(Path, sys.argv[1:])
    from mtqnet.training import trainer

    with trainer.started() as process:
        curve = train(given, target.with_suffix(".safetensors"))
    if process.first:
        target.write_text(json.dumps(curve))
