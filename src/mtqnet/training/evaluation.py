"""Evaluation of an exported model on test clips: LCC, SRCC and RMSE per target, and the largest errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.causes import CAUSE_KEYS
from mtqnet.corpus.table import read_clip
from mtqnet.errors import AudioError, ModelError
from mtqnet.scoring.intervals import DISTANCE
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.targets import QUEST, Target, named
from mtqnet.training.batches import Labels, labels_of
from mtqnet.training.parts import of_rows
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


@dataclass(frozen=True)
class Predicted:
    """What a model says of clips; NaN for a refused clip: of 36,000 clips, one is too quiet."""

    scores: dict[str, NDArray[np.float64]]
    """(clips,) by target"""
    distance: NDArray[np.float64] | None
    """(clips,): distance from the training clips; None for a model that does not measure it"""
    causes: NDArray[np.float64] | None
    """(clips, causes): probabilities; None for a model without causes"""

    @property
    def with_distance(self) -> dict[str, NDArray[np.float64]]:
        """Scores and, if it is known, the distance."""
        return self.scores if self.distance is None else {**self.scores, DISTANCE: self.distance}


def predict(
    model: Path, rows: Sequence[dict[str, Any]], root: Path, progress: Progress | None = None
) -> Predicted:
    """Score clips of a corpus by an exported model.

    Args:
        model: The .onnx file.
        rows: The clips.
        root: Folder of the corpus.
        progress: Called after each clip.

    Raises:
        ModelError: If a clip cannot be read, or the model refuses all.
    """
    predictor = Predictor(str(model))
    keys, causes = predictor.record.targets, predictor.record.causes
    scored: list[Scores] = []
    for done, row in enumerate(rows, start=1):
        try:
            samples = read_clip(root, row)
        except AudioError as error:
            raise ModelError(f"{row.get('id') or row.get('file')} cannot be read: {error}") from error
        scored.append(predictor.score(samples, SAMPLE_RATE))
        if progress:
            progress(done, len(rows))
    table = np.array([[score.value(key) for key in keys] for score in scored], dtype=np.float64)
    if np.isnan(table).all():
        raise ModelError(f"none of the {len(rows)} held-out clips can be scored: {scored[-1].error}")
    distance = np.array([score.distance for score in scored], dtype=np.float64)
    kinds = np.array([[score.causes.get(key, np.nan) for key in causes] for score in scored])
    return Predicted(
        dict(zip(keys, table.T, strict=True)), distance if predictor.record.distance else None,
        kinds if causes else None,
    )  # fmt: skip


@dataclass(frozen=True)
class CauseFigure:
    """How well a cause is detected on the clips of a split."""

    split: str
    cause: str
    clips: int
    present: int
    """Number of clips that have it"""
    auc: float
    """Area under the receiver operating characteristic"""
    brier: float
    """Mean squared error of the probability"""


def cause_figures(rows: Sequence[dict[str, Any]], probabilities: NDArray[np.float64]) -> list[CauseFigure]:
    """Compare the probabilities (clips, causes) with the recipes, split by split."""
    truth, splits = present(rows), np.array([row["split"] for row in rows])
    found = []
    for split in dict.fromkeys(splits.tolist()):
        for place, cause in enumerate(CAUSE_KEYS):
            known = (splits == split) & ~np.isnan(truth[:, place]) & ~np.isnan(probabilities[:, place])
            y, p = truth[known, place], probabilities[known, place]
            brier = float(np.mean((y - p) ** 2)) if len(y) else math.nan
            found.append(CauseFigure(split, cause, len(y), int(y.sum()), round(auc(y, p), 4), round(brier, 4)))
    return found


def present(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Return which causes clips have anywhere, (clips, causes): 1, 0, or NaN for unknown."""
    parts = of_rows(rows)
    return np.fmax(parts.outside, parts.inside) + 0 * parts.outside + 0 * parts.inside


def auc(truth: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Return the probability that a positive has a higher score than a negative; NaN if one of both is missing."""
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return math.nan
    ranks = stats.rankdata(score)
    return float((ranks[truth > 0].sum() - positives * (positives + 1) / 2) / positives / (len(truth) - positives))


def figures(rows: Sequence[dict[str, Any]], predicted: Labels) -> list[Figure]:
    """Compare the scores of these clips with their labels, split by split."""
    labels = labels_of(rows, list(predicted))
    splits = np.array([row["split"] for row in rows])
    return [
        compare(split, target, labels[target.key][splits == split], predicted[target.key][splits == split])
        for split in dict.fromkeys(splits.tolist())
        for target in named(list(predicted))
        if np.isfinite(labels[target.key][splits == split]).any()
    ]


def failures(rows: Sequence[dict[str, Any]], predicted: Labels) -> list[Failure]:
    """Return the WORST clips for each of S-, N- and G-MOS and each split, the largest error first."""
    labels = labels_of(rows, list(predicted))
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        indices = np.flatnonzero([row["split"] == split for row in rows])
        for target in (target for target in QUEST if target.key in predicted):
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
