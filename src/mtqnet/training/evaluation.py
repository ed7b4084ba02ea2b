"""Evaluation of an exported model on test clips: LCC, SRCC and RMSE per target, and the largest errors."""

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
from mtqnet.training.batches import Labels, labels_of
from mtqnet.training.trainer import lcc

Progress = Callable[[int, int], None]

WORST = 3
"""Number of clips with the largest errors that are listed for each score and split"""


@dataclass(frozen=True)
class Figure:
    """One row of a table of results."""

    split: str
    target: str
    clips: int
    lcc: float
    """Pearson correlation; of log10 for SDI"""
    srcc: float
    """Spearman correlation"""
    rmse: float
    """In the target's unit; of log10 for SDI"""


@dataclass(frozen=True)
class Failure:
    """A clip with a large error."""

    split: str
    clip: str
    steps: tuple[str, ...]
    """Its processing"""
    target: str
    label: float
    score: float


def scores(
    model: Path, rows: Sequence[dict[str, Any]], root: Path, progress: Progress | None = None
) -> dict[str, NDArray[np.float64]]:
    """Score clips of a corpus by an exported model.

    Args:
        model: The .onnx file.
        rows: The clips.
        root: Folder of the corpus.
        progress: Called after each clip.

    Returns:
        (clips,) by target; NaN for a refused clip: of 36,000 clips, one is too quiet.

    Raises:
        ModelError: If a clip cannot be read, or the model refuses all.
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
        raise ModelError(f"none of the {len(rows)} held-out clips can be scored: {score.error}")
    return dict(zip(predictor.record.targets, table.T, strict=True))


def figures(rows: Sequence[dict[str, Any]], predicted: Labels) -> list[Figure]:
    """Compare the scores of these clips with their labels, split by split."""
    labels = labels_of(rows, list(predicted))
    splits = np.array([row["split"] for row in rows])
    return [
        compare(split, target, labels[target.key][splits == split], predicted[target.key][splits == split])
        for split in dict.fromkeys(splits.tolist())
        for target in named(list(predicted))
    ]


def failures(rows: Sequence[dict[str, Any]], predicted: Labels) -> list[Failure]:
    """Return the WORST clips for each of S-, N- and G-MOS and each split, the largest error first."""
    labels = labels_of(rows, list(predicted))
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        indices = np.flatnonzero([row["split"] == split for row in rows])
        for target in QUEST:
            error = np.abs(predicted[target.key] - labels[target.key])[indices]
            order = np.argsort(-error, kind="stable")[:WORST]  # NaN is last
            for index in indices[order[~np.isnan(error[order])]]:
                pair = (round(float(values[target.key][index]), 2) for values in (labels, predicted))
                row = rows[index]
                found.append(Failure(split, str(row["id"]), tuple(row["steps"]), target.key, *pair))
    return found


def compare(split: str, target: Target, truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> Figure:
    """Compare labels and scores (clips,); clips without a label or a score are ignored.

    A correlation is NaN if it is not defined, because one side is constant.
    """
    known = ~np.isnan(truth) & ~np.isnan(predicted)
    y, x = target.compress(truth[known]), target.compress(predicted[known])
    values = (lcc(y, x), lcc(stats.rankdata(y), stats.rankdata(x)), float(np.sqrt(np.mean((y - x) ** 2))))
    return Figure(split, target.key, int(known.sum()), *(round(value, 4) for value in values))
