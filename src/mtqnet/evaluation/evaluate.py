"""Agreement of predicted scores with ratings: all figures for each target, per recording and per condition.

The result is written as CSV, JSON or Markdown: one row per target and level, each figure with its 95 % interval.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import recordings as scored_recordings
from mtqnet.evaluation import statistics
from mtqnet.evaluation.ratings import Ratings, RatingTable
from mtqnet.evaluation.recordings import Recordings, Row, Scorer, natural, values
from mtqnet.evaluation.statistics import FIGURES, Estimate, Places, intervals
from mtqnet.targets import BY_KEY

NAMES: Mapping[str, str] = {
    "lcc": "LCC", "srcc": "SRCC", "kendall": "tau", "rmse": "RMSE", "rmse_star": "RMSE*",
    "rmse_mapped": "RMSE mapped", "rmse_star_mapped": "RMSE* mapped",
}  # fmt: skip
ABSOLUTE = ("rmse", "rmse_star")
"""Figures that are meaningless if the ratings are on another scale"""
PER_FILE = "file"
DECIMALS = 4
"""Of a figure on disk"""
SHOWN = 3
"""Decimals in a table for people: two runs of the same listening test agree in fewer"""
SMALL_PRINT = (
    "Brackets: 95 % bootstrap interval over recordings or conditions. RMSE*: an error within a rating's own 95 % "
    "interval counts as zero (ITU-T P.1401). Mapped: after a monotonic third-order mapping; the degrees of freedom are "
    "reduced by four."
)
"""Explanation of the table"""

Array = NDArray[np.float64]
Record = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class Pairs:
    """Ratings and scores of one target. Arrays are (items,)."""

    names: tuple[str, ...]
    rating: Array
    score: Array
    half: Array
    """Half width of the 95 % interval of each rating; NaN where unknown"""

    def at(self, places: Places) -> Pairs:
        names = tuple(self.names[place] for place in places)
        return Pairs(names, self.rating[places], self.score[places], self.half[places])


@dataclass(frozen=True)
class Agreement:
    """Agreement of scores and ratings of one target, at one level."""

    target: str
    level: str
    """`file`, or the column whose values are the conditions"""
    column: str
    """Column of the ratings"""
    same_scale: bool
    pairs: Pairs
    figures: Mapping[str, Estimate]
    """By name (statistics.FIGURES), each with its interval over items"""
    mapping: statistics.Mapping | None
    """From scores to ratings; None if there are too few different scores"""


@dataclass(frozen=True)
class Evaluation:
    """Result of `mtqnet evaluate`."""

    labels: str
    recordings: int
    """Recordings of the table of ratings"""
    model: str
    agreements: tuple[Agreement, ...]
    unscored: tuple[tuple[str, str], ...]
    """Recordings of the table without a score, with the reason"""
    notes: tuple[str, ...] = ()
    """How the table of ratings was read: duplicates, votes, codes, scale"""


def evaluate(labels: RatingTable, recordings: Recordings, by: str) -> Evaluation:
    """Compare scores with a table of ratings.

    Args:
        labels: The ratings.
        recordings: Scored recordings. A rating without a score is reported, a score without a rating is ignored.
        by: Column of the conditions to average over; empty: per recording only.

    Raises:
        UsageError: No recording has both a rating and a score, or there is no such column.
    """
    files = [row.file for row in recordings.rows]
    places = scored_recordings.match_or_bare(labels.files, labels.path.parent, files)
    rows = [None if place is None else recordings.rows[place] for place in places]
    keys = [key for key in labels.ratings if key in recordings.keys]
    pairs = {key: _pairs(labels, key, rows) for key in keys}
    if not any(len(one.rating) for one, _ in pairs.values()):
        scored_now = (recordings.name, recordings.root) == (labels.path.name, labels.path.parent)
        if scored_now and recordings.rows and not recordings.scored:
            (file, reason), *_ = recordings.unscored
            raise UsageError(
                f"none of the {len(recordings.rows)} recordings in {labels.path} could be scored ({file}: {reason}): "
                "check --audio, the folder to which the file names are relative (default: the folder of the table)"
            )
        why = "; ".join(f"{file}: {reason}" for file, reason in _unscored(labels, rows)[:1])
        raise UsageError(
            f"no rating in {labels.path} belongs to a score of {recordings.name}; both must name the same files: "
            f"{labels.path.name} has "
            f"{', '.join(labels.ratings)} of {labels.files[0]}, ... {f'({why})' if why else ''}".rstrip()
        )
    groups = labels.column(by) if by else ()
    agreements: list[Agreement] = []
    for key, (per_file, kept) in pairs.items():
        ratings = labels.ratings[key]
        agreements.append(_agreement(key, PER_FILE, ratings, per_file))
        if by:
            per_condition = _per_condition(per_file, kept, [groups[place] for place in kept], ratings)
            agreements.append(_agreement(key, by, ratings, per_condition))
    model = next((row.scores.model for row in recordings.scored), "")
    return Evaluation(
        str(labels.path), len(labels.files), model, tuple(agreements), _unscored(labels, rows),
        (*labels.notes, *recordings.notes),
    )  # fmt: skip


def score_labels(labels: RatingTable, audio: Path, scorer: Scorer) -> Recordings:
    """Score the recordings that a table of ratings names, relative to the folder `audio`.

    Returns:
        One row per entry of the table, under the table's name for it.
    """
    paths = scored_recordings.locate(labels.files, audio)
    scored = scorer.files(paths, labels.path.name, audio)
    by_path = {os.path.realpath(row.file): row.scores for row in scored.rows}
    found = (by_path[os.path.realpath(path)] for path in paths)
    root = labels.path.parent
    named = zip(labels.files, found, strict=True)
    rows = tuple(
        Row(replace(scores, file=str(root / scored_recordings.local(file))), {}) for file, scores in named
    )
    return Recordings(labels.path.name, root, rows)


def records(evaluation: Evaluation) -> list[Record]:
    """Flat rows: target, level, items, then FIGURE, FIGURE_low, FIGURE_high for each figure."""
    rows = []
    for one in evaluation.agreements:
        row: Record = {
            "target": one.target, "level": one.level, "items": len(one.pairs.names), "column": one.column,
            "same_scale": one.same_scale,
        }  # fmt: skip
        for name, figure in one.figures.items():
            numbers = (figure.value, figure.low, figure.high)
            row |= {
                f"{name}{end}": _rounded(number)
                for end, number in zip(("", "_low", "_high"), numbers, strict=True)
            }
        rows.append(row)
    return rows


def as_csv(evaluation: Evaluation) -> str:
    """An evaluation as CSV with one row per target and level."""
    stream = io.StringIO()
    rows = records(evaluation)
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(evaluation: Evaluation) -> str:
    """An evaluation as one JSON object, with the mapping and the pairs of rating and score."""
    details = []
    for one in evaluation.agreements:
        columns = (one.pairs.rating.tolist(), one.pairs.half.tolist(), one.pairs.score.tolist())
        items = [
            {"name": name, "rating": _rounded(rating), "ci95": _rounded(half), "score": _rounded(score)}
            for name, rating, half, score in zip(one.pairs.names, *columns, strict=True)
        ]
        mapping = None if one.mapping is None else one.mapping.coefficients
        details.append({"target": one.target, "level": one.level, "mapping": mapping, "items": items})
    about = {
        "labels": evaluation.labels, "recordings": evaluation.recordings, "model": evaluation.model,
        "notes": list(evaluation.notes), "agreement": records(evaluation), "details": details,
        "unscored": [{"file": file, "reason": reason} for file, reason in evaluation.unscored],
    }  # fmt: skip
    return json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(evaluation: Evaluation) -> str:
    """An evaluation as a Markdown table with its notes."""
    head = ["score", "per", "items", *NAMES.values()]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for one in evaluation.agreements:
        cells = [BY_KEY[one.target].short_name, one.level, str(len(one.pairs.names))]
        lines.append(f"| {' | '.join([*cells, *(cell(one.figures[name]) for name in FIGURES)])} |")
    missing = f"{len(evaluation.unscored)} of {evaluation.recordings} recordings have no score."
    notes = [f"{note[0].upper()}{note[1:]}." for note in evaluation.notes]
    return "\n".join([*lines, "", missing, *notes, SMALL_PRINT, ""])


def figures_of(evaluation: Evaluation) -> tuple[str, ...]:
    """Figures that at least one row has."""
    return tuple(name for name in FIGURES if any(cell(one.figures[name]) for one in evaluation.agreements))


def cell(estimate: Estimate) -> str:
    """A figure for people: "0.912 [0.880, 0.935]"; empty if there is none."""
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.{SHOWN}f}"
    return f"{estimate.value:.{SHOWN}f} [{estimate.low:.{SHOWN}f}, {estimate.high:.{SHOWN}f}]"


def _agreement(key: str, level: str, ratings: Ratings, pairs: Pairs) -> Agreement:
    mapping = statistics.mapping(pairs.rating, pairs.score)

    def figures(at: Places) -> Array:
        # The mapping is not fitted again: with repeated items in a resample it would seem too good.
        found = statistics.agreement(pairs.rating[at], pairs.score[at], pairs.half[at], mapping)
        return np.array(list(found.values()))

    found = dict(zip(FIGURES, intervals(len(pairs.score), figures), strict=True))
    if not ratings.same_scale:
        found |= {name: Estimate(*[float("nan")] * 3) for name in ABSOLUTE}
    return Agreement(key, level, ratings.column, ratings.same_scale, pairs, found, mapping)


def _pairs(labels: RatingTable, key: str, rows: list[Row | None]) -> tuple[Pairs, list[int]]:
    """Recordings with both rating and score, and their indices in the table of ratings."""
    ratings, target = labels.ratings[key], BY_KEY[key]
    kept = [place for place, row in enumerate(rows) if row is not None and not np.isnan(ratings.mean[place])]
    score = values([row for place in kept if (row := rows[place]) is not None], key)
    known = [place for place, value in zip(kept, score, strict=True) if not np.isnan(value)]
    rating = ratings.mean[known]
    if target.log:
        rating = target.compress(rating)
    by_votes = statistics.votes_half(ratings.deviation, ratings.votes)
    half = np.where(np.isnan(ratings.half), by_votes, ratings.half)
    names = tuple(labels.files[place] for place in known)
    return Pairs(names, rating, score[~np.isnan(score)], half[known]), known


def _per_condition(pairs: Pairs, kept: list[int], groups: list[str], ratings: Ratings) -> Pairs:
    """Means over the recordings of each condition; recordings without a condition are omitted."""
    names = sorted({name for name in groups if name}, key=natural)
    members = [np.flatnonzero(np.array(groups) == name) for name in names]
    at = np.array(kept, dtype=np.intp)
    half = [_condition_half(pairs.at(m), ratings.deviation[at[m]], ratings.votes[at[m]]) for m in members]
    rating, score = ([float(part[m].mean()) for m in members] for part in (pairs.rating, pairs.score))
    return Pairs(tuple(names), np.array(rating), np.array(score), np.array(half))


def _condition_half(pairs: Pairs, deviation: Array, votes: Array) -> float:
    """Half width of the 95 % interval of a condition's mean, from the votes of all its recordings together.

    A table may repeat the condition's own rating for each recording (all equal): then its interval is used.
    """
    if np.ptp(pairs.rating) == 0 and np.unique(pairs.half).size == 1:
        return float(pairs.half[0])
    if np.isnan(votes).any() or np.isnan(deviation).any():
        return float("nan")
    total = votes.sum()
    mean = (votes * pairs.rating).sum() / total
    within, between = (votes - 1) @ deviation**2, votes @ (pairs.rating - mean) ** 2
    pooled = np.sqrt((within + between) / (total - 1))
    return float(statistics.votes_half(np.array([pooled]), np.array([total]))[0])


def _unscored(labels: RatingTable, rows: list[Row | None]) -> tuple[tuple[str, str], ...]:
    reasons = [(row.scores.error if row is not None else "not in the table of scores") for row in rows]
    return tuple((file, reason) for file, reason in zip(labels.files, reasons, strict=True) if reason is not None)


def _rounded(number: float) -> float | None:
    return None if math.isnan(number) else round(number, DECIMALS)


WRITERS: Mapping[str, Callable[[Evaluation], str]] = {".csv": as_csv, ".json": as_json, ".md": as_markdown}
"""Suffix of a file -> its content"""
