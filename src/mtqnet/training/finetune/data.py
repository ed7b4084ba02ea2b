"""Ratings, recordings and labels for fine-tuning.

    ratings     a table's labels, each with a weight in the loss
    recordings  the audio that scoring would use, in the windows that it would use
    labels      of rated targets the ratings; of all other targets the predictions of the original model, which
                regularise fine-tuning like the pseudo labels of MPL. Unlabelled audio has only the latter

A rating is the mean of some votes. Its standard error is the expected difference from the mean of many more votes;
its weight in the loss is tau^2 / (tau^2 + error^2), divided by the mean over the table. tau is the model's own
error, so that a thousand votes have little more weight than a hundred.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio import reading, windows
from mtqnet.audio.analysis import analyse_recording
from mtqnet.audio.reading import Excerpt, Recording
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import AudioError, UsageError
from mtqnet.evaluation.ratings import Ratings, RatingTable
from mtqnet.evaluation.recordings import locate
from mtqnet.scoring.intervals import DISTANCE
from mtqnet.targets import BY_KEY, Target, named
from mtqnet.training import trainer
from mtqnet.training.batches import Dataset
from mtqnet.training.features import Clip
from mtqnet.training.model import Network

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

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called with the number of finished recordings and of all"""


@dataclass(frozen=True)
class Rated:
    """Recordings and their ratings. Arrays are (recordings,)."""

    names: tuple[str, ...]
    """As in the table"""
    paths: tuple[Path, ...]
    labels: Mapping[str, Array]
    """By target; NaN without a rating"""
    weights: Mapping[str, Array]
    """By target: weight of each rating in the loss, 1 on average"""
    groups: tuple[str, ...]
    """Recordings of the same group are never divided between training and test data"""
    weighting: str
    """Description of the weights for people"""

    def with_any(self, keys: Sequence[str]) -> list[int]:
        """Return the indices of the recordings with a rating of any of these targets."""
        known = [~np.isnan(self.labels[key]) for key in keys]
        return [int(index) for index in np.flatnonzero(np.any(known, axis=0))]

    def take(self, indices: Sequence[int]) -> Rated:
        """Return the recordings at these indices."""
        at = list(indices)
        return Rated(
            tuple(self.names[index] for index in at),
            tuple(self.paths[index] for index in at),
            {key: values[at] for key, values in self.labels.items()},
            {key: values[at] for key, values in self.weights.items()},
            tuple(self.groups[index] for index in at),
            self.weighting,
        )


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


@dataclass(frozen=True)
class Sound:
    """Features of the segments of some recordings."""

    clips: Sequence[Clip]
    recording: Indices
    """(segments,)"""
    shares: Array
    """(segments,)"""
    recordings: int
    """Number of recordings"""

    def segments(self, recordings: Indices) -> Indices:
        """Return the indices of the segments of these recordings."""
        return np.flatnonzero(np.isin(self.recording, recordings))


@dataclass(frozen=True)
class TuningData:
    """Segments of rated recordings, followed by those of unlabelled ones."""

    data: Dataset
    """Labels and weights of all heads, (segments,) each"""
    sound: Sound
    """The rated recordings"""
    truth: Mapping[str, Array]
    """Ratings (recordings,) by target; NaN without a rating"""
    weights: Mapping[str, Array]
    """Weights of the ratings, (recordings,) by target"""
    tuned: tuple[str, ...]
    """Targets that are trained on ratings"""
    unlabelled: Indices
    """Segments whose labels are the original model's predictions alone"""


def rated(table: RatingTable, folder: Path, by: str) -> Rated:
    """Find the recordings of a table and weight their ratings.

    Args:
        table: The ratings.
        folder: Folder that the table's file names are relative to.
        by: Column of the groups; empty: every recording is a group.

    Raises:
        UsageError: If the ratings are on another scale, or a recording has no group.
    """
    for key, ratings in table.ratings.items():
        _check_scale(BY_KEY[key], ratings)
    paths = locate(table.files, folder)
    groups = table.column(by) if by else table.files
    if by and "" in groups:
        raise UsageError(f"{table.path}, row {groups.index('') + 1}: the column {by!r} is empty: enter its group")
    errors = {key: standard_error(BY_KEY[key], r, table.votes) for key, r in table.ratings.items()}
    return Rated(
        table.files,
        tuple(paths),
        {key: ratings.mean for key, ratings in table.ratings.items()},
        {key: rating_weights(errors[key], table.ratings[key].mean) for key in errors},
        groups,
        _weighting(table),
    )


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


def segments(paths: Sequence[Path], folder: Path, progress: Progress) -> Segments:
    """Cut recordings into the segments that scoring uses.

    Args:
        paths: The recordings. folder: Where segments are stored as 32-bit WAV files at 16 kHz; a recording that is
        scored as one unchanged
            segment is not copied.
        progress: Called after each recording.
    """
    clips: list[Excerpt] = []
    recording: list[int] = []
    shares: list[float] = []
    scorable: list[int] = []
    refused: list[tuple[Path, str]] = []
    for index, path in enumerate(paths):
        try:
            found, weights = _segments_of(path, folder)
        except AudioError as error:
            refused.append((path, str(error)))
        else:
            clips += found
            recording += [len(scorable)] * len(found)
            shares += (weights / weights.sum()).tolist()
            scorable.append(index)
        progress(index + 1, len(paths))
    return Segments(clips, np.array(recording, dtype=np.int64), np.array(shares), scorable, refused)


def tuning_data(
    network: Network,
    sound: Sound,
    labels: Mapping[str, Array],
    weights: Mapping[str, Array],
    tuned: tuple[str, ...],
    unlabelled: Sequence[Clip],
) -> TuningData:
    """Assign labels and weights to all segments.

    Args:
        network: The original model, which predicts the labels of the targets that are not in `tuned`.
        sound: The rated recordings.
        labels: Ratings (recordings,) by target; NaN without a rating.
        weights: Their weights.
        tuned: Targets that are trained on ratings.
        unlabelled: Segments of unlabelled recordings.
    """
    clips = [*sound.clips, *unlabelled]
    predicted = trainer.predict(network, Dataset(clips, {}))
    unknown, none, one = (np.full(len(unlabelled), value) for value in (np.nan, 0.0, 1.0))
    of_segments: dict[str, Array] = {}
    counts: dict[str, Array] = {}
    for target in named(network.targets):
        key = target.key
        if key in tuned:
            of_segments[key] = np.concatenate([labels[key][sound.recording], unknown])
            counts[key] = np.concatenate([weights[key][sound.recording] * sound.shares, none])
        else:
            of_segments[key] = predicted[key].clip(target.low, target.high)
            counts[key] = np.concatenate([sound.shares, one])
    indices = np.arange(len(sound.clips), len(clips))
    return TuningData(Dataset(clips, of_segments, counts), sound, labels, weights, tuned, indices)


def scores(network: Network, sound: Sound, recordings: Indices) -> dict[str, Array]:
    """Predict the scores of these recordings, (recordings,) by target, combined and limited as in scoring."""
    chosen = sound.segments(recordings)
    predicted = trainer.predict(network, Dataset([sound.clips[index] for index in chosen], {}))
    return {
        target.key: _mean(sound, recordings, chosen, predicted[target.key]).clip(target.low, target.high)
        for target in named(network.targets)
    }


def distances(network: Network, sound: Sound, recordings: Indices) -> dict[str, Array]:
    """Return the distances of these recordings from the training clips by the key DISTANCE, combined as in scoring.

    Empty for a network that does not measure them.
    """
    if network.distance is None:
        return {}
    chosen = sound.segments(recordings)
    found = trainer.distances(network, Dataset([sound.clips[index] for index in chosen], {}))
    return {DISTANCE: _mean(sound, recordings, chosen, found)}


def _mean(sound: Sound, recordings: Indices, chosen: Indices, values: Array) -> Array:
    """Average values of these segments within each recording, weighted by their parts of it: (recordings,)"""
    order = np.full(sound.recordings, -1)
    order[recordings] = np.arange(len(recordings))
    mean = np.zeros(len(recordings))
    np.add.at(mean, order[sound.recording[chosen]], sound.shares[chosen] * values)
    return mean


def _check_scale(target: Target, ratings: Ratings) -> None:
    known = ratings.mean[~np.isnan(ratings.mean)]
    outside = (known < target.low) | (known > target.high)
    if not ratings.same_scale or (len(known) and outside.mean() > 0.5):
        raise UsageError(
            f"the ratings in column {ratings.column!r} are not on the scale of {target.name}, {target.low:g} to "
            f"{target.high:g}: convert them first"
        )


def _weighting(table: RatingTable) -> str:
    votes = not np.isnan(table.votes).all()
    deviations = any(not np.isnan(r.deviation).all() for r in table.ratings.values())
    half = any(not np.isnan(r.half).all() for r in table.ratings.values())
    if votes:
        return "ratings are weighted by their votes" + (" and standard deviations" if deviations else "")
    if half:
        return "ratings are weighted by their 95 % intervals"
    return "all ratings have the same weight, because the table has no votes"


def _segments_of(path: Path, folder: Path) -> tuple[list[Excerpt], Array]:
    """Return the segments of one recording and their weights. Raises AudioError."""
    recording = reading.read(path)
    analysis = analyse_recording(recording)
    start, stop = analysis.start, analysis.stop
    samples = recording.samples[start:stop]
    cut = windows.cut(len(samples))
    if len(cut) == 1 and len(samples) == len(recording.samples):
        return [Excerpt(path)], np.ones(1)
    return [_stored(path, recording, start, window, folder) for window in cut], windows.weights(cut, samples)


def _stored(path: Path, recording: Recording, start: int, window: windows.Window, folder: Path) -> Excerpt:
    """Write a segment as a file, unless it exists."""
    state = path.stat()
    facts = (str(path.resolve()), state.st_size, state.st_mtime_ns, start + window.start, start + window.stop)
    target = folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:20]}.wav"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        samples = recording.samples[start + window.start : start + window.stop]
        unfinished = target.with_suffix(".tmp.wav")
        sf.write(unfinished, samples, SAMPLE_RATE, subtype="FLOAT")
        unfinished.replace(target)
    return Excerpt(target)
