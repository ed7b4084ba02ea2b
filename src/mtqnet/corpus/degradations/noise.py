"""Background noise: recorded, white, coloured, of changing level, other voices, hum, wind and clicks.

SNR: active speech level (ITU-T P.56) over noise RMS, in dB. Other voices are background in the sense of P.835, which
rates the speech of one speaker: they are on the noise track and count for N-MOS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import (
    Drawn,
    Tracks,
    a_seed,
    between,
    draw_seed,
    drawn,
    one_of,
    uniform,
    whole,
)
from mtqnet.corpus.sources import Pool, looped, pick

MIN_SNR_DB, MAX_SNR_DB = -10.0, 50.0
"""dB; from speech that drowns to noise that only a quiet room shows."""
USUAL_SNR_DB = (-5.0, 40.0)
"""dB; where opinions of the background move, from "very intrusive" to "not noticeable" (P.835's scale)."""
MODULATION_WIDTH = 0.35
"""Width of the band of level modulation, relative to its middle: gusts and syllables come at no fixed pace."""
MIN_TALKERS, MAX_TALKERS = 2, 8
"""Voices of a babble. Two can still be distinguished; eight mask speech best (Simpson and Cooke, JASA 118, 2005)."""
MIN_COMPETING_DB, MAX_COMPETING_DB = 0.0, 30.0
"""dB, active level of the speaker over that of the competing talker. Below 0 the target speaker would be ambiguous."""
LATEST_START = 0.6
"""Share of the clip; the competing talker begins before it."""
FADE = SAMPLE_RATE // 50
"""Samples, 20 ms: fade-in, so that a recording entered in the middle does not click."""
MAINS_HZ = (50, 60)
"""Hz; the two mains frequencies of the world (IEC 60196)."""
RAGGED_DB = 6.0
"""dB; harmonics of hum stray this far from an even fall (transformers: odd ones, rectifiers: even)."""
WIND_ORDER = 3
"""Order of the fall of wind noise beyond its corner: 18 dB an octave. Wind noise in microphones is mostly below 500
Hz and falls with frequency (Nelke and Vary, IWAENC 2014); with the corners drawn here it is below 300 Hz."""
MIN_WIND_SNR_DB, MAX_WIND_SNR_DB = -15.0, 25.0
"""dB. The ear (A-weighting: -19 dB at 100 Hz) takes wind for far softer than its power, so it is drawn louder."""
CLICK_SPREAD_DB = 12.0
"""dB; clicks are up to so much softer than the loudest."""
SWINGS = ("rise", "fall", "lull")


def add_at(tracks: Tracks, noise: NDArray[np.floating], snr_db: float) -> Tracks:
    """Add noise, (samples,), with the speech track's active level snr_db above it. Silent noise has no effect."""
    level = rms_level(noise)
    if level <= FLOOR_DB:
        return tracks
    gain = 10 ** ((active_level(tracks.speech) - snr_db - level) / 20)
    return tracks.with_noise(noise * gain)


def draw_snr(rng: np.random.Generator) -> float:
    """Mostly of the usual range: beyond it opinions hardly differ, and a few clips teach the ends of the scale."""
    low, high = USUAL_SNR_DB if rng.random() < 0.8 else (MIN_SNR_DB, MAX_SNR_DB)
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
class WhiteNoise(Drawn):
    """Stationary white Gaussian noise: the noise of the P.835 reference conditions."""

    snr_db: float = drawn(draw_snr)
    seed: int = a_seed()

    def __call__(self, tracks: Tracks) -> Tracks:
        return add_at(tracks, np.random.default_rng(self.seed).standard_normal(len(tracks.clean)), self.snr_db)


@dataclass(frozen=True)
class ColouredNoise(Drawn):
    """Stationary Gaussian noise whose spectrum falls by `slope_db` an octave: 0 white, 3 pink, 6 brown."""

    slope_db: float = between(-3, 9)
    snr_db: float = drawn(draw_snr)
    seed: int = a_seed()

    def __call__(self, tracks: Tracks) -> Tracks:
        return add_at(
            tracks, coloured(len(tracks.clean), self.slope_db, np.random.default_rng(self.seed)), self.snr_db
        )


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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> ModulatedNoise:
        rate = round(0.3 * 30 ** float(rng.random()), 3)  # 0.3 to 9 Hz, equal chance for each octave
        return cls(uniform(rng, -3, 9), uniform(rng, 6, 40), rate, draw_snr(rng), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        rng, length = np.random.default_rng(self.seed), len(tracks.clean)
        noise = coloured(length, self.slope_db, rng) * fluctuation(length, self.depth_db, self.rate_hz, rng)
        return add_at(tracks, noise, self.snr_db)


@dataclass(frozen=True)
class Babble:
    """Several other talkers of the same split at once, each once, at equal active levels."""

    files: tuple[str, ...]
    starts: tuple[int, ...]
    """Sample of each recording"""
    snr_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Babble:
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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> CompetingTalker:
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


@dataclass(frozen=True)
class MainsHum(Drawn):
    """The mains frequency and its multiples, steady lines in random phase."""

    mains_hz: int = one_of(*MAINS_HZ)
    harmonics: int = whole(3, 24)
    """Lines in all, the mains frequency the first."""
    decay_db: float = between(0, 4)
    """dB by which each line is softer than the one before, on average."""
    snr_db: float = drawn(draw_snr)
    seed: int = a_seed()
    """For phases and for the lines' straying from an even fall."""

    def __call__(self, tracks: Tracks) -> Tracks:
        rng = np.random.default_rng(self.seed)
        time = np.arange(len(tracks.clean)) / SAMPLE_RATE
        hum = np.zeros_like(time)
        for line in range(1, self.harmonics + 1):
            level = -self.decay_db * (line - 1) + rng.uniform(-RAGGED_DB, RAGGED_DB)
            phase = rng.uniform(0, 2 * np.pi)
            if line * self.mains_hz < SAMPLE_RATE / 2:
                hum += 10 ** (level / 20) * np.sin(2 * np.pi * line * self.mains_hz * time + phase)
        return add_at(tracks, hum, self.snr_db)


@dataclass(frozen=True)
class WindBursts:
    """Gusts on the microphone: rumble below a corner frequency, strongly modulated."""

    corner_hz: float
    gust_hz: float
    """Gusts a second, about."""
    depth_db: float
    """dB between the strongest gust and the lull."""
    snr_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> WindBursts:
        snr = uniform(rng, MIN_WIND_SNR_DB, MAX_WIND_SNR_DB)
        return cls(uniform(rng, 50, 200), uniform(rng, 0.3, 2), uniform(rng, 15, 40), snr, draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        rng, length = np.random.default_rng(self.seed), len(tracks.clean)
        hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 1.0)
        shape = 1 / np.sqrt(1 + (hertz / self.corner_hz) ** (2 * WIND_ORDER))
        shape /= np.sqrt(1 + (20.0 / hertz) ** 4)  # microphones transmit no lower frequencies
        rumble = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * shape, length)
        return add_at(tracks, rumble * fluctuation(length, self.depth_db, self.gust_hz, rng), self.snr_db)


@dataclass(frozen=True)
class Clicks:
    """Impulses, or short decaying resonances, at random times: bad contacts, keys, knocks on the device."""

    per_second: float
    level_db: float
    """Peak of the loudest click over the peak of the speech, in dB."""
    decay_ms: float
    """Time constant of the resonance; 0 makes each click one sample."""
    hertz: float
    """Frequency of the resonance."""
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Clicks:
        decay = 0.0 if rng.random() < 0.3 else uniform(rng, 0.2, 8)
        level = uniform(rng, -30, 3)
        return cls(uniform(rng, 0.5, 20), level, decay, uniform(rng, 300, 5000), draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        rng, length = np.random.default_rng(self.seed), len(tracks.clean)
        count = max(1, round(self.per_second * length / SAMPLE_RATE))
        softer_db = rng.uniform(0, CLICK_SPREAD_DB, count)
        softer_db[0] = 0.0
        hits = np.zeros(length)
        hits[rng.integers(length, size=count)] = 10 ** (-softer_db / 20) * rng.choice([-1.0, 1.0], count)
        clicks = np.convolve(hits, self._sound())[:length]
        peak = float(np.abs(tracks.speech).max(initial=0.0))
        return tracks.with_noise(clicks * (peak * 10 ** (self.level_db / 20)))

    def _sound(self) -> NDArray[np.float64]:
        """One click, beginning with 1."""
        if self.decay_ms == 0:
            return np.ones(1)
        time = np.arange(round(7 * self.decay_ms / 1000 * SAMPLE_RATE) + 1) / SAMPLE_RATE  # down to -60 dB
        return np.asarray(np.exp(-time * 1000 / self.decay_ms) * np.cos(2 * np.pi * self.hertz * time))


@dataclass(frozen=True)
class NoiseSwing:
    """The level of the background changes within the clip; acts on the noise that is there, never on the speech.

    The loud part keeps its level; the soft part is `depth_db` below it. "rise": soft before `at`, loud after;
    "fall": the other way round; "lull": soft about `at`. A chain without noise is left as it is.
    """

    shape: str
    depth_db: float
    at: float
    """Middle of the change, or of the lull: share of the clip, 0 to 1."""
    seconds: float
    """Length of the change, or of half the lull; in dB it is a straight line."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NoiseSwing:
        shape = SWINGS[int(rng.integers(len(SWINGS)))]
        # 5 ms is the shortest change that does not click
        seconds = 0.005 if shape != "lull" and rng.random() < 0.4 else uniform(rng, 0.1, 2)
        return cls(shape, uniform(rng, 6, 25), uniform(rng, 0.2, 0.8), seconds)

    def __call__(self, tracks: Tracks) -> Tracks:
        length = len(tracks.clean)
        after = np.arange(length) / SAMPLE_RATE - self.at * length / SAMPLE_RATE
        if self.shape == "lull":
            loud = np.clip(np.abs(after) / self.seconds, 0, 1)
        else:
            risen = np.clip(after / self.seconds + 0.5, 0, 1)
            loud = risen if self.shape == "rise" else 1 - risen
        gain = 10 ** (self.depth_db * (loud - 1) / 20)
        return replace(tracks, noise=tracks.noise * gain.astype(np.float32))
