"""How much larger errors are for codecs and suppressors that the training does not contain.

    python -m research.left_out_tools --config configs/base.toml --corpus DIR --features DIR --out DIR [--groups 4]

The codecs and suppressors of a corpus are divided into groups. For each group a network is trained on the clips that
went through none of its tools, with the encoder frozen, and scores the clips of validation speakers that went through
one. A network that was trained on as many clips of all tools scores the same clips. The factor of a target is the
ratio of the 90 % quantiles of both absolute errors on the training scale, over all groups. It is entered in the section
[new_tools] of the configuration, or 1 if it is smaller. The encoder was trained with all tools, so the factor may be
too small.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.degradations import CODEC, KIND_OF, SUPPRESSION
from mtqnet.corpus.table import read_rows
from mtqnet.targets import KEYS, named
from mtqnet.training import config as configs
from mtqnet.training import losses, mpl, trainer
from mtqnet.training.batches import Dataset
from mtqnet.training.config import Config
from mtqnet.training.data import RunPaths, dataset
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Network

Indices = NDArray[np.int64]
Errors = dict[str, list[NDArray[np.float64]]]
QUANTILE = 0.9


def tools_of(steps: list[str]) -> set[str]:
    """Return the codecs and suppressors among the steps of a recipe."""
    return {step for step in steps if KIND_OF[step] in (CODEC, SUPPRESSION)}


def groups_of(rows: list[list[str]], count: int) -> list[set[str]]:
    """Divide the tools into groups that occur about equally often; suppressors and codecs are spread over all."""
    uses = Counter(tool for steps in rows for tool in tools_of(steps))
    groups: list[set[str]] = [set() for _ in range(count)]
    for kind in (SUPPRESSION, CODEC):
        for tool in sorted((t for t in uses if KIND_OF[t] == kind), key=lambda t: -uses[t]):
            min(groups, key=lambda group: sum(uses[t] for t in group)).add(tool)
    return groups


def errors(network: Network, data: Dataset) -> dict[str, NDArray[np.float64]]:
    """Return the absolute errors on the training scale, (clips,) by target."""
    scores = trainer.predict(network, data)
    return {
        t.key: np.abs(t.to_training(scores[t.key]) - t.to_training(data.labels[t.key])) for t in named(list(KEYS))
    }


def trained(config: Config, train: Dataset, validation: Dataset, folder: Path, name: str) -> Network:
    """Train a network on true labels alone."""

    def report(epoch: trainer.Epoch, _: int) -> None:
        print(time.strftime("%H:%M:%S"), name, epoch.epoch, f"{epoch.validation_error:.4f}", flush=True)

    network = mpl.new_network(config, KEYS, train.encoder_width, config.seed)
    trainer.fit(
        network, train, validation, losses.supervised(KEYS, config.loss), config.student, config.seed,
        folder / f"{name}.safetensors", report,
    )  # fmt: skip
    return network


def main() -> None:
    """Read the options, train, and write OUT/left_out_tools.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/base.toml"))
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a finished run's corpus")
    parser.add_argument("--features", type=Path, required=True, help="the finished run, for its features")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--clips", type=int, default=6000, help="training clips of each network")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    config = configs.load(options.config)
    config = replace(
        config, student=replace(config.student, epochs=options.epochs),
        network=replace(config.network, causes=False, distance=False),
    )  # fmt: skip
    rows = read_rows(options.corpus)
    paths = RunPaths(Path(), options.features, options.corpus, 1)
    front_end = FrontEnd.of_config(config)
    train, held_out = (
        dataset(front_end, rows, split, paths, lambda *_: None) for split in ("train", "validation")
    )
    steps = {s: [row["steps"] for row in rows if row["split"] == s] for s in ("train", "validation")}
    groups = groups_of(steps["train"], options.groups)
    choose = held_out.take(np.arange(0, len(held_out.clips), 2))
    all_tools = trained(config, train.take(np.arange(options.clips)), choose, options.out, "all")
    before: Errors = {key: [] for key in KEYS}
    after: Errors = {key: [] for key in KEYS}
    for number, group in enumerate(groups):
        without = np.flatnonzero([not tools_of(s) & group for s in steps["train"]])[: options.clips]
        network = trained(config, train.take(without), choose, options.out, f"without-{number}")
        tested = held_out.take(np.flatnonzero([bool(tools_of(s) & group) for s in steps["validation"]]))
        for found, measured in ((before, errors(all_tools, tested)), (after, errors(network, tested))):
            for key in KEYS:
                found[key].append(measured[key])
        print(
            f"group {number}: {len(without)} training clips without, {len(tested.clips)} tested: {sorted(group)}"
        )
    result: dict[str, Any] = {
        "clips": sum(len(part) for part in before["pesq_est"]),
        "groups": [sorted(g) for g in groups],
    }
    for key in KEYS:
        old, new = (np.nanquantile(np.concatenate(found[key]), QUANTILE) for found in (before, after))
        result[key] = {
            "with": round(float(old), 4),
            "left_out": round(float(new), 4),
            "factor": round(float(new / old), 3),
        }
        print(key, result[key], flush=True)
    (options.out / "left_out_tools.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
