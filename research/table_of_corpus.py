"""A table of ratings from a simulated corpus: the same clips and labels, without recipes.

    python -m research.table_of_corpus CORPUS OUT --clips 10000 [--config configs/ratings.toml] [--teacher mosa-net]

Clips are written as FLAC files, their S-, N- and G-MOS as a table with the column `part` (the split). The same
configuration is trained on the table and, without the table's reader, on the rows of the corpus. Both networks
score the test clips; their difference is reported with its interval (evaluation/seeds.py), and the peak memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.table import excerpt, read_clip, read_rows
from mtqnet.evaluation import seeds
from mtqnet.scoring import models
from mtqnet.targets import QUEST
from mtqnet.training import config as configs
from mtqnet.training import data, mpl, tables, trainer
from mtqnet.training.config import Config, RatingsConfig
from mtqnet.training.data import Row, RunPaths
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Network

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def chosen(corpus: Path, clips: int) -> list[Row]:
    """Return the first clips of each split."""
    rows = read_rows(corpus)
    return [
        row
        for split, share in SHARES.items()
        for row in [r for r in rows if r["split"] == split][: round(clips * share)]
    ]


def write(rows: list[Row], corpus: Path, folder: Path) -> Path:
    """Write clips and table; return the table's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "part", *(target.key for target in QUEST)))
        for row in rows:
            name = f"{row['id']}.flac"
            if not (folder / name).exists():
                (folder / name).parent.mkdir(exist_ok=True)  # the id is SPLIT/NUMBER
                sf.write(folder / name, read_clip(corpus, row), SAMPLE_RATE, subtype="PCM_24")
            writer.writerow((name, row["split"], *(row[target.key] for target in QUEST)))
    return path


def of_corpus(config: Config, rows: list[Row], paths: RunPaths) -> Network:
    """Train on the rows of the corpus."""
    front_end = FrontEnd.of_config(config)
    train, validation = (
        data.dataset(front_end, rows, split, paths, lambda *_: None) for split in ("train", "validation")
    )
    clips = [excerpt(paths.corpus, row) for row in rows if row["split"] == "train"]
    teacher = models.find(config.pretrained_teacher or config.pretrained)
    pseudo = mpl.pretrained_labels(teacher, clips, paths.out / "pseudo", "train", paths.jobs, lambda *_: None)
    network = mpl.initial_network(config, str(teacher.path)) if config.transfer else None
    quest = {target.key for target in QUEST}
    train, validation = (
        replace(part, labels={k: v for k, v in part.labels.items() if k in quest}, parts=None, kinds=())
        for part in (train, validation)
    )
    return mpl.MPL(config, train, validation, paths.out, None, mpl.Pretrained(pseudo, network)).run().student


def of_table(config: Config, table: Path, out: Path) -> Network:
    """Train on the table."""
    config = replace(config, ratings=RatingsConfig((str(table.absolute()),), split="part"))
    prepared = tables.prepare(config, RunPaths(Path(), out, None, 1), lambda *_: None)
    return mpl.MPL(config, prepared.train, prepared.validation, out, None, prepared.pretrained).run().student


def memory_mb() -> dict[str, int]:
    """Return the peak of the memory, and what of it is not mapped from the files of features (Linux)."""
    status = Path("/proc/self/status")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
    own = int(lines.get("RssAnon", "0").split()[0]) // 1024
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "without_features": own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--config", type=Path, default=Path("configs/ratings.toml"))
    parser.add_argument("--teacher", default="mosa-net")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only-table", action="store_true", help="for the measurement of the memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = configs.load(options.config)
    config = replace(config, pretrained=options.teacher, student=replace(config.student, epochs=options.epochs))
    rows = chosen(options.corpus, options.clips)
    table = write(rows, options.corpus, options.out / "clips")
    before = memory_mb()
    networks = {"table": of_table(config, table, options.out / "table")}
    print(json.dumps({"clips": len(rows), "mb_before": before, "mb": memory_mb()}), flush=True)
    if options.only_table:
        return
    paths = RunPaths(Path(), options.out / "corpus", options.corpus, 1)
    networks["corpus"] = of_corpus(config, rows, paths)
    test = data.dataset(FrontEnd.of_config(config), rows, "test", paths, lambda *_: None)
    scores = {name: trainer.predict(network, test) for name, network in networks.items()}
    for target in QUEST:
        truth = {target.key: test.labels[target.key]}
        found = {name: seeds.mean_lcc((target,), truth, [each]) for name, each in scores.items()}
        less = seeds.difference(found["table"], found["corpus"])
        lcc = {name: round(float(np.mean(each.by_seed)), 4) for name, each in found.items()}
        print(json.dumps({"target": target.key, "lcc": lcc, "difference": vars(less)}), flush=True)


if __name__ == "__main__":
    main()
