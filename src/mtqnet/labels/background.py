"""The level of the background relative to the speech: the equivalent SNR of a noise component.

Levels are A-weighted (IEC 61672-1) and relative to the active speech level (ITU-T P.56). Two levels are averaged
in dB:

    audible  the noise component over the whole recording, less what the speech masks
    pauses   the noise component in speech pauses, where listeners judge the background (PAUSE_WEIGHT)

For stationary noise both are the same. Noise suppressors leave noise under the words that the speech hides, and
empty pauses. The alternatives that were tried are in docs/labeller.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import istft, stft
from mtqnet.audio.level import (
    FLOOR_DB,
    NOMINAL_DBOV,
    a_weighted,
    a_weighted_power,
    active_level,
    nominal_gain,
    to_db,
)

MAX_SNR_DB = 70.0
"""dB; a noise component below this is not there."""

PAUSE_FRAME = 480
"""Samples, 30 ms: shorter than the gaps between words"""
PAUSE_SHARE = 0.06
"""Share of frames, the quietest, that are taken for pauses; even fluent speech has half so many"""

PAUSE_DEPTH_DB = 20.0
"""dB below the active level of the clean speech: frames below are speech pauses"""
PAUSE_WEIGHT = 0.75
"""Weight of the level in the pauses. From 0.6 to 1 the agreement with ratings and predictors is the same."""
BURST_DB = 20.0
"""dB: most that the median level of the pauses may be below their mean level. Single clicks in silence then count
as stationary noise 10 dB below their mean level."""

MASKED_DB = 10.0
"""dB below the surrounding speech at which half of the noise power is audible; 20 dB below, a tenth"""
MASK = (3, 5)
"""Frames of 16 ms and bins of 31 Hz, 50 ms by 160 Hz, over which speech masks noise: a critical band"""

TINY = 1e-20
"""Power of a bin below which it is empty"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


def equivalent_snr(speech: Samples, noise: Samples) -> float:
    """dB: active level of the speech component over the A-weighted level of the audible noise component."""
    gain = np.float32(nominal_gain(speech))  # soft recordings would meet the floor of `to_db`
    return min(MAX_SNR_DB, NOMINAL_DBOV - to_db(audible_power(gain * speech, gain * noise)))


def audible_power(speech: Samples, noise: Samples) -> float:
    """A-weighted mean power of (samples,) of noise, less what the speech masks. Without speech: all of it."""
    from scipy.ndimage import uniform_filter

    spectra = stft(noise - noise.mean())  # direct current is inaudible; its beginning and end would be clicks
    powers = np.abs(spectra) ** 2, np.abs(stft(speech)) ** 2
    around, mask = (np.maximum(uniform_filter(power, MASK, mode="nearest"), 0) for power in powers)
    share = around / np.maximum(around + 10 ** (-MASKED_DB / 10) * mask, TINY)
    return a_weighted_power(istft(np.sqrt(share) * spectra, len(noise)))


@dataclass(frozen=True)
class Background:
    """Levels of a background below the active level of the speech, in dB."""

    audible_db: float
    """Of the noise component over the whole recording, less what the speech masks"""
    pauses_db: float
    """Of the noise component in the pauses"""
    own_db: float
    """Of the recording's own background, which is in the clean speech"""

    def snr(self, pause_weight: float = PAUSE_WEIGHT) -> float:
        """Equivalent SNR in dB, at most MAX_SNR_DB: levels with and without the pauses averaged, and the own added.

        For S-MOS without the pauses: only noise at the time of the speech hides its distortion.
        """
        snr = (1 - pause_weight) * self.audible_db + pause_weight * self.pauses_db
        return min(MAX_SNR_DB, -10 * float(np.log10(10 ** (-snr / 10) + 10 ** (-self.own_db / 10))))


def background(clean: Samples, speech: Samples, noise: Samples) -> Background:
    """Levels of the background of a recording whose components are known, (samples,) each.

    No reference is free of noise: read speech has a floor about 43 dB below the voice, the clean files of the
    rated sets 57 dB and more, and the difference is audible. Reverberation in the pauses is no background, and
    a noise suppressor removes background: so the lower of the floors before and after counts.
    """
    pauses = pause_frames(clean)
    own = max(own_snr(clean, pauses), own_snr(speech, pauses))
    return Background(equivalent_snr(speech, noise), pause_snr(clean, speech, noise), own)


def pause_snr(clean: Samples, speech: Samples, noise: Samples) -> float:
    """dB: active level of the speech component over the level of the noise component in the pauses of `clean`.

    That level is the mean, in dB, of the median level and the level of the mean power. Stationary noise has the same
    value of both; bursts, pumping and musical noise raise the second.
    """
    mean, median = pause_levels(clean, speech, noise)
    return float(min(MAX_SNR_DB, NOMINAL_DBOV - (mean + max(median, mean - BURST_DB)) / 2))


def pause_levels(clean: Samples, speech: Samples, noise: Samples) -> tuple[float, float]:
    """Level of the mean power and median level of a noise component in the pauses, dBov with nominal speech.

    The pauses are the frames PAUSE_DEPTH_DB below the active level of `clean`, and always the quietest PAUSE_SHARE.
    """
    powers = _frame_powers(noise * np.float32(nominal_gain(speech)))
    if len(powers) == 0:
        return FLOOR_DB, FLOOR_DB
    quiet = _frame_powers(clean) < 10 ** ((active_level(clean) - PAUSE_DEPTH_DB) / 10)
    quiet[pause_frames(clean)] = True
    return to_db(float(np.mean(powers[quiet]))), to_db(float(np.median(powers[quiet])))


def pause_frames(clean: Samples) -> NDArray[np.intp]:
    """Places of the quietest PAUSE_SHARE of a recording's frames, at least one."""
    powers = _frame_powers(clean)
    return np.argsort(powers, kind="stable")[: max(1, round(PAUSE_SHARE * len(powers)))]


def own_snr(speech: Samples, pauses: NDArray[np.intp]) -> float:
    """dB: active level of a recording over its A-weighted level in these frames; 0 to MAX_SNR_DB.

    The median over the frames: gaps that a network tore into the pauses do not make a recording cleaner.
    """
    powers = _frame_powers(speech * np.float32(nominal_gain(speech)))
    if len(powers) == 0:
        return MAX_SNR_DB
    return float(np.clip(NOMINAL_DBOV - to_db(float(np.median(powers[pauses]))), 0.0, MAX_SNR_DB))


def _frame_powers(samples: Samples) -> Array:
    """(samples,) -> (frames,): A-weighted power of each PAUSE_FRAME."""
    weighted = a_weighted(samples)
    frames = weighted[: len(weighted) // PAUSE_FRAME * PAUSE_FRAME].reshape(-1, PAUSE_FRAME)
    return np.asarray(np.mean(frames**2, axis=1))
