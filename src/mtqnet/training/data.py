"""Training data from a simulated corpus: features, labels, and scores of existing models."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus import build as corpus
from mtqnet.corpus import peers
from mtqnet.corpus.degradations.packages import VARIABLE
from mtqnet.corpus.pool import Sources
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import TABLE, excerpt, read_rows
from mtqnet.labels.ensemble import kinds_of
from mtqnet.targets import KEYS, PEERS
from mtqnet.training import features, parallel
from mtqnet.training.batches import Dataset, Labels, labels_of, weights_of
from mtqnet.training.config import Config, CorpusConfig, ExistingModelsConfig
from mtqnet.training.parts import of_rows

Stage = Callable[[str, int, int], None]
"""Called with the name of a stage, the finished and the total number of its parts"""
Row = dict[str, Any]
"""A clip of a corpus by column name"""

CALIBRATION = "calibration"
"""Split of the clips that calibrate the intervals: every second validation clip, which selects no epoch"""


@dataclass(frozen=True)
class RunPaths:
    """Where a run reads and writes, and with how many processes."""

    data: Path
    """Folder that the folders of a configuration are relative to"""
    out: Path
    """Folder of the run"""
    shared_corpus: Path | None = None
    """Corpus of another run with the same corpus configuration; by default the run builds its own"""
    jobs: int = 0
    """Number of processes; 0 is one per core"""

    @property
    def corpus(self) -> Path:
        """Folder of the corpus."""
        return self.shared_corpus or self.out / "corpus"


def corpus_rows(config: Config, paths: RunPaths, stage: Stage, python: Path = peers.PYTHON) -> list[Row]:
    """Build the corpus of a configuration and return its clips; every second validation clip is for calibration.

    Args:
        config: The configuration; with `existing_models.ensemble`, S-, N- and G-MOS are the label ensemble.
        paths: Where to read and write.
        stage: Called with the progress.
        python: Interpreter of the environment with the existing models (corpus/peers.py).

    Raises:
        CorpusError: If the folder contains another corpus.
        UsageError: If the existing models cannot be run.
    """
    table = build_corpus(config.corpus, paths, stage)
    if config.existing_models.ensemble and parallel.current().first:
        scored = config.existing_models.clips
        peers.add_ensemble(paths.corpus, python, paths.jobs, scored, lambda a, b: stage("existing models", a, b))
    rows = read_rows(table)
    if config.existing_models.ensemble:  # of the training clips MPL computes it, with the predicted scores
        train = [row for row in rows if row["split"] == "train"]
        rows = train + peers.as_labels([row for row in rows if row["split"] != "train"])
    numbers = itertools.count()
    return [
        {**row, "split": CALIBRATION} if row["split"] == "validation" and next(numbers) % 2 else row
        for row in rows
    ]


def build_corpus(config: CorpusConfig, paths: RunPaths, stage: Stage) -> Path:
    """Build a corpus, or find it finished, and return the path of its table.

    Of several processes the first builds it (parallel.first_alone).

    Raises:
        CorpusError: If the folder contains another corpus.
    """
    if not parallel.current().first:
        return paths.corpus / TABLE
    if config.weights:
        os.environ[VARIABLE] = str((paths.data / config.weights).resolve())  # read by the processes of the build
    sources = Sources(
        tuple(paths.data / folder for folder in config.speech),
        tuple(paths.data / folder for folder in config.noise),
        tuple(paths.data / folder for folder in config.rooms),
    )
    clips = {split: getattr(config, split) for split in SPLITS}
    order = corpus.Order(sources, clips, config.seed, config.split_seed, config.without)
    return corpus.build(order, paths.corpus, jobs=paths.jobs, progress=lambda a, b: stage("corpus", a, b)).table


def dataset(
    front_end: features.FrontEnd, rows: Sequence[Row], split: str, paths: RunPaths, stage: Stage
) -> Dataset:
    """Return features and true labels of a split; the features are stored in the run's folder."""
    of_split = [row for row in rows if row["split"] == split]
    clips = features.compute(
        front_end, excerpts(rows, split, paths), paths.out / "features", split,
        lambda a, b: stage(f"features, {split}", a, b), paths.jobs,
    )  # fmt: skip
    labels, weights = labels_of(of_split, (*KEYS, *known_predictors(of_split))), weights_of(of_split)
    if not of_split or "recipe" not in of_split[0]:
        return Dataset(clips, labels, weights)
    kinds = [kinds_of(row["steps"]) for row in of_split]
    recordings = [json.loads(row["recipe"])["speech"] for row in of_split]
    speech = np.unique(recordings, return_inverse=True)[1].astype(np.int64)
    return Dataset(clips, labels, weights, of_rows(of_split), kinds, speech)


def known_predictors(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the columns with scores of existing models that a table has."""
    return tuple(target.key for target in PEERS if rows and target.key in rows[0])


def excerpts(rows: Sequence[Row], split: str, paths: RunPaths) -> list[Excerpt]:
    """Return the clips of a split as parts of the corpus' audio files."""
    return [excerpt(paths.corpus, row) for row in rows if row["split"] == split]


def existing_scores(
    config: ExistingModelsConfig,
    clips: Sequence[Excerpt],
    split: str,
    folder: Path,
    python: Path = peers.PYTHON,
    jobs: int = 0,
    stage: Stage | None = None,
) -> Labels:
    """Return the scores of the existing models that are additional teachers.

    Args:
        config: Which scores are computed.
        clips: The clips of a split.
        split: Name of the split. Of `train`, only the first `config.clips` clips are scored.
        folder: Where the scores are stored.
        python: Interpreter of the environment with these models (corpus/peers.py).
        jobs: Number of processes; 0 is one per core.
        stage: Called with the progress.

    Returns:
        (clips,) by key; NaN for clips that are not scored.
    """
    if not config.heads or config.ensemble:  # with the ensemble they are columns of the corpus
        return {}
    scored = clips[: config.clips or None] if split == "train" else clips
    scores = peers.score(
        python, scored, folder, split, jobs,
        lambda a, b: stage(f"existing models, {split}", a, b) if stage else None,
        peers.predictors_of(config.heads),
    )  # fmt: skip
    return padded({key: scores[key] for key in config.heads}, len(clips))


def padded(scores: Labels, clips: int) -> Labels:
    """Extend the scores of the first clips to (clips,) by NaN."""
    return {key: np.concatenate([values, np.full(clips - len(values), np.nan)]) for key, values in scores.items()}


@dataclass
class Clock:
    """Time of each stage in seconds, in a file, summed over all calls of a resumed run.

    An interrupted call loses the time since the last tick.
    """

    path: Path
    last: float = field(default_factory=time.monotonic)

    def tick(self, stage: str) -> None:
        """Add the time since the last tick to a stage."""
        now = time.monotonic()
        seconds = self.seconds()
        seconds[stage] = round(seconds.get(stage, 0.0) + now - self.last, 2)
        self.last = now
        self._write(seconds)

    def reset(self, stage: str) -> None:
        """Delete the time of a stage that every call repeats completely."""
        if stage in (seconds := self.seconds()):
            self._write({name: spent for name, spent in seconds.items() if name != stage})

    def timed(self, stage: Stage) -> Stage:
        """Return the same function; the time between its calls is added."""

        def tick(name: str, done: int, total: int) -> None:
            self.tick(name)
            stage(name, done, total)

        return tick

    def seconds(self) -> dict[str, float]:
        """Return the time by stage, in the order in which the stages began."""
        if not self.path.exists():
            return {}
        stored: dict[str, float] = json.loads(self.path.read_text())
        return stored

    def minutes(self) -> dict[str, float]:
        """Return the time by stage in minutes."""
        return {stage: round(seconds / 60, 1) for stage, seconds in self.seconds().items()}

    def _write(self, seconds: dict[str, float]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(seconds, indent=1) + "\n")
        unfinished.replace(self.path)
