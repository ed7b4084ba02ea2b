"""Other voices in the background: babble, and one competing talker.

Both are background in the sense of P.835: listeners rate the speech of one speaker, and any other
voice belongs to "the background". So they are on the noise track and count for N-MOS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.audio.level import FLOOR_DB, active_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.noise import add_at, draw_snr
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.pool import Pool, looped, pick
from mtqnet.corpus.tracks import Tracks

MIN_TALKERS, MAX_TALKERS = 2, 8
"""Voices of a babble. Two can still be distinguished; eight mask speech best (Simpson and Cooke, JASA 118, 2005)."""
MIN_COMPETING_DB, MAX_COMPETING_DB = 0.0, 30.0
"""dB, active level of the speaker over that of the competing talker. Below 0 the target speaker would be
ambiguous."""
LATEST_START = 0.6
"""Share of the clip; the competing talker begins before it."""
FADE = SAMPLE_RATE // 50
"""Samples, 20 ms: fade-in, so that a recording entered in the middle does not click."""


@dataclass(frozen=True)
class Babble:
    """Several other talkers of the same split at once, each once, at equal active levels."""

    files: tuple[str, ...]
    starts: tuple[int, ...]
    """Sample of each recording"""
    snr_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Babble:  # noqa: ARG003
        names = sorted({item.group for item in pool.speech})
        heard = rng.permutation(names)[: int(rng.integers(MIN_TALKERS, MAX_TALKERS + 1))]
        talkers = [pick([item for item in pool.speech if item.group == name], rng) for name in heard]
        starts = [int(rng.integers(round(item.seconds * SAMPLE_RATE))) for item in talkers]
        return cls(tuple(item.path for item in talkers), tuple(starts), draw_snr(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        voices = [looped(f, s, len(tracks.clean)) for f, s in zip(self.files, self.starts, strict=True)]
        levelled = [voice * 10 ** (-active_level(voice) / 20) for voice in voices]
        return add_at(tracks, np.sum(levelled, axis=0), self.snr_db)


@dataclass(frozen=True)
class CompetingTalker:
    """One competing talker, who begins within the clip. Background, see above."""

    file: str
    start: int
    """Sample of the recording"""
    at: float
    """Where in the clip the voice begins: a share of its length, 0 to 1."""
    snr_db: float
    """dB between the active levels (P.56) of the two talkers."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> CompetingTalker:  # noqa: ARG003
        item = pick(pool.speech, rng)
        start = int(rng.integers(round(item.seconds * SAMPLE_RATE)))
        snr = uniform(rng, MIN_COMPETING_DB, MAX_COMPETING_DB)
        return cls(item.path, start, uniform(rng, 0, LATEST_START), snr)

    def __call__(self, tracks: Tracks) -> Tracks:
        length = len(tracks.clean)
        begins = round(self.at * length)
        voice = np.zeros(length)
        voice[begins:] = looped(self.file, self.start, length - begins)
        voice *= np.clip((np.arange(length) - begins) / FADE, 0, 1)
        level = active_level(voice)
        if level <= FLOOR_DB:
            return tracks
        return tracks.with_noise(voice * 10 ** ((active_level(tracks.speech) - self.snr_db - level) / 20))
