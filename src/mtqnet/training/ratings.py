"""Ratings of listeners as training data: recordings of tables, weights of their ratings, segments, and groups.

A rating is the mean of some votes. Its standard error is the expected difference from the mean of many more votes;
its weight in the loss is tau^2 / (tau^2 + error^2), divided by the mean over the table. tau is the model's own
error, so that a thousand votes have little more weight than a hundred.

Recordings are cut into the windows that scoring would use. A segment has the ratings of its recording, weighted by
its part of the recording, so that each rating counts once.

A group is a speaker, a condition or a room: the value of the column that --by names. Groups are never divided
between training and test data. The division depends on a hash of their names, so that it is the same for every
call, every order of the table and every seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio import reading, windows
from mtqnet.audio.analysis import analyse_recording
from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import AudioError, UsageError
from mtqnet.evaluation.ratings import Ratings, RatingTable
from mtqnet.evaluation.recordings import locate
from mtqnet.targets import BY_KEY, Target
from mtqnet.training import features
from mtqnet.training.batches import Labels
from mtqnet.training.data import CALIBRATION

TAU = 0.5
"""MOS: about the RMSE of the shipped model on ratings of recordings (MODEL_CARD.md: 0.40 to 0.65)"""
VOTES_DEVIATION = 0.84
"""MOS: standard deviation of the votes on a recording; mean over 78 recordings and three scales of the P.835
ratings of CSP835 (0.87, 0.85, 0.80)"""
PRIOR_VOTES = 4.0
"""Number of votes that VOTES_DEVIATION counts as in addition to a recording's own: three equal votes do not have
the standard error 0"""
HALF_95 = 1.96
"""Standard errors in half of a 95 % interval"""
LEAST = 10
"""Fewest rated recordings"""
RATED = "rated"
"""Split of the test recordings of tables"""
SPLITS = ("train", "validation", CALIBRATION, RATED)
FOLDS = 5
"""Number of parts of a cross-validation"""
ONE_FOLD_FROM = 500
"""With this many recordings, one validation part is used, because it is as reliable as five"""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Rated:
    """Recordings and their ratings. Arrays are (recordings,)."""

    names: tuple[str, ...]
    """As in the table"""
    paths: tuple[Path, ...]
    labels: Labels
    """By target; NaN without a rating"""
    weights: Labels
    """By target: weight of each rating in the loss, 1 on average over the table"""
    groups: tuple[str, ...]
    weighting: str
    """Description of the weights for people"""
    references: tuple[str, ...] = ()
    """Clean reference of each recording, or an empty string; empty without a column of references"""
    splits: tuple[str, ...] = ()
    """Split of each recording; empty without a column of splits"""

    def with_any(self, keys: Sequence[str]) -> list[int]:
        """Return the indices of the recordings with a rating of any of these targets."""
        known = np.any([~np.isnan(self.labels[key]) for key in keys], axis=0)
        return [int(index) for index in np.flatnonzero(known)]

    def take(self, indices: Sequence[int]) -> Rated:
        """Return the recordings at these indices."""

        def taken(column: Sequence[T]) -> tuple[T, ...]:
            return tuple(column[index] for index in indices) if column else ()

        labels, weights = (
            {key: v[list(indices)] for key, v in part.items()} for part in (self.labels, self.weights)
        )
        return Rated(
            taken(self.names), taken(self.paths), labels, weights, taken(self.groups), self.weighting,
            taken(self.references), taken(self.splits),
        )  # fmt: skip


@dataclass(frozen=True)
class Segments:
    """The audio of some recordings, in segments of at most the length of a scoring window."""

    clips: list[Excerpt]
    recording: Indices
    """(segments,): index of each segment's recording among those that can be scored"""
    shares: Array
    """(segments,): weight of each segment in the score of its recording; their sum per recording is 1"""
    scorable: list[int]
    """Indices of the recordings that can be scored, among all"""
    refused: list[tuple[Path, str]]
    """The other recordings, and the reasons"""


def rated(table: RatingTable, folder: Path, by: str, reference: str = "", split: str = "") -> Rated:
    """Find the recordings of a table and weight their ratings.

    Args:
        table: The ratings.
        folder: Folder that the table's file names are relative to.
        by: Column of the groups; empty: every recording is a group.
        reference: Column of the clean references; empty: none.
        split: Column of the splits; empty: none.

    Raises:
        UsageError: If the ratings are on another scale, or a recording has no group or an unknown split.
    """
    for key, column in table.ratings.items():
        target, known = BY_KEY[key], column.mean[~np.isnan(column.mean)]
        outside = (known < target.low) | (known > target.high)
        if not column.same_scale or (len(known) and outside.mean() > 0.5):
            raise UsageError(
                f"the ratings in column {column.column!r} are not on the scale of {target.name}, {target.low:g} to "
                f"{target.high:g}: convert them first"
            )
    groups = table.column(by) if by else table.files
    if "" in groups:
        raise UsageError(f"{table.path}, row {groups.index('') + 1}: the column {by!r} is empty: enter its group")
    weights = {
        key: rating_weights(standard_error(BY_KEY[key], column, table.votes), column.mean)
        for key, column in table.ratings.items()
    }
    labels = {key: column.mean for key, column in table.ratings.items()}
    paths = tuple(locate(table.files, folder))
    references: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    if reference:
        cells = table.column(reference)
        found = locate([cell or "-" for cell in cells], folder)
        references = tuple(str(path) if cell else "" for cell, path in zip(cells, found, strict=True))
    if split:
        names = {"test": RATED, **{name: name for name in SPLITS}}
        splits = tuple(names.get(cell, "") for cell in table.column(split))
        if "" in splits:
            cell = table.column(split)[splits.index("")]
            raise UsageError(f"{table.path}, column {split!r}: {cell!r} is no split, expected {', '.join(names)}")
    return Rated(table.files, paths, labels, weights, groups, _weighting(table), references, splits)


def _weighting(table: RatingTable) -> str:
    if not np.isnan(table.votes).all():
        deviations = any(not np.isnan(r.deviation).all() for r in table.ratings.values())
        return "ratings are weighted by their votes" + (" and standard deviations" if deviations else "")
    if any(not np.isnan(r.half).all() for r in table.ratings.values()):
        return "ratings are weighted by their 95 % intervals"
    return "all ratings have the same weight, because the table has no votes"


def standard_error(target: Target, ratings: Ratings, votes: Array) -> Array:
    """Return the standard error of each rating on the training scale, (recordings,); NaN if it is unknown.

    It is derived from the confidence interval if the table has one, otherwise from standard deviation and number
    of votes, otherwise from their number. For targets on a logarithmic scale it is unknown.
    """
    if target.log:
        return np.full(len(votes), np.nan)
    slope, _ = target.affine
    own = np.where(np.isnan(ratings.deviation), VOTES_DEVIATION, ratings.deviation / slope)
    counted = np.where(votes >= 1, votes, np.nan)
    variance = (counted * own**2 + PRIOR_VOTES * VOTES_DEVIATION**2) / (counted + PRIOR_VOTES)
    by_votes = np.sqrt(variance / counted)
    return np.where(np.isnan(votes), ratings.half / HALF_95 / slope, by_votes)


def rating_weights(error: Array, mean: Array) -> Array:
    """Convert standard errors (recordings,) into weights, 1 on average over the ratings `mean` that are not NaN.

    A rating with an unknown error gets the median error of the others; if no error is known, all weights are 1.
    """
    known = ~np.isnan(error) & ~np.isnan(mean)
    filled = np.where(np.isnan(error), np.median(error[known]) if known.any() else 0.0, error)
    raw = TAU**2 / (TAU**2 + filled**2)
    there = ~np.isnan(mean)
    return raw / raw[there].mean() if there.any() else np.ones(len(mean))


def scorable(
    rated: Rated, keys: Sequence[str], folder: Path, progress: features.Progress, tables: str
) -> tuple[Rated, Segments]:
    """Return the recordings that have a rating of any of these targets and can be scored, and their segments.

    Raises:
        UsageError: If there are fewer than LEAST; `tables` names them.
    """
    rated = rated.take(rated.with_any(keys))
    cut = segments(rated.paths, folder, progress)
    if len(cut.scorable) < LEAST:
        why = f" (for example {cut.refused[0][0]}: {cut.refused[0][1]})" if cut.refused else ""
        raise UsageError(
            f"{tables}: {len(cut.scorable)} rated recordings can be scored{why}; training needs at least {LEAST}"
        )
    return rated.take(cut.scorable), cut


def segments(paths: Sequence[Path], folder: Path, progress: features.Progress) -> Segments:
    """Cut recordings into the segments that scoring uses.

    Args:
        paths: The recordings.
        folder: Where segments are stored as 32-bit WAV files at 16 kHz; a recording that is scored as one unchanged
            segment is not copied.
        progress: Called after each recording.
    """
    clips: list[Excerpt] = []
    recording: list[int] = []
    shares: list[float] = []
    good: list[int] = []
    refused: list[tuple[Path, str]] = []
    for index, path in enumerate(paths):
        try:
            found, weights = _segments_of(path, folder)
        except AudioError as error:
            refused.append((path, str(error)))
        else:
            clips += found
            recording += [len(good)] * len(found)
            shares += (weights / weights.sum()).tolist()
            good.append(index)
        progress(index + 1, len(paths))
    return Segments(clips, np.array(recording, dtype=np.int64), np.array(shares), good, refused)


def _segments_of(path: Path, folder: Path) -> tuple[list[Excerpt], Array]:
    """Return the segments of one recording and their weights. Raises AudioError."""
    recording = reading.read(path)
    analysis = analyse_recording(recording)
    samples = recording.samples[analysis.start : analysis.stop]
    cut = windows.cut(len(samples))
    if len(cut) == 1 and len(samples) == len(recording.samples):
        return [Excerpt(path)], np.ones(1)
    return [_stored(path, samples, analysis.start, window, folder) for window in cut], windows.weights(
        cut, samples
    )


def _stored(path: Path, samples: NDArray[np.float32], start: int, window: windows.Window, folder: Path) -> Excerpt:
    """Write a segment of the samples of a recording from `start` on as a file, unless it exists."""
    state = path.stat()
    facts = (str(path.resolve()), state.st_size, state.st_mtime_ns, start + window.start, start + window.stop)
    target = folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:20]}.wav"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".tmp.wav")
        sf.write(unfinished, samples[window.start : window.stop], SAMPLE_RATE, subtype="FLOAT")
        unfinished.replace(target)
    return Excerpt(target)


def by_hash(name: str) -> str:
    """Return a sort key in an order that does not depend on the table."""
    return hashlib.sha256(name.encode()).hexdigest()


def first_groups(groups: Sequence[str], wanted: float) -> set[str]:
    """Return the first groups by hash with at least `wanted` recordings together; one group always remains."""
    chosen: set[str] = set()
    for name in sorted(set(groups), key=by_hash)[:-1]:
        if sum(group in chosen for group in groups) >= wanted:
            break
        chosen.add(name)
    return chosen


def divided(recordings: Indices, groups: Sequence[str], most: int) -> list[Indices]:
    """Divide recordings into at most `most` parts of similar size without dividing a group."""
    members: dict[str, list[int]] = {}
    for index in recordings.tolist():
        members.setdefault(groups[index], []).append(index)
    parts: list[list[int]] = [[] for _ in range(min(most, len(members)))]
    for name in sorted(members, key=lambda name: (-len(members[name]), by_hash(name))):
        min(parts, key=len).extend(members[name])
    return [np.array(sorted(part)) for part in parts]


def folds(recordings: Indices, groups: Sequence[str]) -> list[Indices]:
    """Divide recordings into the parts of a cross-validation, by group or, within one group, by recording."""
    single = len({groups[index] for index in recordings}) < 2
    names = [str(index) for index in range(len(groups))] if single else groups
    parts = divided(recordings, names, FOLDS)
    return parts if len(recordings) < ONE_FOLD_FROM else parts[:1]


def check_groups(groups: Sequence[str], by: str) -> None:
    """Raise UsageError if all recordings are in one group; `by` is empty if recordings are the groups."""
    if len(set(groups)) > 1:
        return
    if by:
        raise UsageError(
            f"all recordings have the same group ({by} is {groups[0]!r}), so that no group can be tested separately: "
            "use another column for --by"
        )
    raise UsageError(
        f"all rows are about the same recording ({groups[0]}), so that none can be tested separately: add recordings"
    )
