"""Background noise and voices: recorded, white, coloured, of changing level, babble, and one competing talker.

SNR: active speech level (ITU-T P.56) over noise RMS, in dB. Other voices are background in the sense of P.835, which
rates the speech of one speaker: they are on the noise track and count for N-MOS. Hum, wind and clicks: events.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import Tracks, draw_seed, uniform
from mtqnet.corpus.pool import Pool, looped, pick

MIN_SNR_DB, MAX_SNR_DB = -10.0, 50.0
"""dB; from speech that drowns to noise that only a quiet room shows."""
USUAL_SNR_DB = (-5.0, 40.0)
"""dB; where opinions of the background move, from "very intrusive" to "not noticeable" (P.835's scale)."""
USUAL_SHARE = 0.8
"""Chance that an SNR is drawn from the usual range. Beyond it opinions hardly differ any more: a few clips there
teach the ends of the scale."""
MODULATION_WIDTH = 0.35
"""Width of the band of level modulation, relative to its middle: gusts and syllables come at no fixed pace."""


def add_at(tracks: Tracks, noise: NDArray[np.floating], snr_db: float) -> Tracks:
    """Add noise, (samples,), with the speech track's active level snr_db above it. Silent noise has no effect."""
    level = rms_level(noise)
    if level <= FLOOR_DB:
        return tracks
    gain = 10 ** ((active_level(tracks.speech) - snr_db - level) / 20)
    return tracks.with_noise(noise * gain)


def draw_snr(rng: np.random.Generator) -> float:
    low, high = USUAL_SNR_DB if rng.random() < USUAL_SHARE else (MIN_SNR_DB, MAX_SNR_DB)
    return uniform(rng, low, high)


def coloured(length: int, slope_db: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(length,) of Gaussian noise whose spectrum falls by slope_db an octave from 50 Hz on."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 50.0)
    return np.fft.irfft(spectrum * (hertz / 1000) ** (-slope_db / 6.02), length)


def fluctuation(length: int, depth_db: float, rate_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(length,) gain that wanders about rate_hz times a second between -depth_db and 0 dB, reaching both."""
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    band = np.exp(-0.5 * ((hertz / rate_hz - 1) / MODULATION_WIDTH) ** 2)
    band[0] = 0.0
    wave = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * band, length)
    wave -= wave.max(initial=0.0)
    deepest = -wave.min(initial=0.0)
    return np.asarray(10 ** (wave / deepest * depth_db / 20)) if deepest > 0 else np.ones(length)


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
        return add_at(tracks, _rng(self.seed).standard_normal(len(tracks.clean)), self.snr_db)


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
        return add_at(tracks, coloured(len(tracks.clean), self.slope_db, _rng(self.seed)), self.snr_db)


@dataclass(frozen=True)
class ModulatedNoise:
    """Coloured noise whose level wanders, from a slow drift to the pace of syllables.

    Speech itself is modulated most at 4 Hz (Houtgast and Steeneken, JASA 77, 1985): noise that is too sounds
    like voices, and an estimator of stationary noise misses it.
    """

    slope_db: float
    """dB an octave, as in ColouredNoise."""
    depth_db: float
    """dB between the loudest and the softest moment."""
    rate_hz: float
    """Changes a second."""
    snr_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> ModulatedNoise:  # noqa: ARG003
        rate = round(0.3 * 30 ** float(rng.random()), 3)  # 0.3 to 9 Hz, equal chance for each octave
        return cls(uniform(rng, -3, 9), uniform(rng, 6, 40), rate, draw_snr(rng), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        rng, length = _rng(self.seed), len(tracks.clean)
        noise = coloured(length, self.slope_db, rng) * fluctuation(length, self.depth_db, self.rate_hz, rng)
        return add_at(tracks, noise, self.snr_db)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


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
