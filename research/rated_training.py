"""docs/results/ratings.md: the methods of the paper with ratings of listeners.

    python -m research.rated_training --data ../shared/data --out runs/rated [--unlabelled FOLDER] [--seeds 5]

The recordings are those of CSP835 and NOIZEUS, 126 together. A group is a speaker of CSP835 or an item (two sentences
of one speaker) of NOIZEUS; each group is held out once. `mtqnet train --compare` does the same with any table.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mtqnet.evaluation import seeds
from mtqnet.targets import QUEST
from mtqnet.training import config as configs
from mtqnet.training import methods
from mtqnet.training.config import RatingsConfig
from mtqnet.training.data import RunPaths
from mtqnet.training.tuning import TuneConfig

SETS = {
    "p835_csp835_refconditions": ("labels.csv", "speaker", "{}_mos", "n_votes"),
    "p835_noizeus_refconditions_8k": ("labels_per_condition.csv", "item", "{}_mos_condition", "n_votes_condition"),
}
"""Folder -> table, column of the group, pattern of the columns of ratings, column of the votes"""
SCALES = {"s_mos": "sig", "n_mos": "bak", "g_mos": "ovrl"}
TUNE = TuneConfig(epochs=8, frozen_epochs=4)
"""At most 8 epochs, so that the choice of their number takes minutes"""
PAGE = """# MPL with ratings of listeners

The paper's first experiment with human labels: ratings by ITU-T P.835 of CSP835 (78 recordings of three speakers, each
rated on its own) and NOIZEUS (48 recordings, 8 kHz; the ratings are those of a condition, so that recordings of one
condition have equal labels). They are the only labels of S-, N- and G-MOS in training, except for fine-tuning, that
starts from `base`. `base` and the labeller were developed with figures of these sets, so that its row is too
optimistic. The encoder of all networks is that of `base`, which was trained with S-, N- and G-MOS labels that are
anchored on CSP835; the figures of all methods are too optimistic for that reason, their differences less so. MOSA-Net
is `mosa-net`.

{table}

![LCC by method](ratings.svg)

## Is the paper's claim confirmed?

{claim}

Written by `python -m research.rated_training`; figures: [ratings.csv](ratings.csv). {minutes:.0f} minutes on two
cores with other load. Networks: {config}, {epochs} epochs; the epoch is chosen on other groups of the training data.
"""


def table(data: Path, path: Path) -> Path:
    """Write one table of both sets and return its path."""
    rows = []
    for folder, (name, group, pattern, votes) in SETS.items():
        with (data / folder / name).open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                found = {"file": (data / folder / row["file"]).resolve(), "group": row[group], "votes": row[votes]}
                for key, scale in SCALES.items():
                    found |= {key: row[pattern.format(scale)], f"{key}_std": row[f"{scale}_std"]}
                rows.append(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def claim(result: methods.Comparison) -> str:
    """Describe the differences of the mean over the scores in words."""
    lines = {line.method: line for line in result.rows if line.target == methods.MEAN}
    sentences = []
    for method, line in lines.items():
        if line.less is None:
            continue
        name, less = methods.METHODS[method].partition(":")[0], line.less
        verdict = (
            "is better than"
            if less.low > 0
            else "is worse than"
            if less.high < 0
            else "cannot be distinguished from"
        )
        sentences.append(
            f"{name[0].upper()}{name[1:]} {verdict} training from scratch: {less.mean:+.3f} "
            f"[{less.low:+.3f}, {less.high:+.3f}] LCC, mean over S-, N- and G-MOS."
        )
    return " ".join(sentences)


def gaps(table_path: Path, scores: Path, count: int) -> str:
    """Return paired differences between MPL, with and without unlabelled recordings, and knowledge transfer.

    Args:
        table_path: The table of ratings.
        scores: Folder with the scores of each method and seed.
        count: Number of seeds.
    """
    with table_path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    truth = {target.key: np.array([float(row[target.key]) for row in rows]) for target in QUEST}
    found = {}
    for method in ("transfer", "mpl", "mpl_unlabelled"):
        paths = [scores / f"{method}-{seed}.npz" for seed in range(1, count + 1)]
        if all(path.exists() for path in paths):
            found[method] = seeds.mean_lcc(QUEST, truth, [dict(np.load(path)) for path in paths])
    names = {key: methods.METHODS[key].partition(":")[0] for key in found}
    sentences = []
    for first, second in itertools.combinations(reversed(found), 2):
        less = seeds.difference(found[first], found[second])
        sentences.append(
            f"{names[first]} less {names[second]}: {less.mean:+.3f} [{less.low:+.3f}, {less.high:+.3f}], "
            f"p = {less.p:.3f}."
        )
    return " ".join(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/rated"))
    parser.add_argument("--config", type=Path, default=Path("configs/ratings.toml"))
    parser.add_argument("--teacher", default="")
    parser.add_argument("--unlabelled", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=0, help="of the student; 0: those of the configuration")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    config = configs.load(options.config)
    ratings = RatingsConfig(
        (str(table(options.data, options.out / "rated.csv").absolute()),), by="group",
        unlabelled=tuple(str(path.absolute()) for path in options.unlabelled),
    )  # fmt: skip
    student = replace(config.student, epochs=options.epochs or config.student.epochs)
    config = replace(config, ratings=ratings, student=student, pretrained=options.teacher)

    def stage(name: str, done: int, total: int) -> None:
        if done == total or total < 20:
            print(time.strftime("%H:%M:%S"), name, done, total, flush=True)

    result = methods.compare(
        config, RunPaths(Path(), options.out, None, 1), options.seeds, stage, tune=TUNE
    )  # fmt: skip
    folder = result.page.parent
    for suffix in ("csv", "svg"):
        shutil.copyfile(folder / f"comparison.{suffix}", options.output / f"ratings.{suffix}")
    network = f"{', '.join(config.network.front_ends)}, {config.network.lstm} LSTM units per direction"
    (options.output / "ratings.md").write_text(
        PAGE.format(
            table=result.page.read_text().strip(),
            claim=f"{claim(result)} {gaps(options.out / 'rated.csv', options.out / 'scores', options.seeds)}",
            minutes=(time.monotonic() - started) / 60,
            config=network,
            epochs=student.epochs,
        )
    )
    print(", ".join(target.name for target in QUEST), result.page)


if __name__ == "__main__":
    main()
