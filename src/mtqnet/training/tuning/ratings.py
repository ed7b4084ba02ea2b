"""A table of ratings as training takes it: labels, and how much each counts.

A rating is the mean of some votes. Its standard error says how far it may be from what more listeners would say;
the loss weighs it by

    tau^2 / (tau^2 + error^2)      divided by the mean of the same over the table

tau is what a model misses by whatever the listeners say: so a thousand votes count little more than a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import recordings
from mtqnet.evaluation.ratings import Ratings, RatingTable
from mtqnet.targets import BY_KEY, Target

TAU = 0.5
"""MOS points: about the RMSE of the shipped model on ratings of recordings (MODEL_CARD.md: 0.40 to 0.65)."""
VOTES_DEVIATION = 0.84
"""MOS points. Standard deviation of the votes on a recording: the mean over 78 recordings and three scales of the
P.835 ratings of CSP835 (0.87, 0.85, 0.80)."""
PRIOR_VOTES = 4.0
"""Votes that VOTES_DEVIATION counts as beside a recording's own: three equal votes are no certainty."""
HALF_95 = 1.96
"""Standard errors in half a 95 % interval"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rated:
    """Recordings and what listeners said of them. Arrays are (recordings,)."""

    names: tuple[str, ...]
    """As the table writes them"""
    paths: tuple[Path, ...]
    labels: Mapping[str, Array]
    """By target; NaN where there is no rating"""
    weights: Mapping[str, Array]
    """By target: of each rating in the loss; their mean is 1"""
    groups: tuple[str, ...]
    """What a split must not part"""
    weighed_by: str
    """In words"""

    def with_any(self, keys: Sequence[str]) -> list[int]:
        """Places of the recordings that have a rating of any of these targets."""
        known = [~np.isnan(self.labels[key]) for key in keys]
        return [int(place) for place in np.flatnonzero(np.any(known, axis=0))]

    def take(self, places: Sequence[int]) -> Rated:
        """The recordings at these places."""
        at = list(places)
        return Rated(
            tuple(self.names[place] for place in at),
            tuple(self.paths[place] for place in at),
            {key: values[at] for key, values in self.labels.items()},
            {key: values[at] for key, values in self.weights.items()},
            tuple(self.groups[place] for place in at),
            self.weighed_by,
        )


def rated(table: RatingTable, audio: Path, by: str) -> Rated:
    """The table's recordings, looked for in `audio`. `by`: column of the groups; empty: each is its own.

    Raises UsageError for ratings on another scale, and for a group without a name.
    """
    for key, ratings in table.ratings.items():
        _need_scale(BY_KEY[key], ratings)
    paths = recordings.locate(table.files, audio)
    groups = table.column(by) if by else table.files  # wherever they lie: the split is of names
    if by and "" in groups:
        raise UsageError(f"{table.path}, column {by!r}, row {groups.index('') + 1} is empty: name its group")
    errors = {key: standard_error(BY_KEY[key], r, table.votes) for key, r in table.ratings.items()}
    return Rated(
        table.files,
        tuple(paths),
        {key: ratings.mean for key, ratings in table.ratings.items()},
        {key: weights(errors[key], table.ratings[key].mean) for key in errors},
        groups,
        _words(table),
    )


def standard_error(target: Target, ratings: Ratings, votes: Array) -> Array:
    """(recordings,): of each rating, on the training scale; NaN where the table says nothing of it.

    From the half interval if the table has it, else from deviation and number of votes, else from their number.
    Of a target that is trained as a logarithm nothing is known.
    """
    if target.log:
        return np.full(len(votes), np.nan)
    slope, _ = target.affine
    own = np.where(np.isnan(ratings.deviation), VOTES_DEVIATION, ratings.deviation / slope)
    counted = np.where(votes >= 1, votes, np.nan)
    variance = (counted * own**2 + PRIOR_VOTES * VOTES_DEVIATION**2) / (counted + PRIOR_VOTES)
    by_votes = np.sqrt(variance / counted)
    return np.where(np.isnan(votes), ratings.half / HALF_95 / slope, by_votes)


def weights(error: Array, mean: Array) -> Array:
    """Standard errors (recordings,) -> weights, whose mean over the rated ones is 1.

    A rating of which nothing is known weighs as the middle one of those that are; all alike where none is.
    """
    told = ~np.isnan(error) & ~np.isnan(mean)
    filled = np.where(np.isnan(error), np.median(error[told]) if told.any() else 0.0, error)
    raw = TAU**2 / (TAU**2 + filled**2)
    there = ~np.isnan(mean)
    return raw / raw[there].mean() if there.any() else np.ones(len(mean))


def _need_scale(target: Target, ratings: Ratings) -> None:
    known = ratings.mean[~np.isnan(ratings.mean)]
    outside = (known < target.low) | (known > target.high)
    if not ratings.same_scale or (len(known) and outside.mean() > 0.5):
        raise UsageError(
            f"the ratings in column {ratings.column!r} are not on the scale of {target.name}, {target.low:g} to "
            f"{target.high:g}: map them to it first"
        )


def _words(table: RatingTable) -> str:
    votes = not np.isnan(table.votes).all()
    spread = any(not np.isnan(r.deviation).all() for r in table.ratings.values())
    half = any(not np.isnan(r.half).all() for r in table.ratings.values())
    if votes:
        return "ratings are weighed by their votes" + (" and standard deviations" if spread else "")
    if half:
        return "ratings are weighed by their 95 % intervals"
    return "ratings count alike: the table says nothing of their votes"
