"""Scores over time that follow what is heard: those of a short stretch about each moment.

The own frame scores of a network (`Scores.track`) are what its score is the mean of. They are taught to agree with
the whole, and within a window they hardly move. To see where a recording is bad, score it in stretches.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.scoring.predictor import PathLike, Predictor, cached
from mtqnet.scoring.scores import Scores, Track

STRETCH_S = 3.0
"""Seconds that each value was taken from: the shortest clips that the models were trained on"""
HOP_S = 0.5
"""Seconds from one value to the next, in recordings of up to HOP_S * MOST"""
MOST = 600
"""Values of longer recordings; scoring these takes as long as scoring half an hour"""


def over_time(
    audio_or_path: PathLike | ArrayLike, rate: float | None = None, *, model: PathLike | Predictor = "base"
) -> Track | None:
    """What a recording scores about each moment: a path, or samples with their `rate`.

    Its `times_s` (values,) are the middles of stretches of STRETCH_S, which the ends of the recording may cut to
    a half; `values` (values, targets). A stretch that has no score, such as a pause, is left out. None for a
    recording that is no longer than a stretch. Raises AudioError where it cannot be read, UsageError for an array
    without rate or a path with one.

    >>> track = mtqnet.over_time("call.wav")             # doctest: +SKIP
    >>> track.times_s[track.values[:, 2].argmin()]       # where G-MOS is lowest; doctest: +SKIP
    """
    predictor = model if isinstance(model, Predictor) else cached(model)
    if not isinstance(audio_or_path, (str, os.PathLike)):
        return local_track(predictor, reading.from_array(audio_or_path, rate).samples)
    reading.check_no_rate(rate)
    return local_track(predictor, reading.read(os.fspath(audio_or_path)).samples)


def local_track(predictor: Predictor, samples: Samples) -> Track | None:
    """As `over_time`, of (samples,) at 16 kHz."""
    half, end = round(STRETCH_S * SAMPLE_RATE / 2), len(samples)
    if end <= 2 * half:
        return None
    count = min(math.ceil(end / (HOP_S * SAMPLE_RATE)), MOST)
    moments = ((np.arange(count) + 0.5) * end / count).astype(int)  # middles, as those of frames
    times, rows = [], []
    for moment in moments:
        scores = predictor.score(samples[max(0, moment - half) : moment + half], SAMPLE_RATE)
        if scores.error is None:
            times.append(moment / SAMPLE_RATE)
            rows.append([scores.value(key) for key in predictor.record.targets])
    if len(times) < 2:
        return None
    return Track(np.array(times), np.array(rows, dtype=np.float64), predictor.record.targets)


def with_local_track(predictor: Predictor, samples: Samples, scores: Scores) -> Scores:
    """These scores of (samples,) with their track by stretches; as they are where there is none."""
    track = local_track(predictor, samples)
    return scores if track is None else replace(scores, track=track)
