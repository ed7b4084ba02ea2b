"""Background noise: recorded, coloured, and babble. SNR: active speech level (ITU-T P.56) over noise RMS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.degrade.step import draw_seed, uniform
from mtqnet.corpus.pool import Pool, looped, pick
from mtqnet.corpus.tracks import Tracks
from mtqnet.signal.audio import SAMPLE_RATE
from mtqnet.signal.level import FLOOR_DB, active_level, rms_level

MIN_SNR_DB, MAX_SNR_DB = -5.0, 45.0


def add_at(tracks: Tracks, noise: NDArray[np.floating], snr_db: float) -> Tracks:
    """Add noise, (samples,), with the speech track's active level snr_db above it. Silence adds nothing."""
    level = rms_level(noise)
    if level <= FLOOR_DB:
        return tracks
    gain = 10 ** ((active_level(tracks.speech) - snr_db - level) / 20)
    return tracks.with_noise(noise * gain)


def draw_snr(rng: np.random.Generator) -> float:
    return uniform(rng, MIN_SNR_DB, MAX_SNR_DB)


@dataclass(frozen=True)
class RecordedNoise:
    """A stretch of a recording."""

    file: str
    start: int
    """Sample"""
    snr_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> RecordedNoise:
        item = pick(pool.noise, rng)
        last = max(1, round(item.seconds * SAMPLE_RATE) - samples)
        return cls(item.path, int(rng.integers(last)), draw_snr(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        return add_at(tracks, looped(self.file, self.start, len(tracks.clean)), self.snr_db)


@dataclass(frozen=True)
class WhiteNoise:
    """Stationary white Gaussian noise: the noise of the P.835 reference conditions."""

    snr_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> WhiteNoise:  # noqa: ARG003
        return cls(draw_snr(rng), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        return add_at(tracks, np.random.default_rng(self.seed).standard_normal(len(tracks.clean)), self.snr_db)


@dataclass(frozen=True)
class ColouredNoise:
    """Stationary Gaussian noise whose spectrum falls by `slope_db` an octave: 0 white, 3 pink, 6 brown."""

    slope_db: float
    snr_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> ColouredNoise:  # noqa: ARG003
        return cls(uniform(rng, -3, 9), draw_snr(rng), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        length = len(tracks.clean)
        spectrum = np.fft.rfft(np.random.default_rng(self.seed).standard_normal(length))
        hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 50.0)
        return add_at(
            tracks, np.fft.irfft(spectrum * (hertz / 1000) ** (-self.slope_db / 6.02), length), self.snr_db
        )


@dataclass(frozen=True)
class Babble:
    """Several other talkers of the same split at once, each once, at equal active levels."""

    files: tuple[str, ...]
    starts: tuple[int, ...]
    snr_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Babble:  # noqa: ARG003
        names = sorted({item.group for item in pool.speech})
        heard = rng.permutation(names)[: int(rng.integers(3, 9))]
        talkers = [pick([item for item in pool.speech if item.group == name], rng) for name in heard]
        starts = [int(rng.integers(round(item.seconds * SAMPLE_RATE))) for item in talkers]
        return cls(tuple(item.path for item in talkers), tuple(starts), draw_snr(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        voices = [looped(f, s, len(tracks.clean)) for f, s in zip(self.files, self.starts, strict=True)]
        levelled = [voice * 10 ** (-active_level(voice) / 20) for voice in voices]
        return add_at(tracks, np.sum(levelled, axis=0), self.snr_db)
