"""How loud speech and noise are.

Levels are in dBov (ITU-T G.100.1): 0 dBov is the power of a full-scale square wave, so 20 log10 of the RMS.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mtqnet.signal.audio import SAMPLE_RATE

STEP = SAMPLE_RATE // 1000
"""Samples, 1 ms: the envelope's resolution. P.56 allows rates down to 600 Hz for it."""
TIME_CONSTANT = 30
"""Steps of 1 ms: both one-pole smoothers of the envelope, ITU-T P.56 (T = 0.03 s)."""
HANGOVER = 200
"""Steps of 1 ms: speech stays active this long after the envelope fell below the threshold (P.56)."""
MARGIN_DB = 15.9
"""dB between the active level and the threshold that decides what is active (P.56)."""
FRAME = SAMPLE_RATE // 50
"""Samples, 20 ms"""
FLOOR_DB = -100.0
"""dBov; stands for silence."""
NOMINAL_DBOV = -26.0
"""dBov, the nominal active speech level of ITU-T P.56 and P.830"""


def rms_level(samples: NDArray[np.floating]) -> float:
    """dBov of (samples,), at least FLOOR_DB."""
    return to_db(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else FLOOR_DB


def to_db(power: float) -> float:
    """Power relative to full scale -> dBov, at least FLOOR_DB."""
    return max(FLOOR_DB, 10 * float(np.log10(power))) if power > 0 else FLOOR_DB


def active_level(samples: NDArray[np.floating]) -> float:
    """Active speech level in dBov of (samples,) at 16 kHz, ITU-T P.56 method B; FLOOR_DB for silence.

    The level counts energy over active time alone, so pauses do not lower it.
    """
    energy = float(np.sum(np.square(samples, dtype=np.float64)))
    steps = len(samples) // STEP
    if energy <= 0 or steps == 0:
        return FLOOR_DB
    held = _held_envelope(samples[: steps * STEP], steps)
    thresholds = 2.0 ** -np.arange(0, 16)  # full scale down to -90 dB, in steps of 6 dB
    active = np.array([np.count_nonzero(held >= threshold) for threshold in thresholds])
    heard = active > 0
    if not heard.any():
        return rms_level(samples)
    levels = 10 * np.log10(energy / (active[heard] * STEP))
    margins = levels - 20 * np.log10(thresholds[heard])
    # Levels fall and margins grow as the threshold goes down: the level where the margin is 15.9 dB.
    return max(FLOOR_DB, float(np.interp(MARGIN_DB, margins, levels)))


def nominal_gain(samples: NDArray[np.floating]) -> float:
    """What brings the active level of (samples,) to NOMINAL_DBOV; 1 for silence."""
    level = active_level(samples)
    return float(10 ** ((NOMINAL_DBOV - level) / 20)) if level > FLOOR_DB else 1.0


def active_frames(samples: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(samples,) at 16 kHz -> (samples // FRAME,): which frames of 20 ms hold the recording's active sound.

    P.56's threshold, MARGIN_DB below the active level, on the power of each frame.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    powers = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / FRAME
    threshold = 10 ** ((active_level(samples) - MARGIN_DB) / 10)
    return np.asarray(powers >= max(threshold, 10 ** (FLOOR_DB / 10)))


def _held_envelope(samples: NDArray[np.floating], steps: int) -> NDArray[np.float64]:
    """(steps * STEP,) -> (steps,): smoothed magnitude, each value held for HANGOVER steps."""
    magnitude = np.abs(samples).astype(np.float64).reshape(steps, STEP).mean(axis=1)
    envelope = np.convolve(magnitude, _smoother())[:steps]
    padded = np.concatenate([np.zeros(HANGOVER), envelope])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, HANGOVER + 1).max(axis=1))


@lru_cache(maxsize=1)
def _smoother() -> NDArray[np.float64]:
    """Impulse response of two equal one-pole smoothers in a row, cut where it has died away."""
    time = np.arange(12 * TIME_CONSTANT)
    kernel = (time + 1) * np.exp(-time / TIME_CONSTANT)
    return np.asarray(kernel / kernel.sum())


def a_weighted(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """(samples,) at 16 kHz -> the same after A-weighting (IEC 61672-1, 0 dB at 1 kHz), without delay."""
    if len(samples) == 0:
        return np.zeros(0)
    size = fast_length(len(samples))
    weighted = np.fft.rfft(samples.astype(np.float64), size) * np.sqrt(_a_weights(size))
    return np.fft.irfft(weighted, size)[: len(samples)]


def fast_length(samples: int) -> int:
    """A length of at least so many samples whose transform is quick: a multiple of 2048."""
    return -(-samples // 2048) * 2048


def a_weighted_power(samples: NDArray[np.floating]) -> float:
    """Mean power of (samples,) at 16 kHz after A-weighting."""
    return float(np.mean(a_weighted(samples) ** 2)) if len(samples) else 0.0


@lru_cache(maxsize=64)
def _a_weights(length: int) -> NDArray[np.float64]:
    """Squared A-weighting gain of each rfft bin, IEC 61672-1 annex E."""
    f2 = np.fft.rfftfreq(length, 1 / SAMPLE_RATE) ** 2
    gain = 12194.0**2 * f2**2
    gain = gain / ((f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2))
    return np.asarray((gain * 10 ** (2.0 / 20)) ** 2)
