"""What each process of test_parallel.py does: torchrun starts it, or the test calls `train`.

torchrun --nproc-per-node 2 one_of_several.py FOLDER [KILL_AFTER]
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import tiny

from mtqnet.targets import KEYS
from mtqnet.training import loop, parallel
from mtqnet.training.config import FitConfig, MachineConfig
from mtqnet.training.dataset import Dataset
from mtqnet.training.losses import multi_task

STEPS = 50
FIT = FitConfig(epochs=STEPS, steps=1, batch=7, learning_rate=1e-2, level_db=6.0, average=0.9, frozen_epochs=5)
"""An epoch a step, so that its history is the loss curve; 7 clips are no multiple of 2 or 3"""
NETWORK = replace(tiny.CHANNEL, dropout=0.25, input_dropout=0.2)
LOSS = partial(multi_task, targets=KEYS, config=replace(tiny.config().loss, pseudo_fade=True))


def partly_labelled(clips: int, seed: int) -> Dataset:
    """Half of the clips have no S, N or G labels, some lack another: each share has other counts."""
    data = tiny.dataset(NETWORK, clips, seed)
    hidden = {key: np.where(np.arange(clips) % 2, data.labels[key], np.nan) for key in ("s_mos", "n_mos", "g_mos")}
    hidden["pesq_est"] = np.where(np.arange(clips) % 5, data.labels["pesq_est"], np.nan)
    return data.with_labels(hidden)


def train(
    folder: Path, kill_after: int = STEPS, machine: MachineConfig = loop.PLAIN, fit: FitConfig = FIT
) -> list[loop.Epoch]:
    """Train the tiny network in `folder`, as a share of the processes that there are."""
    network = tiny.network(NETWORK)

    def report(epoch: loop.Epoch, _epochs: int) -> None:
        if epoch.epoch == kill_after < STEPS:
            raise SystemExit("killed")

    return loop.fit(
        network, partly_labelled(30, 1), partly_labelled(33, 2), LOSS, fit, 7, folder / "net.safetensors", report,
        machine,
    )  # fmt: skip


if __name__ == "__main__":
    with parallel.started() as share:
        history = train(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)
    if share.first:
        (Path(sys.argv[1]) / "history.json").write_text(json.dumps([vars(epoch) for epoch in history]))
