"""How near scores are to labels: LCC, SRCC and RMSE per target, per clip, through the exported model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.table import read_clip
from mtqnet.errors import AudioError, ModelError
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import QUEST, Target, named
from mtqnet.training.dataset import Labels, labels_of
from mtqnet.training.loop import lcc

Progress = Callable[[int, int], None]

WORST = 3
"""Clips of each score and split that are named as missed furthest"""


@dataclass(frozen=True)
class Figure:
    """One row of a table of results."""

    split: str
    target: str
    clips: int
    lcc: float
    """Pearson; of log10 for SDI"""
    srcc: float
    """Spearman"""
    rmse: float
    """In the target's own unit; of log10 for SDI"""


@dataclass(frozen=True)
class Failure:
    """A clip whose score is far from its label."""

    split: str
    clip: str
    steps: tuple[str, ...]
    """What it went through"""
    target: str
    label: float
    score: float


def scores(
    model: Path, rows: Sequence[dict[str, Any]], root: Path, progress: Progress | None = None
) -> dict[str, NDArray[np.float64]]:
    """What the exported model serves for the clips of these label rows (of the corpus in `root`), by target.

    NaN for a clip that it refuses: one in 36,000 is too quiet. Raises ModelError where it refuses all.
    """
    predictor = Predictor(str(model))
    scored: list[list[float | None]] = []
    for done, row in enumerate(rows, start=1):
        try:
            samples = read_clip(root, row)
        except AudioError as error:
            raise ModelError(f"{row.get('id') or row.get('file')} cannot be read: {error}") from error
        score = predictor.score(samples, SAMPLE_RATE)
        scored.append([score.value(key) for key in predictor.record.targets])
        if progress:
            progress(done, len(rows))
    table = np.array(scored, dtype=np.float64)
    if np.isnan(table).all():
        raise ModelError(f"none of {len(rows)} held-out clips can be scored: {score.error}")
    return dict(zip(predictor.record.targets, table.T, strict=True))


def figures(rows: Sequence[dict[str, Any]], said: Labels) -> list[Figure]:
    """Labels of these rows against their scores, split by split."""
    labels = labels_of(rows, list(said))
    splits = np.array([row["split"] for row in rows])
    return [
        compare(split, target, labels[target.key][splits == split], said[target.key][splits == split])
        for split in dict.fromkeys(splits.tolist())
        for target in named(list(said))
    ]


def failures(rows: Sequence[dict[str, Any]], said: Labels) -> list[Failure]:
    """The WORST clips of each of S-, N- and G-MOS and each split, the furthest first."""
    labels = labels_of(rows, list(said))
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        places = np.flatnonzero([row["split"] == split for row in rows])
        for target in QUEST:
            error = np.abs(said[target.key] - labels[target.key])[places]
            furthest = np.argsort(-error, kind="stable")[:WORST]  # NaN comes last
            for place in places[furthest[~np.isnan(error[furthest])]]:
                pair = (round(float(values[target.key][place]), 2) for values in (labels, said))
                row = rows[place]
                found.append(Failure(split, str(row["id"]), tuple(row["steps"]), target.key, *pair))
    return found


def compare(split: str, target: Target, truth: NDArray[np.float64], score: NDArray[np.float64]) -> Figure:
    """Labels and scores (clips,) -> their figure; clips without a label or a score are left out.

    A correlation that is not defined (one side the same throughout) is NaN.
    """
    known = ~np.isnan(truth) & ~np.isnan(score)
    y, x = target.compress(truth[known]), target.compress(score[known])
    figures = (lcc(y, x), lcc(stats.rankdata(y), stats.rankdata(x)), float(np.sqrt(np.mean((y - x) ** 2))))
    return Figure(split, target.key, int(known.sum()), *(round(value, 4) for value in figures))
