"""The shipped `mosa-net`: MOSA-Net with the speech encoder of the shipped `base`.

    python -m research.mosa_net RUN [--data ../shared/data] [--config configs/base.toml] [--out runs/mosa-net]

RUN is the folder of `mtqnet train configs/base.toml`. MOSA-Net of that training has the encoder as it was before the
joint training with MTQ-Net. To keep the distribution small, the shipped MOSA-Net uses the encoder of `base` instead,
whose weights exist once (`encoder_in` in the record). The encoder is frozen, and the network is trained on true PESQ,
STOI and SDI of the clips of RUN/corpus. S-, N- and G-MOS labels are not used, but the encoder was trained with them.

The result, OUT/model/mosa-net.{onnx,safetensors,json}, is copied into src/mtqnet/weights.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from mtqnet.targets import OBJECTIVE
from mtqnet.training import config as configs
from mtqnet.training import data, encoder, mpl
from mtqnet.training.config import MOSA_NET, Config, ExistingModelsConfig
from mtqnet.training.data import Clock, RunPaths
from mtqnet.training.features import FrontEnd
from mtqnet.training.pipeline import FinishedRun, Listener, TrainedModel, finish

LABELS = "PESQ, STOI and SDI: computed with the clean reference"


def configuration(base: Config, weights: Path) -> Config:
    """Return the configuration of MOSA-Net for that of `base` and the file with its encoder."""
    return replace(
        base, name=MOSA_NET, encoder=replace(base.encoder, weights=str(weights)), tune_encoder=False,
        existing_models=ExistingModelsConfig(), network=replace(base.network, causes=False, distance=False),
    )  # fmt: skip


def train(base: Config, run: Path, paths: RunPaths, listener: Listener) -> FinishedRun:
    """Train and export MOSA-Net.

    Args:
        base: Configuration of the run.
        run: Folder of the run.
        paths: Where to read and write; the corpus is that of the run.
        listener: Called with the progress.
    """
    config = configuration(base, run / "model" / f"{base.name}.safetensors")
    rows = data.corpus_rows(config, paths, listener.stage)
    front_end = FrontEnd.of_config(config)
    clips, validation = (
        data.dataset(front_end, rows, split, paths, listener.stage) for split in ("train", "validation")
    )
    network, history = mpl.MPL(config, clips, validation, paths.out, listener.epoch).train_teacher()
    best = min(history, key=lambda epoch: epoch.validation_error)
    about = {
        "labels": LABELS, "best_epochs": {"teacher": best.epoch},
        "teacher_lcc_validation": {target.key: round(best.lcc[target.key], 4) for target in OBJECTIVE},
    }  # fmt: skip
    model = TrainedModel(config, network, encoder.load(config.encoder), about, base.name)
    return finish(model, rows, paths, listener, Clock(paths.out / "time.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--config", type=Path, default=Path("configs/base.toml"))
    parser.add_argument("--out", type=Path, default=Path("runs/mosa-net"))
    parser.add_argument("--jobs", type=int, default=0)
    options = parser.parse_args()
    paths = RunPaths(options.data, options.out, options.run / "corpus", options.jobs)
    listener = Listener(lambda *_: None, lambda name, epoch, total: print(name, epoch, total, flush=True))
    done = train(configs.load(options.config), options.run, paths, listener)
    for figure in done.figures:
        print(json.dumps(asdict(figure)))


if __name__ == "__main__":
    main()
