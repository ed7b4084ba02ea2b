"""Causes of low quality: the kinds of degradation that a model with a causes head detects.

Probabilities are calibrated on simulated clips, whose processing is known. Several causes can be present at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cause:
    """A kind of degradation."""

    key: str
    """Name in tables and results"""
    name: str
    """Name for people"""
    advice: str
    """What usually helps, in one sentence"""


CAUSES: tuple[Cause, ...] = (
    Cause("noise", "background noise", "Move closer to the microphone, or use a noise suppressor."),
    Cause("reverberation", "reverberation", "Move closer to the microphone, or choose a room with soft surfaces."),
    Cause("clipping", "clipping or overload", "Lower the recording level."),
    Cause("band_limitation", "band limitation", "Check for a narrowband codec, or a sampling rate of 8 kHz."),
    Cause("coding", "coding", "Use a higher bit rate or a newer codec."),
    Cause("packet_loss", "packet loss or dropouts", "Check the network, the jitter buffer and the concealment."),
    Cause("suppression", "suppression artefacts", "Lower the strength of the noise suppressor, or replace it."),
)
CAUSE_KEYS: tuple[str, ...] = tuple(cause.key for cause in CAUSES)
BY_CAUSE: dict[str, Cause] = {cause.key: cause for cause in CAUSES}

SMALLEST = 1e-6
"""Smallest probability whose logarithm is used"""
PRESENT = 0.5
"""Probability from which a cause is reported"""
SHORTEST_S, WHOLE = 0.3, 0.8
"""Shortest stretch that is reported, and the fraction of the recording from which no position is given"""

Array = NDArray[np.float64]


def log_odds(probability: Array) -> Array:
    """log(p / (1 - p)) of probabilities of any shape, at most about 14 in size."""
    p = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(p / (1 - p)))


@dataclass(frozen=True)
class Calibration:
    """Calibrated log-odds = slope * log-odds + offset (Platt 1999)."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, probability: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-(self.slope * log_odds(probability) + self.offset))))


def pooled(frames: Array) -> Array:
    """Probabilities of a recording from those of its frames, (frames, causes) -> (causes,).

    Linear softmax pooling (Wang, Li and Metze, ICASSP 2019): the mean of p weighted by p, so that a short event counts.
    """
    return np.asarray((frames**2).sum(axis=0) / np.maximum(frames.sum(axis=0), 1e-6))


def calibrated(frames: Array, calibration: Mapping[str, Calibration]) -> dict[str, float]:
    """Calibrated probability of each cause of a recording from the probabilities of its frames."""
    whole = pooled(frames)
    return {key: float(each(whole[place])) for place, (key, each) in enumerate(calibration.items())}


def stretches(times_s: Array, probabilities: Array) -> list[tuple[float, float]]:
    """Find the stretches in which a cause is present.

    Args:
        times_s: Centres of the frames, (frames,).
        probabilities: Of one cause, (frames,).

    Returns:
        Begin and end in seconds, the longest first.
    """
    if len(times_s) < 2:
        return []
    half = float(np.median(np.diff(times_s))) / 2
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (probabilities >= PRESENT).astype(int), [0]])))
    found = [
        (float(times_s[start]) - half, float(times_s[stop - 1]) + half)
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    ]
    return sorted((each for each in found if each[1] - each[0] >= SHORTEST_S), key=lambda each: each[0] - each[1])


def clock(seconds: float) -> str:
    """Format a time as minutes and seconds, such as "1:02.5"."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def describe(
    causes: Mapping[str, float], times_s: Array | None = None, frames: Array | None = None,
    keys: Sequence[str] = CAUSE_KEYS,
) -> str:  # fmt: skip
    """Describe the causes of a recording in a sentence with a suggestion; empty if none is present.

    Args:
        causes: Probability by cause.
        times_s: Centres of the frames, (frames,), for positions.
        frames: Probabilities of the frames, (frames, causes).
        keys: Causes of the columns of `frames`.

    >>> describe({"packet_loss": 0.9})
    'Packet loss or dropouts. Check the network, the jitter buffer and the concealment.'
    """
    present = sorted((key for key, p in causes.items() if p >= PRESENT), key=lambda key: -causes[key])
    if not present:
        return ""
    texts = []
    for key in present:
        where = ""
        if times_s is not None and frames is not None and len(times_s) > 1:
            found = stretches(times_s, frames[:, list(keys).index(key)])
            total = float(times_s[-1] - times_s[0])
            if found and sum(stop - start for start, stop in found) < WHOLE * total:
                where = f" between {clock(max(0.0, found[0][0]))} and {clock(found[0][1])}"
        texts.append(BY_CAUSE[key].name + where)
    sentence = ", ".join(texts)
    return f"{sentence[0].upper()}{sentence[1:]}. {BY_CAUSE[present[0]].advice}"
