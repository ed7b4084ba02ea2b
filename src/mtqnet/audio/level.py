"""Levels of speech and noise.

Levels are in dBov (ITU-T G.100.1): 0 dBov is the power of a full-scale square wave, so 20 log10 of the RMS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE

STEP = SAMPLE_RATE // 1000
"""Samples, 1 ms: the envelope's resolution. P.56 allows rates down to 600 Hz for it."""
TIME_CONSTANT = 30
"""Steps of 1 ms: both one-pole smoothers of the envelope, ITU-T P.56 (T = 0.03 s)."""
HANGOVER = 200
"""Steps of 1 ms: speech counts as active this long after the envelope fell below the threshold (P.56)."""
MARGIN_DB = 15.9
"""dB between the active level and the threshold that decides what is active (P.56)."""
THRESHOLDS = 2.0 ** -np.arange(0, 16)
"""Of the envelope: full scale down to -90 dB, in steps of 6 dB (P.56)."""
FRAME = SAMPLE_RATE // 50
"""Samples, 20 ms"""
FLOOR_DB = -100.0
"""dBov; the level of silence"""
NOMINAL_DBOV = -26.0
"""dBov, the nominal active speech level of ITU-T P.56 and P.830"""


def rms_level(samples: NDArray[np.floating]) -> float:
    """Return the RMS level in dBov of (samples,), at least FLOOR_DB."""
    return to_db(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else FLOOR_DB


def to_db(power: float) -> float:
    """Convert a power relative to full scale to dBov, at least FLOOR_DB."""
    return max(FLOOR_DB, 10 * float(np.log10(power))) if power > 0 else FLOOR_DB


def active_level(samples: NDArray[np.floating]) -> float:
    """Measure the active speech level, ITU-T P.56 method B: energy over active time, so that pauses do not lower it.

    Args:
        samples: Shape (samples,) at SAMPLE_RATE.

    Returns:
        Level in dBov; FLOOR_DB for silence.
    """
    return activity(samples).level


def activity(samples: NDArray[np.floating]) -> Activity:
    """Measure the activity of (samples,) at SAMPLE_RATE, ITU-T P.56."""
    meter = ActivityMeter()
    meter.add(samples)
    return meter.activity


@dataclass(frozen=True)
class Activity:
    """Measurements of ITU-T P.56, from which the active level follows."""

    samples: int
    energy: float
    """Sum of squares"""
    active: NDArray[np.int64]
    """Shape (thresholds,): steps of 1 ms that are active at each of THRESHOLDS"""

    @property
    def level(self) -> float:
        """Active speech level in dBov, at least FLOOR_DB."""
        if self.energy <= 0 or self.samples < STEP:
            return FLOOR_DB
        reached = self.active > 0
        if not reached.any():
            return to_db(self.energy / self.samples)
        levels = 10 * np.log10(self.energy / (self.active[reached] * STEP))
        margins = levels - 20 * np.log10(THRESHOLDS[reached])
        # Levels fall and margins grow as the threshold goes down: the level where the margin is 15.9 dB.
        return max(FLOOR_DB, float(np.interp(MARGIN_DB, margins, levels)))

    @property
    def settled(self) -> Activity:
        """The measurements without thresholds that were first reached within HANGOVER of the end.

        Such thresholds have few active steps; all energy over few steps would be a level above full scale.
        """
        return replace(self, active=np.where(self.active >= HANGOVER, self.active, 0))

    @property
    def seconds(self) -> float:
        """Active time in seconds: the duration that the energy would have at the active level."""
        if self.energy <= 0:
            return 0.0
        return min(self.samples, self.energy / 10 ** (self.level / 10)) / SAMPLE_RATE


class ActivityMeter:
    """Measures activity in blocks. `activity` is that of all samples so far."""

    def __init__(self) -> None:
        self.activity = Activity(0, 0.0, np.zeros(len(THRESHOLDS), dtype=np.int64))
        self._rest: NDArray[np.floating] = np.zeros(0, dtype=np.float32)  # less than a step
        self._magnitudes = np.zeros(len(_smoother()) - 1)  # the part that is inside the smoothing filter
        self._envelope = np.zeros(HANGOVER)  # the part within HANGOVER

    def add(self, samples: NDArray[np.floating]) -> None:
        """Measure the next samples: (samples,) of any length."""
        waiting = np.concatenate([self._rest, samples])
        steps = len(waiting) // STEP
        self._rest = waiting[steps * STEP :]
        before, active = self.activity, self.activity.active
        if steps:
            active = active + _active_steps(self._held(waiting[: steps * STEP], steps))
        self.activity = Activity(before.samples + len(samples), before.energy + _energy(samples), active)

    def _held(self, samples: NDArray[np.floating], steps: int) -> NDArray[np.float64]:
        """(steps * STEP,) -> (steps,): smoothed magnitude, extended by HANGOVER; continues the last block."""
        magnitudes = np.concatenate([self._magnitudes, _magnitudes(samples, steps)])
        envelope = np.concatenate([self._envelope, np.convolve(magnitudes, _smoother(), "valid")])
        self._magnitudes = magnitudes[len(magnitudes) - len(self._magnitudes) :]
        self._envelope = envelope[len(envelope) - HANGOVER :]
        return _sliding_maximum(envelope, HANGOVER + 1)


def nominal_gain(samples: NDArray[np.floating]) -> float:
    """Return the gain that brings the active level of (samples,) to NOMINAL_DBOV; 1 for silence."""
    level = active_level(samples)
    return float(10 ** ((NOMINAL_DBOV - level) / 20)) if level > FLOOR_DB else 1.0


def active_power(level_db: float) -> float:
    """Return the power from which a frame of 20 ms is active in a recording with this active level in dBov."""
    return float(max(10 ** ((level_db - MARGIN_DB) / 10), 10 ** (FLOOR_DB / 10)))


def frames_above(samples: NDArray[np.floating], power: float) -> NDArray[np.bool_]:
    """Find the frames of 20 ms with at least this power: (samples,) -> (samples // FRAME,)."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    powers = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / FRAME
    return np.asarray(powers >= power)


def _magnitudes(samples: NDArray[np.floating], steps: int) -> NDArray[np.float64]:
    """(steps * STEP,) -> (steps,): mean magnitude of each step."""
    magnitudes = np.abs(samples).astype(np.float64, copy=False).reshape(steps, STEP)
    return np.asarray(magnitudes @ np.full(STEP, 1 / STEP))


def _sliding_maximum(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """(n,) -> (n - length + 1,): the largest of each `length` neighbours, by doubling."""
    reach = 1
    while 2 * reach <= length:
        values = np.maximum(values[: len(values) - reach], values[reach:])
        reach *= 2
    beyond = length - reach
    return np.maximum(values[: len(values) - beyond], values[beyond:])


def _active_steps(held: NDArray[np.float64]) -> NDArray[np.int64]:
    """(steps,) -> (thresholds,): how many steps reach each threshold."""
    return np.array([np.count_nonzero(held >= threshold) for threshold in THRESHOLDS], dtype=np.int64)


def _energy(samples: NDArray[np.floating]) -> float:
    wide = samples.astype(np.float64, copy=False)
    return float(np.einsum("i,i", wide, wide))


@lru_cache(maxsize=1)
def _smoother() -> NDArray[np.float64]:
    """Impulse response of two equal one-pole smoothers in a row, truncated where it is negligible."""
    time = np.arange(12 * TIME_CONSTANT)
    kernel = (time + 1) * np.exp(-time / TIME_CONSTANT)
    return np.asarray(kernel / kernel.sum())


def a_weighted(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """Apply A-weighting (IEC 61672-1, 0 dB at 1 kHz) without delay to (samples,) at SAMPLE_RATE."""
    if len(samples) == 0:
        return np.zeros(0)
    size = fast_length(len(samples))
    weighted = np.fft.rfft(samples.astype(np.float64), size) * np.sqrt(_a_weights(size))
    return np.fft.irfft(weighted, size)[: len(samples)]


def fast_length(samples: int) -> int:
    """Return a length of at least this many samples whose Fourier transform is fast: a multiple of 2048."""
    return -(-samples // 2048) * 2048


def a_weighted_power(samples: NDArray[np.floating]) -> float:
    """Return the mean power of (samples,) at SAMPLE_RATE after A-weighting."""
    return float(np.mean(a_weighted(samples) ** 2)) if len(samples) else 0.0


@lru_cache(maxsize=64)
def _a_weights(length: int) -> NDArray[np.float64]:
    """Squared A-weighting gain of each rfft bin, IEC 61672-1 annex E."""
    f2 = np.fft.rfftfreq(length, 1 / SAMPLE_RATE) ** 2
    gain = 12194.0**2 * f2**2
    gain = gain / ((f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2))
    return np.asarray((gain * 10 ** (2.0 / 20)) ** 2)
