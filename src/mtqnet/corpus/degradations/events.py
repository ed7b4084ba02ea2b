"""Noise that comes and goes, or hums: mains hum, wind, clicks, and a background whose level changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.noise import add_at, draw_snr, fluctuation
from mtqnet.corpus.degradations.step import Tracks, draw_seed, uniform
from mtqnet.corpus.pool import Pool

MAINS_HZ = (50, 60)
"""Hz; the two mains frequencies of the world (IEC 60196)."""
RAGGED_DB = 6.0
"""dB; harmonics of hum stray this far from an even fall (transformers: odd ones, rectifiers: even)."""
WIND_LOW_HZ = 20.0
"""Hz; lower frequencies are neither transmitted by microphones nor audible."""
WIND_ORDER = 3
"""Order of the fall of wind noise beyond its corner: 18 dB an octave. Wind noise in microphones is mostly below 500
Hz and falls with frequency (Nelke and Vary, IWAENC 2014); with the corners drawn here it is below 300 Hz."""
MIN_WIND_SNR_DB, MAX_WIND_SNR_DB = -15.0, 25.0
"""dB. The ear (A-weighting: -19 dB at 100 Hz) takes wind for far softer than its power, so it is drawn louder."""
CLICK_SPREAD_DB = 12.0
"""dB; clicks are up to so much softer than the loudest."""
STEP_S = 0.005
"""Seconds; the shortest change of the noise's level, so that the change itself does not click."""
SWINGS = ("rise", "fall", "lull")


@dataclass(frozen=True)
class MainsHum:
    """The mains frequency and its multiples, steady lines in random phase."""

    mains_hz: int
    harmonics: int
    """Lines in all, the mains frequency the first."""
    decay_db: float
    """dB by which each line is softer than the one before, on average."""
    snr_db: float
    seed: int
    """For phases and for the lines' straying from an even fall."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> MainsHum:  # noqa: ARG003
        mains = MAINS_HZ[int(rng.integers(len(MAINS_HZ)))]
        return cls(mains, int(rng.integers(3, 25)), uniform(rng, 0, 4), draw_snr(rng), draw_seed(rng))

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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> WindBursts:  # noqa: ARG003
        snr = uniform(rng, MIN_WIND_SNR_DB, MAX_WIND_SNR_DB)
        return cls(uniform(rng, 50, 200), uniform(rng, 0.3, 2), uniform(rng, 15, 40), snr, draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        rng, length = np.random.default_rng(self.seed), len(tracks.clean)
        hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 1.0)
        shape = 1 / np.sqrt(1 + (hertz / self.corner_hz) ** (2 * WIND_ORDER))
        shape /= np.sqrt(1 + (WIND_LOW_HZ / hertz) ** 4)
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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Clicks:  # noqa: ARG003
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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NoiseSwing:  # noqa: ARG003
        shape = SWINGS[int(rng.integers(len(SWINGS)))]
        seconds = STEP_S if shape != "lull" and rng.random() < 0.4 else uniform(rng, 0.1, 2)
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
