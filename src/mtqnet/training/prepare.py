"""What every training begins with: a corpus, the features of its clips, and what peers say of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet.audio.reading import Excerpt
from mtqnet.cli.bars import Stage
from mtqnet.corpus import build as corpus
from mtqnet.corpus import ensemble, peers
from mtqnet.corpus.degradations.weights import VARIABLE
from mtqnet.corpus.pool import Sources
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import TABLE, excerpt, read_rows
from mtqnet.targets import KEYS
from mtqnet.training import frontend, parallel
from mtqnet.training.config import Config, CorpusConfig, PeersConfig
from mtqnet.training.dataset import Dataset, Labels, labels_of, weights_of


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes, and with how many processes."""

    data: Path
    """What a configuration's folders are relative to"""
    out: Path
    """The run's own folder"""
    shared_corpus: Path | None = None
    """Another run's corpus of the same configuration; None: the run builds its own"""
    jobs: int = 0
    """0: one a core"""

    @property
    def corpus(self) -> Path:
        return self.shared_corpus or self.out / "corpus"


def build_corpus(config: CorpusConfig, place: Place, stage: Stage) -> Path:
    """The corpus of a configuration; its table. Raises CorpusError if the place holds another.

    Of several processes the first builds it (parallel.first_alone).
    """
    if not parallel.here().first:
        return place.corpus / TABLE
    if config.weights:
        os.environ[VARIABLE] = str((place.data / config.weights).resolve())  # read by the processes of the build
    sources = Sources(
        tuple(place.data / folder for folder in config.speech),
        tuple(place.data / folder for folder in config.noise),
        tuple(place.data / folder for folder in config.rooms),
    )
    clips = {split: getattr(config, split) for split in SPLITS}
    order = corpus.Order(sources, clips, config.seed, config.split_seed, config.without)
    return corpus.build(order, place.corpus, jobs=place.jobs, progress=lambda a, b: stage("corpus", a, b)).table


def labelled_rows(config: Config, place: Place, stage: Stage, python: Path = peers.PYTHON) -> list[dict[str, Any]]:
    """The corpus of a configuration, a row a clip; with `peers.ensemble` its S-, N- and G-MOS are the ensemble.

    Raises CorpusError if the place holds another corpus, UsageError where the predictors cannot be run.
    """
    table = build_corpus(config.corpus, place, stage)
    if not config.peers.ensemble:
        return read_rows(table)
    if parallel.here().first:
        ensemble.add(place.corpus, python, place.jobs, config.peers.clips, lambda a, b: stage("predictors", a, b))
    return ensemble.as_labels(read_rows(table))


def dataset(
    front_end: frontend.FrontEnd, rows: Sequence[dict[str, Any]], split: str, place: Place, stage: Stage
) -> Dataset:
    """Features and true labels of a split, kept in the run's folder."""
    of_split = [row for row in rows if row["split"] == split]
    sources = [excerpt(place.corpus, row) for row in of_split]
    clips = frontend.compute(
        front_end,
        sources,
        place.out / "features",
        split,
        lambda a, b: stage(f"features, {split}", a, b),
        place.jobs,
    )
    return Dataset(clips, labels_of(of_split, KEYS), weights_of(of_split))


def peers_said(
    config: PeersConfig,
    clips: Sequence[Excerpt],
    split: str,
    store: Path,
    python: Path = peers.PYTHON,
    jobs: int = 0,
    stage: Stage | None = None,
) -> Labels:
    """What the peers that are teachers say of a split, (clips,) by key; nothing where there are none.

    Of the training clips they score the first `config.clips`, the rest is NaN; of others all. Kept in `store`.
    """
    if not config.heads:
        return {}
    asked = clips[: config.clips or None] if split == "train" else clips
    scores = peers.score(
        python, asked, store, split, jobs,
        lambda a, b: stage(f"peers, {split}", a, b) if stage else None, peers.predictors_of(config.heads),
    )  # fmt: skip
    return padded({key: scores[key] for key in config.heads}, len(clips))


def padded(scores: Labels, clips: int) -> Labels:
    """Scores of the first clips by key -> (clips,) each, NaN for the rest."""
    return {key: np.concatenate([values, np.full(clips - len(values), np.nan)]) for key, values in scores.items()}
