"""Scores held against ratings: all figures of stats.py for each target, per recording and per condition."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import matching, stats
from mtqnet.evaluation.bootstrap import Estimate, Places, intervals
from mtqnet.evaluation.label_tables import LabelTable, Ratings
from mtqnet.evaluation.recordings import Recordings, Row, Scorer, natural, values
from mtqnet.targets import BY_KEY

NAMES: Mapping[str, str] = {
    "lcc": "LCC", "srcc": "SRCC", "kendall": "tau", "rmse": "RMSE", "rmse_star": "RMSE*",
    "rmse_mapped": "RMSE mapped", "rmse_star_mapped": "RMSE* mapped",
}  # fmt: skip
ABSOLUTE = ("rmse", "rmse_star")
"""Figures that mean nothing where ratings are on another scale"""
PER_FILE = "file"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Ratings and scores of one target. Arrays are (items,)."""

    names: tuple[str, ...]
    rating: Array
    score: Array
    half: Array
    """Half the 95 % interval of each rating; NaN where unknown"""

    def at(self, places: Places) -> Pairs:
        names = tuple(self.names[place] for place in places)
        return Pairs(names, self.rating[places], self.score[places], self.half[places])


@dataclass(frozen=True)
class Agreement:
    """One target, at one level."""

    target: str
    level: str
    """`file`, or the column whose values are the conditions"""
    column: str
    """That the ratings stand in"""
    same_scale: bool
    pairs: Pairs
    figures: Mapping[str, Estimate]
    """By stats.FIGURES; each with its interval over items"""
    mapping: stats.Mapping | None
    """From scores to ratings; None for too few different scores"""


@dataclass(frozen=True)
class Evaluation:
    """What came out."""

    labels: str
    recordings: int
    """Rows of the table of ratings"""
    model: str
    agreements: tuple[Agreement, ...]
    unscored: tuple[tuple[str, str], ...]
    """Recordings of the table without a score, and why"""


def evaluate(labels: LabelTable, recordings: Recordings, by: str) -> Evaluation:
    """Hold scores against a table of ratings: per recording, and per value of the column `by` unless it is empty.

    A rating without score and a score without rating are left out. Raises UsageError where nothing is left.
    """
    places = matching.match_or_bare(labels.files, labels.path.parent, [row.file for row in recordings.rows])
    rows = [None if place is None else recordings.rows[place] for place in places]
    whole = [_pairs(labels, key, rows) for key in labels.ratings if key in recordings.keys]
    if not any(len(pairs.rating) for pairs, _ in whole):
        why = "; ".join(f"{file}: {reason}" for file, reason in _unscored(labels, rows)[:1])
        raise UsageError(
            f"no rating of {labels.path} has a score of {recordings.name}: it has {', '.join(labels.ratings)} of "
            f"{labels.files[0]}, ... {f'({why})' if why else ''}".rstrip()
        )
    told = labels.column(by) if by else ()
    agreements: list[Agreement] = []
    for key, (pairs, kept) in zip((key for key in labels.ratings if key in recordings.keys), whole, strict=True):
        ratings = labels.ratings[key]
        agreements.append(_agreement(key, PER_FILE, ratings, pairs))
        if by:
            grouped = _per_condition(pairs, kept, [told[place] for place in kept], ratings, labels.votes)
            agreements.append(_agreement(key, by, ratings, grouped))
    model = next((row.scores.model for row in recordings.scored), "")
    return Evaluation(str(labels.path), len(labels.files), model, tuple(agreements), _unscored(labels, rows))


def _agreement(key: str, level: str, ratings: Ratings, pairs: Pairs) -> Agreement:
    mapping = stats.mapping(pairs.rating, pairs.score)

    def figures(at: Places) -> Array:
        # The mapping stays: fitted anew on each resample, repeated items would make it look too good.
        return np.array(list(stats.evaluate(pairs.rating[at], pairs.score[at], pairs.half[at], mapping).values()))

    found = intervals(len(pairs.score), figures)
    told = dict(zip(stats.FIGURES, found, strict=True))
    if not ratings.same_scale:
        told |= {name: Estimate(*[float("nan")] * 3) for name in ABSOLUTE}
    return Agreement(key, level, ratings.column, ratings.same_scale, pairs, told, mapping)


def _pairs(labels: LabelTable, key: str, rows: list[Row | None]) -> tuple[Pairs, list[int]]:
    """Recordings with both, and their places in the table of ratings."""
    ratings, target = labels.ratings[key], BY_KEY[key]
    kept = [place for place, row in enumerate(rows) if row is not None and not np.isnan(ratings.mean[place])]
    score = values([row for place in kept if (row := rows[place]) is not None], key)
    known = [place for place, value in zip(kept, score, strict=True) if not np.isnan(value)]
    rating = ratings.mean[known]
    if target.log:
        rating = target.compress(rating)
    half = np.where(np.isnan(ratings.half), stats.votes_half(ratings.deviation, labels.votes), ratings.half)
    names = tuple(labels.files[place] for place in known)
    return Pairs(names, rating, score[~np.isnan(score)], half[known]), known


def _per_condition(pairs: Pairs, kept: list[int], told: list[str], ratings: Ratings, votes: Array) -> Pairs:
    """Means over the recordings of each condition; recordings that name none are left out."""
    names = sorted({name for name in told if name}, key=natural)
    members = [np.flatnonzero(np.array(told) == name) for name in names]
    at = np.array(kept, dtype=np.intp)
    half = [_condition_half(pairs.at(m), ratings.deviation[at[m]], votes[at[m]]) for m in members]
    rating, score = ([float(part[m].mean()) for m in members] for part in (pairs.rating, pairs.score))
    return Pairs(tuple(names), np.array(rating), np.array(score), np.array(half))


def _condition_half(pairs: Pairs, deviation: Array, votes: Array) -> float:
    """Half the 95 % interval of a condition's mean, from the votes of all its recordings together.

    A table may repeat the condition's own rating for each recording (all alike): then that interval is meant.
    """
    if np.ptp(pairs.rating) == 0 and np.unique(pairs.half).size == 1:
        return float(pairs.half[0])
    if np.isnan(votes).any() or np.isnan(deviation).any():
        return float("nan")
    total = votes.sum()
    mean = (votes * pairs.rating).sum() / total
    within, between = (votes - 1) @ deviation**2, votes @ (pairs.rating - mean) ** 2
    spread = np.sqrt((within + between) / (total - 1))
    return float(stats.votes_half(np.array([spread]), np.array([total]))[0])


def _unscored(labels: LabelTable, rows: list[Row | None]) -> tuple[tuple[str, str], ...]:
    reasons = [(row.scores.error if row is not None else "not in the table of scores") for row in rows]
    return tuple((file, said) for file, said in zip(labels.files, reasons, strict=True) if said is not None)


def score_labels(labels: LabelTable, audio: Path, scorer: Scorer) -> Recordings:
    """Score the recordings that a table of ratings names; `audio` is the folder its names are told from.

    A row a row of the table, under the table's name for it; a file that is named twice is scored once.
    """
    paths = matching.locate(labels.files, audio)
    scored = scorer.files(paths, labels.path.name, audio)
    by_path = {os.path.realpath(row.file): row.scores for row in scored.rows}
    found = (by_path[os.path.realpath(path)] for path in paths)
    root = labels.path.parent
    named = zip(labels.files, found, strict=True)
    rows = tuple(Row(replace(scores, file=str(root / matching.local(file))), {}) for file, scores in named)
    return Recordings(labels.path.name, root, rows)
