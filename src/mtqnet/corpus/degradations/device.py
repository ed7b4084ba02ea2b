"""What a device does to the whole signal: responses, clipping, quantisation, gaps, offset, level and gain control.

Also modulated noise, the reference of ITU-T P.810 for distortion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, active_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import (
    Drawn,
    Samples,
    Tracks,
    a_seed,
    between,
    either,
    uniform,
    whole,
)
from mtqnet.corpus.sources import Pool

Numbers = float | NDArray[np.float64]

TILT_HZ = 1000.0
"""Hz. Frequency at which the slope of a tone control is 0 dB"""

# fmt: off
HANDSET_CURVES = (
    (100, -42.1, -40.1, -28.1), (125, -32.4, -31.4, -21.0), (160, -21.9, -23.4, -13.5),
    (200, -15.5, -15.3, -9.6), (250, -10.6, -9.9, -6.6), (315, -7.1, -5.4, -4.6),
    (400, -4.7, -2.7, -3.3), (500, -3.2, -1.3, -2.6), (630, -2.4, -0.7, -2.2),
    (800, -1.2, -0.3, -1.2), (1000, 0.0, 0.0, 0.0), (1250, 1.4, 0.0, 1.4),
    (1600, 3.1, 0.4, 3.2), (2000, 4.0, 0.5, 3.6), (2500, 5.5, 0.5, 5.0),
    (3150, 5.5, 0.0, 5.8), (3500, -3.6, -8.7, 3.4), (4000, -33.5, -44.2, 0.2),
    (5000, -48.5, -67.5, -5.3), (6300, -69.9, -80.1, -20.0), (8000, -86.3, -90.0, -36.4),
)
# fmt: on
"""Hz, and dB relative to 1 kHz of three responses. Sending and receiving end of the intermediate reference system,
after the nominal values of ITU-T P.48 (1988); the modified sending end, without the filter of the old local line,
after ITU-T P.830 (1996), Annex D: the response of the filter in ITU-T G.191 for it at 16 kHz."""


def handset_db(hertz: NDArray[np.float64], modified: bool, receiving: bool) -> NDArray[np.float64]:
    """Interpolate a handset response in dB relative to 1 kHz, linearly over log frequency.

    Sending end of the intermediate reference system, plain or `modified`; with its earpiece if `receiving`.
    """
    points, sending, earpiece, late = np.array(HANDSET_CURVES).T
    curve = (late if modified else sending) + (earpiece if receiving else 0.0)
    return np.asarray(np.interp(np.log2(np.maximum(hertz, 1.0)), np.log2(points), curve))


def tone_db(
    hertz: NDArray[np.float64],
    slope_db: Numbers,
    resonance_db: Numbers,
    centre_hz: Numbers,
    q: Numbers,
    most_db: float,
) -> NDArray[np.float64]:
    """Compute the response of a tone control in dB: tilt about TILT_HZ and a resonance, at most `most_db`.

    `slope_db` is in dB per octave; `q` is the centre frequency of the resonance over its width. Parameters of the
    shape (controls, 1) result in (controls, frequencies).
    """
    detuned = q * (hertz / centre_hz - centre_hz / hertz)
    level = slope_db * np.log2(hertz / TILT_HZ) + resonance_db / (1 + detuned**2)
    return np.asarray(np.clip(level, -most_db, most_db))


HOP = SAMPLE_RATE // 200
"""Samples, 5 ms between two values of the gain; between them it is a straight line."""


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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AutomaticGain:
        attack, release = (round(low * ratio ** float(rng.random()), 3) for low, ratio in ((2, 50), (50, 40)))
        return cls(uniform(rng, -32, -16), uniform(rng, 6, 30), attack, release)

    def __call__(self, tracks: Tracks) -> Tracks:
        return tracks.gained(self._gain(tracks.mixture))

    def _gain(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) -> (samples,), by which the mixture is multiplied."""
        frames = -(-len(mixture) // HOP)
        power = np.square(np.pad(mixture, (0, frames * HOP - len(mixture))), dtype=np.float64)
        level_db = 10 * np.log10(power.reshape(frames, HOP).mean(axis=1) + 1e-10)  # -100 dBov is the softest
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
MAX_OFFSET = 0.2
"""Largest direct current, relative to the signal's peak."""


@dataclass(frozen=True)
class BandLimit:
    """Zero-phase Butterworth magnitude: `low_hz` high-pass (0: none), `high_hz` low-pass (8000: none)."""

    low_hz: float
    high_hz: float
    order: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> BandLimit:
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
class TelephoneBand(Drawn):
    """A handset's response, in dB between the points of a table over log frequency, without phase.

    Sending end of the intermediate reference system, plain or `modified`; with its earpiece if `receiving`.
    """

    modified: bool = either(0.5, True, False)
    receiving: bool = either(0.4, True, False)
    strength: float = between(0.6, 1.2)
    """What the curve's dB are multiplied by: handsets stray from the nominal one."""

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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Equaliser:
        resonance = uniform(rng, -18, 18) if rng.random() < 0.5 else 0.0
        centre = round(200 * 30 ** float(rng.random()), 1)  # 200 Hz to 6 kHz, equal chance for each octave
        return cls(uniform(rng, -9, 9), resonance, centre, uniform(rng, 0.7, 6))

    def __call__(self, tracks: Tracks) -> Tracks:
        hertz = np.maximum(_hertz(tracks), 1.0)
        level = tone_db(hertz, self.slope_db, self.resonance_db, self.resonance_hz, self.resonance_q, MAX_TILT_DB)
        return tracks.filtered(10 ** (level / 20))


@dataclass(frozen=True)
class DcOffset(Drawn):
    """A constant added by a converter. It is inaudible and belongs to the noise track."""

    share: float = between(-MAX_OFFSET, MAX_OFFSET)
    """Of the mixture's peak, with sign; reduced if the sum would exceed full scale."""

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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Playback:
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


# Distortion of single samples


def mnru_gain(samples: int, q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(samples,): gain of the unit, y = x (1 + 10^(-Q/20) N) in P.810, N white Gaussian noise."""
    noise = rng.standard_normal(samples, dtype=np.float32)
    return np.float32(1.0) + np.float32(10 ** (-q_db / 20)) * noise


def mnru(samples: NDArray[np.float32], q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add modulated noise at Q dB: (samples,) -> (samples,)."""
    return samples * mnru_gain(len(samples), q_db, rng)


NO_GAIN = 1e-9
"""Full scale is 1; below this a sample has no gain to speak of."""
MIN_Q_DB, MAX_Q_DB = 0.0, 50.0
"""dB; P.810's useful range, from barely recognisable speech to inaudible distortion."""
SHARE_FRAME = SAMPLE_RATE // 50
"""Samples, 20 ms, over which the power of speech and noise is compared."""


@dataclass(frozen=True)
class Mnru(Drawn):
    """Modulated noise, ITU-T P.810: on the speech before noise is added, or on the whole signal."""

    q_db: float = between(MIN_Q_DB, MAX_Q_DB)
    whole: bool = either(0.2, True, False)
    seed: int = a_seed()

    def __call__(self, tracks: Tracks) -> Tracks:
        rng = np.random.default_rng(self.seed)
        if self.whole:
            return tracks.gained(mnru_gain(len(tracks.clean), self.q_db, rng))
        return replace(tracks, speech=mnru(tracks.speech, self.q_db, rng))


@dataclass(frozen=True)
class Clipping(Drawn):
    """The mixture cut (hard) or bent (soft: tanh) `drive_db` below its peak. Output over input: the gain."""

    drive_db: float = between(1, 24)
    soft: bool = either(0.4, True, False)

    def __call__(self, tracks: Tracks) -> Tracks:
        mixture = tracks.mixture
        limit = np.float32(np.abs(mixture).max() * 10 ** (-self.drive_db / 20))
        if limit < NO_GAIN:
            return tracks
        return _bent(tracks, limit * np.tanh(mixture / limit) if self.soft else np.clip(mixture, -limit, limit))


@dataclass(frozen=True)
class Overdrive(Drawn):
    """A gain set too high: the peak goes `gain_db` beyond full scale, where the converter cuts it.

    The same degradation as hard clipping, but the signal remains at full scale.
    """

    gain_db: float = between(3, 20)

    def __call__(self, tracks: Tracks) -> Tracks:
        peak = float(np.abs(tracks.mixture).max(initial=0.0))
        if peak < NO_GAIN:
            return tracks
        driven = tracks.gained(1.0 / peak * 10 ** (self.gain_db / 20))
        return _bent(driven, np.clip(driven.mixture, -1.0, 1.0))


@dataclass(frozen=True)
class Quantisation(Drawn):
    """Linear PCM of few bits, rounded to the nearest step (ITU-T G.191 calls it "uniform PCM").

    The peak of the mixture is `headroom_db` below full scale during quantisation; the level is restored afterwards.
    The error is new sound: of each moment's error, speech and noise get shares as their powers there, as in
    labels/three_signal.py.
    """

    bits: int = whole(4, 12)
    headroom_db: float = between(0, 12)

    def __call__(self, tracks: Tracks) -> Tracks:
        mixture = tracks.mixture
        peak = float(np.abs(mixture).max(initial=0.0))
        if peak < NO_GAIN:
            return tracks
        step = np.float32(peak * 10 ** (self.headroom_db / 20) * 2.0 ** (1 - self.bits))
        heard = step * np.round(mixture / step)
        power, other = _local_power(tracks.speech), _local_power(tracks.noise)
        share = (power + NO_GAIN**2) / (power + other + NO_GAIN**2)
        speech = tracks.speech + share.astype(np.float32) * (heard - mixture)
        return replace(tracks, speech=speech, noise=heard - speech)


def _bent(tracks: Tracks, heard: Samples) -> Tracks:
    """Multiply both tracks by the gain that turns their mixture into the output, sample by sample."""
    mixture = tracks.mixture
    some = np.abs(mixture) > NO_GAIN
    gain = np.ones_like(mixture)
    gain[some] = heard[some] / mixture[some]
    return tracks.gained(gain)


def _local_power(samples: Samples) -> NDArray[np.float64]:
    """(samples,) -> (samples,): mean power of the SHARE_FRAME about each sample."""
    total = np.cumsum(np.pad(np.square(samples, dtype=np.float64), (SHARE_FRAME // 2 + 1, SHARE_FRAME // 2)))
    return np.asarray((total[SHARE_FRAME:] - total[:-SHARE_FRAME])[: len(samples)] / SHARE_FRAME)
