"""Scores over time, to find out where a recording is bad.

The frame scores of a model with `local` in its record follow the quality within a window; this module averages them.
Those of another model are trained to agree with the score of the whole window and hardly change within it: for such a
model, this module scores a stretch of 3 s around each point in time.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import reading
from mtqnet.audio.decoding import ArraySource
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import AudioError, TooShortError, with_file
from mtqnet.scoring.batch import PathLike
from mtqnet.scoring.predictor import Audio, Predictor, Progress, cached, source_of
from mtqnet.scoring.scores import Scores, Track

STRETCH_S = 3.0
"""Length of a stretch in seconds: that of the shortest training clips"""
HOP_S = 0.5
"""Seconds from one value to the next in recordings of up to HOP_S * MAX_VALUES"""
MAX_VALUES = 600
"""Values of a longer recording: they take as long as scoring half an hour of audio"""


def over_time(audio: Audio, rate: float | None = None, *, model: PathLike | Predictor = "base") -> Track:
    """Score a recording over time.

    Args:
        audio: As for `Predictor.score`.
        rate: Sample rate in Hz; required for samples, not allowed otherwise.
        model: A model as for `Predictor`, or a Predictor.

    Returns:
        Means of the frame scores over 0.5 s, or over longer pieces of a recording of more than 5 minutes. For a model
        whose frame scores do not follow the signal (no `local` in its record): scores of overlapping segments of 3 s,
        which are shorter at the ends of the recording; segments that cannot be scored, such as pauses, are omitted.
        `times_s` contains the centres.

    Raises:
        TooShortError: The recording is not longer than 3 s.
        AudioError: The recording cannot be read, or fewer than two segments can be scored.
        UsageError: Invalid arguments, for example samples without a rate.

    >>> track = mtqnet.over_time("call.wav")             # doctest: +SKIP
    >>> track.times_s[track.values[:, 2].argmin()]       # where G-MOS is lowest; doctest: +SKIP
    """
    predictor = model if isinstance(model, Predictor) else cached(model)
    try:
        source = source_of(audio, rate)
        longest = math.inf if isinstance(source, ArraySource) else reading.MAX_HELD_S
        samples = reading.hold(reading.MonoSignal(source), longest).samples
    except AudioError as error:
        if not isinstance(audio, (str, os.PathLike)):
            raise
        raise with_file(error, os.fspath(audio)) from error
    track = local_track(predictor, samples)
    if track is not None:
        return track
    seconds = len(samples) / SAMPLE_RATE
    if seconds <= STRETCH_S:
        raise TooShortError(f"{seconds:.2f} s long: scores over time need more than {STRETCH_S:g} s")
    raise AudioError("fewer than two stretches of the recording can be scored: it is almost silent")


def local_track(predictor: Predictor, samples: Samples, progress: Progress | None = None) -> Track | None:
    """Score (samples,) at 16 kHz around each moment; None where `over_time` raises an error."""
    if predictor.record.local and len(samples) > STRETCH_S * SAMPLE_RATE:
        track = predictor.score(samples, SAMPLE_RATE).track
        return None if track is None else averaged(track, len(samples) / SAMPLE_RATE)
    half, end = round(STRETCH_S * SAMPLE_RATE / 2), len(samples)
    if end <= 2 * half:
        return None
    count = values(end / SAMPLE_RATE)
    centres = ((np.arange(count) + 0.5) * end / count).astype(int)
    times, rows = [], []
    for number, centre in enumerate(centres, 1):
        scores = predictor.score(samples[max(0, centre - half) : centre + half], SAMPLE_RATE)
        if scores.error is None:
            times.append(centre / SAMPLE_RATE)
            rows.append([scores.value(key) for key in predictor.record.targets])
        if progress is not None:
            progress(number / count)
    if len(times) < 2:
        return None
    return Track(np.array(times), np.array(rows, dtype=np.float64), predictor.record.targets)


def values(seconds: float) -> int:
    """Return the number of stretches that are scored in a recording of this duration."""
    return min(math.ceil(seconds / HOP_S), MAX_VALUES)


def averaged(track: Track, seconds: float) -> Track:
    """Average a track over HOP_S; over longer pieces if there were more than MAX_VALUES.

    Args:
        track: Frame scores.
        seconds: Duration of the recording.
    """
    count = max(1, values(seconds))
    piece = np.minimum((track.times_s / seconds * count).astype(int), count - 1)
    starts = np.flatnonzero(np.diff(piece, prepend=-1))
    sizes = np.diff(np.append(starts, len(piece)))[:, None]

    def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.add.reduceat(values, starts, axis=0) / sizes)

    causes = None if track.causes is None else means(track.causes)
    return Track(means(track.times_s[:, None])[:, 0], means(track.values), track.targets, causes, track.cause_keys)


def with_local_track(
    predictor: Predictor, samples: Samples, scores: Scores, progress: Progress | None = None
) -> Scores:
    """Return these scores of (samples,) with the track of `local_track`, if there is one."""
    track = local_track(predictor, samples, progress)
    return scores if track is None else replace(scores, track=track)
