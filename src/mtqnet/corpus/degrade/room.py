"""Rooms: speech through an impulse response whose direct path is at sample 0 and has gain 1.

So the clean reference stays the dry speech, without delay; the room's part is distortion of the speech track.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.degrade.step import draw_seed, uniform
from mtqnet.corpus.pool import Pool, load, pick
from mtqnet.corpus.tracks import Tracks
from mtqnet.errors import CorpusError
from mtqnet.signal.audio import SAMPLE_RATE
from mtqnet.signal.level import fast_length

MAX_RESPONSE_S = 2.0
"""Seconds of a response that are used."""
DIRECT_S = 0.0025
"""Seconds after the peak that belong to the direct path."""


def _reverberate(tracks: Tracks, response: NDArray[np.float64]) -> Tracks:
    length = len(tracks.clean)
    size = fast_length(length + len(response))
    wet = np.fft.irfft(np.fft.rfft(tracks.speech, size) * np.fft.rfft(response, size), size)[:length]
    return tracks.with_speech(wet)


@dataclass(frozen=True)
class MeasuredRoom:
    """A measured response, with its reverberant part made louder or softer against the direct path."""

    file: str
    tail_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> MeasuredRoom:  # noqa: ARG003
        if not pool.rooms:
            raise CorpusError("a measured room was asked for, but this split has none")
        return cls(pick(pool.rooms, rng).path, uniform(rng, -12, 3))

    def __call__(self, tracks: Tracks) -> Tracks:
        measured = load(self.file).astype(np.float64)
        peak = int(np.argmax(np.abs(measured)))
        response = measured[peak : peak + round(MAX_RESPONSE_S * SAMPLE_RATE)] / measured[peak]
        response[round(DIRECT_S * SAMPLE_RATE) :] *= 10 ** (self.tail_db / 20)
        return _reverberate(tracks, response)


@dataclass(frozen=True)
class DecayRoom:
    """Polack's statistical room: Gaussian noise that decays by 60 dB in `rt60_s`, behind a direct path.

    J.-D. Polack, "La transmission de l'énergie sonore dans les salles", 1988.
    """

    rt60_s: float
    direct_to_reverberant_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> DecayRoom:  # noqa: ARG003
        return cls(uniform(rng, 0.1, 1.2), uniform(rng, -6, 18), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        length = round(min(1.5 * self.rt60_s, MAX_RESPONSE_S) * SAMPLE_RATE)
        time = np.arange(length) / SAMPLE_RATE
        tail = np.random.default_rng(self.seed).standard_normal(length) * 10 ** (-3 * time / self.rt60_s)
        tail[: round(DIRECT_S * SAMPLE_RATE)] = 0.0
        tail *= 10 ** (-self.direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
        tail[0] = 1.0
        return _reverberate(tracks, tail)
