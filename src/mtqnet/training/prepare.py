"""What every training begins with: a corpus, and the features of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtqnet.bars import Stage
from mtqnet.corpus import build as corpus
from mtqnet.corpus.pool import Sources
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import excerpt
from mtqnet.targets import KEYS
from mtqnet.training import frontend
from mtqnet.training.config import CorpusConfig
from mtqnet.training.dataset import Dataset, labels_of


def build_corpus(config: CorpusConfig, data: Path, out: Path, stage: Stage, jobs: int = 0) -> Path:
    """The corpus of a configuration; its table."""
    sources = Sources(
        tuple(data / folder for folder in config.speech),
        tuple(data / folder for folder in config.noise),
        tuple(data / folder for folder in config.rooms),
    )
    clips = {split: getattr(config, split) for split in SPLITS}
    order = corpus.Order(sources, clips, config.seed, config.split_seed)
    return corpus.build(order, out, jobs=jobs, progress=lambda a, b: stage("corpus", a, b)).table


def dataset(
    front_end: frontend.FrontEnd, rows: Sequence[dict[str, Any]], split: str, out: Path, stage: Stage, jobs: int
) -> Dataset:
    """Features and true labels of a split, kept in `out`."""
    of_split = [row for row in rows if row["split"] == split]
    sources = [excerpt(out / "corpus", row) for row in of_split]
    clips = frontend.compute(
        front_end, sources, out / "features", split, lambda a, b: stage(f"features, {split}", a, b), jobs
    )
    return Dataset(clips, labels_of(of_split, KEYS))
