"""What a device does to the whole signal: band limits, tilted response, gaps, offset, level, and gain control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, active_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.audio.responses import handset_db, tone_db
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks

HOP = SAMPLE_RATE // 200
"""Samples, 5 ms between two values of the gain; between them it is a straight line."""
TINY = 1e-10
"""Power, -100 dBov: what the detector takes for the softest."""


@dataclass(frozen=True)
class AutomaticGain:
    """A feed-forward control: the level of the mixture is brought to a target, within limits.

    Down with the attack time, up with the release time (Giannoulis, Massberg, Reiss, JAES 60(6), 2012, smooth
    branching detector, in dB). A short release lifts the noise in every pause, and a slow attack lets the next
    word in too loud. The gain comes from the mixture and goes to both tracks alike.
    """

    target_dbov: float
    """Level that the control aims at, dBov."""
    max_gain_db: float
    """dB; limit of the gain in both directions."""
    attack_ms: float
    release_ms: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AutomaticGain:  # noqa: ARG003
        attack, release = (round(low * ratio ** float(rng.random()), 3) for low, ratio in ((2, 50), (50, 40)))
        return cls(uniform(rng, -32, -16), uniform(rng, 6, 30), attack, release)

    def __call__(self, tracks: Tracks) -> Tracks:
        return tracks.gained(self._gain(tracks.mixture))

    def _gain(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) -> (samples,), by which the mixture is multiplied."""
        frames = -(-len(mixture) // HOP)
        power = np.square(np.pad(mixture, (0, frames * HOP - len(mixture))), dtype=np.float64)
        level_db = 10 * np.log10(power.reshape(frames, HOP).mean(axis=1) + TINY)
        wanted = np.clip(self.target_dbov - level_db, -self.max_gain_db, self.max_gain_db)
        down, up = (float(np.exp(-1000 * HOP / SAMPLE_RATE / ms)) for ms in (self.attack_ms, self.release_ms))
        gain_db = np.empty(frames)
        state = 0.0
        for frame, goal in enumerate(wanted):
            kept = down if goal < state else up
            state = kept * state + (1 - kept) * goal
            gain_db[frame] = state
        place = np.arange(len(mixture))
        return (10 ** (np.interp(place, np.arange(frames) * HOP, gain_db) / 20)).astype(np.float32)


PEAK_LIMIT = 0.99
"""Full scale is 1. A level that would go beyond is lowered: clipping is a step of its own."""
MIN_LEVEL_DBOV, MAX_LEVEL_DBOV = -45.0, -15.0
"""dBov, active level of most recordings; nominal is -26 (ITU-T P.56, P.830)."""
QUIET_DBOV, LOUD_DBOV = -60.0, -12.0
"""dBov; a microphone across the room, and a gain that only just does not clip."""
EXTREME_CHANCE = 0.07
"""Chance of a recording that is too quiet, and of one that is too loud."""
MAX_TILT_DB = 20.0
"""dB; an equaliser neither lifts nor lowers anything further."""
RAMP = 32
"""Samples, 2 ms: into and out of a soft gap."""
MAX_OFFSET = 0.2
"""Largest direct current, relative to the signal's peak."""


@dataclass(frozen=True)
class BandLimit:
    """Zero-phase Butterworth magnitude: `low_hz` high-pass (0: none), `high_hz` low-pass (8000: none)."""

    low_hz: float
    high_hz: float
    order: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> BandLimit:  # noqa: ARG003
        kind = rng.random()
        if kind < 0.25:  # an 8 kHz chain: no signal above its Nyquist frequency
            return cls(0.0, 3800.0, 64)
        if kind < 0.45:  # the telephone band
            return cls(300.0, 3400.0, 12)
        low = uniform(rng, 80, 600) if kind > 0.7 else 0.0
        high = uniform(rng, 1200, 7500) if kind < 0.85 else 8000.0
        return cls(low, high, int(rng.integers(2, 9)))

    def __call__(self, tracks: Tracks) -> Tracks:
        hertz = _hertz(tracks)
        response = np.ones_like(hertz)
        if self.low_hz > 0:
            response /= np.sqrt(1 + (self.low_hz / np.maximum(hertz, 1e-3)) ** (2 * self.order))
        if self.high_hz < SAMPLE_RATE / 2:
            response /= np.sqrt(1 + (hertz / self.high_hz) ** (2 * self.order))
        return tracks.filtered(response)


@dataclass(frozen=True)
class TelephoneBand:
    """A handset's response, in dB between the points of a table over log frequency, without phase.

    Sending end of the intermediate reference system, plain or `modified`; with its earpiece if `receiving`.
    """

    modified: bool
    receiving: bool
    strength: float
    """What the curve's dB are multiplied by: handsets stray from the nominal one."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> TelephoneBand:  # noqa: ARG003
        return cls(bool(rng.random() < 0.5), bool(rng.random() < 0.4), uniform(rng, 0.6, 1.2))

    def __call__(self, tracks: Tracks) -> Tracks:
        level = handset_db(_hertz(tracks), self.modified, self.receiving)
        return tracks.filtered(10 ** (self.strength * level / 20))


@dataclass(frozen=True)
class Equaliser:
    """A response that tilts about 1 kHz, with a resonance if `resonance_db` is not 0."""

    slope_db: float
    """dB an octave: below 0 dull, above 0 sharp."""
    resonance_db: float
    resonance_hz: float
    resonance_q: float
    """Middle frequency over width, as of a resonant circuit."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Equaliser:  # noqa: ARG003
        resonance = uniform(rng, -18, 18) if rng.random() < 0.5 else 0.0
        centre = round(200 * 30 ** float(rng.random()), 1)  # 200 Hz to 6 kHz, equal chance for each octave
        return cls(uniform(rng, -9, 9), resonance, centre, uniform(rng, 0.7, 6))

    def __call__(self, tracks: Tracks) -> Tracks:
        hertz = np.maximum(_hertz(tracks), 1.0)
        level = tone_db(hertz, self.slope_db, self.resonance_db, self.resonance_hz, self.resonance_q, MAX_TILT_DB)
        return tracks.filtered(10 ** (level / 20))


@dataclass(frozen=True)
class Dropouts:
    """Gaps of a device that could not keep up: at any place and of any length, not in a network's frames."""

    places: tuple[float, ...]
    """Beginning of each gap: share of the clip, 0 to 1."""
    lengths_ms: tuple[float, ...]
    hard: bool
    """Cut within one sample (a click) or within 2 ms."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Dropouts:  # noqa: ARG003
        count = int(rng.integers(1, 7))
        places = tuple(sorted(uniform(rng, 0, 0.97) for _ in range(count)))
        return cls(places, tuple(uniform(rng, 5, 120) for _ in places), bool(rng.random() < 0.5))

    def __call__(self, tracks: Tracks) -> Tracks:
        length = len(tracks.clean)
        kept = np.ones(length)
        for place, span in zip(self.places, self.lengths_ms, strict=True):
            begins = round(place * length)
            kept[begins : begins + round(span / 1000 * SAMPLE_RATE)] = 0.0
        if not self.hard:
            held = np.pad(kept, (RAMP // 2, RAMP - RAMP // 2 - 1), mode="edge")  # the clip's ends are no gaps
            kept = np.convolve(held, np.full(RAMP, 1 / RAMP), mode="valid")
        return tracks.gained(kept.astype(np.float32))


@dataclass(frozen=True)
class DcOffset:
    """A constant added by a converter. It is inaudible and belongs to the noise track."""

    share: float
    """Of the mixture's peak, with sign; reduced if the sum would exceed full scale."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> DcOffset:  # noqa: ARG003
        return cls(uniform(rng, -MAX_OFFSET, MAX_OFFSET))

    def __call__(self, tracks: Tracks) -> Tracks:
        peak = float(np.abs(tracks.mixture).max(initial=0.0))
        offset = min(abs(self.share) * peak, max(0.0, PEAK_LIMIT - peak))
        return tracks.with_noise(np.full(len(tracks.clean), np.copysign(offset, self.share)))


def _hertz(tracks: Tracks) -> NDArray[np.float64]:
    """Frequency of each rfft bin of the clip."""
    return np.asarray(np.fft.rfftfreq(len(tracks.clean), 1 / SAMPLE_RATE), dtype=np.float64)


@dataclass(frozen=True)
class Playback:
    """Active level of the mixture, in dBov, a constant offset left out. The last step of every recipe."""

    level_dbov: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Playback:  # noqa: ARG003
        kind = rng.random()
        if kind < EXTREME_CHANCE:
            return cls(uniform(rng, QUIET_DBOV, MIN_LEVEL_DBOV))
        if kind > 1 - EXTREME_CHANCE:
            return cls(uniform(rng, MAX_LEVEL_DBOV, LOUD_DBOV))
        return cls(uniform(rng, MIN_LEVEL_DBOV, MAX_LEVEL_DBOV))

    def __call__(self, tracks: Tracks) -> Tracks:
        mixture = tracks.mixture
        level, peak = active_level(mixture - mixture.mean(dtype=np.float64)), float(np.abs(mixture).max())
        if level <= FLOOR_DB:
            return tracks
        return tracks.gained(min(10 ** ((self.level_dbov - level) / 20), PEAK_LIMIT / peak))
