"""The shipped `mosa-net`: MOSA-Net of a training run, without its speech encoder.

    python -m research.mosa_net RUN --corpus CORPUS [--config configs/base.toml] [--out runs/mosa-net]

RUN/mosa-net.safetensors is the checkpoint of stage 1 of `mtqnet train`. Its network has a speech encoder with
4 million weights, which would exceed the size limit of the distribution. So the columns of the BLSTM that
read the encoder are removed, and the remaining network is trained on. Its labels are true PESQ, STOI and SDI of the
training clips, averaged with the scores of the complete network. S-, N- and G-MOS are not used.

Then the model is exported, its intervals are calibrated, and its figures are compared with those of the complete
network on the same clips.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from mtqnet import __version__
from mtqnet.corpus.table import read_rows
from mtqnet.targets import OBJECTIVE, named
from mtqnet.training import config as configs
from mtqnet.training import data, losses, trainer
from mtqnet.training.batches import Dataset
from mtqnet.training.config import Config, FitConfig
from mtqnet.training.data import CALIBRATION, Row, RunPaths
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Network
from mtqnet.training.pipeline import Clock, FinishedRun, Listener, TrainedModel, finish

KEYS = tuple(target.key for target in OBJECTIVE)
TEACHER_WEIGHT = 0.5
"""Weight of the complete network's scores in the labels; the others are the true values"""
LABELS = "PESQ, STOI and SDI: computed, averaged with the scores of a MOSA-Net with a speech encoder"


def checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights of the best epoch in a checkpoint of trainer.py."""
    with safe_open(path, "pt") as stored:
        names = [name for name in stored.keys() if name.startswith("best/")]  # noqa: SIM118 - not a dict
        return {name.removeprefix("best/"): stored.get_tensor(name) for name in names}


def complete(config: Config, weights: dict[str, Tensor], encoder_width: int) -> Network:
    """Return MOSA-Net with its encoder branch; heads of other scores are removed."""
    targets = tuple(key for key in (*KEYS, *config.existing_models.heads) if f"heads.{key}.score.bias" in weights)
    network = Network(replace(config.network, causes=False, distance=False), targets, encoder_width)
    network.load_state_dict(weights)
    return network.only(KEYS).eval()


def pruned(network: Network) -> Network:
    """Return the network without its encoder branch: the columns of the BLSTM that read it are removed."""
    small = Network(replace(network.config, front_ends=("logmel",)), KEYS)
    own, width = small.state_dict(), small.state_dict()["lstm.forth.weight_ih_l0"].shape[1]
    for name, weight in network.state_dict().items():
        if name in own:
            own[name] = weight[:, :width] if weight.shape != own[name].shape else weight
    small.load_state_dict(own)
    return small


def train(network: Network, sets: Sequence[Dataset], teacher: Network, fit: FitConfig, folder: Path,
          listener: Listener) -> list[trainer.Epoch]:  # fmt: skip
    """Train the pruned network in place. `sets` are training and validation clips with all views."""
    scores, labels = trainer.predict(teacher, sets[0]), {}
    for target in named(KEYS):
        truth, predicted = (target.compress(values[target.key]) for values in (sets[0].labels, scores))
        mean = (1 - TEACHER_WEIGHT) * truth + TEACHER_WEIGHT * predicted
        labels[target.key] = 10**mean if target.log else mean
    clips, validation = (Dataset(each.without("encoder").clips, each.labels) for each in sets)
    loss = losses.supervised(KEYS, configs.LossConfig())
    return trainer.fit(
        network, clips.with_labels(labels), validation, loss, fit, 1, folder / "mosa-net.safetensors",
        lambda epoch, total: listener.epoch("mosa-net", epoch, total),
    )  # fmt: skip


def ship(config: Config, rows: list[Row], paths: RunPaths, run: Path, listener: Listener) -> FinishedRun:
    """Make the model of a run's checkpoint in `paths.out/model`.

    Args:
        config: The configuration of the run.
        rows: Clips of its corpus, with the split `calibration`.
        paths: Where to read and write; `out` of the run has the stored features.
        run: Folder of the run.
        listener: Called with the progress.
    """
    front_end, of_run = FrontEnd.of_config(config), replace(paths, out=run)
    sets = [data.dataset(front_end, rows, split, of_run, listener.stage) for split in ("train", "validation")]
    teacher = complete(config, checkpoint(run / "mosa-net.safetensors"), sets[0].encoder_width)
    network = pruned(teacher)
    torch.manual_seed(1)
    history = train(network, sets, teacher, config.teacher, paths.out, listener)
    best = min(history, key=lambda epoch: epoch.validation_error)
    before = trainer.validate(teacher, sets[1])[1]
    small = replace(
        config, name="mosa-net", network=network.config, corpus=config.corpus, int8=False, tune_encoder=False,
        transfer=False, initial="", existing_models=configs.ExistingModelsConfig(),
        encoder=configs.EncoderConfig(),
    )  # fmt: skip
    about = {
        "version": __version__, "labels": LABELS, "seed": 1, "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()), "best_epochs": {"mosa-net": best.epoch},
        "teacher_lcc_validation": {key: round(before[key], 4) for key in KEYS},
        "lcc_validation": {key: round(best.lcc[key], 4) for key in KEYS},
    }  # fmt: skip
    return finish(TrainedModel(small, network, None, about), rows, paths, listener, Clock(paths.out / "time.json"))


def rows_of(corpus: Path) -> list[Row]:
    """Return the clips of a corpus; every second validation clip is for calibration."""
    rows, number = read_rows(corpus), 0
    for row in rows:
        if row["split"] == "validation":
            number += 1
            row["split"] = "validation" if number % 2 else CALIBRATION
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/base.toml"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--encoder", default="", help="encoder weights of the run, if it did not start from Whisper's"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/mosa-net"))
    options = parser.parse_args()
    config = configs.load(options.config)
    config = replace(
        config, encoder=replace(config.encoder, weights=options.encoder or config.encoder.weights),
        teacher=replace(config.teacher, epochs=options.epochs),
    )  # fmt: skip
    paths = RunPaths(Path(), options.out, options.corpus, 1)
    listener = Listener(lambda *_: None, lambda name, epoch, total: print(name, epoch, total, flush=True))
    done = ship(config, rows_of(options.corpus), paths, options.run, listener)
    for figure in done.figures:
        print(json.dumps(asdict(figure)))
    print(done.exported.model, np.max(list(done.exported.difference.values())))


if __name__ == "__main__":
    main()
