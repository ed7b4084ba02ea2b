"""How loud the background is against the speech: the equivalent SNR of a noise component.

Levels are A-weighted (IEC 61672-1) and stand below the active speech level (ITU-T P.56). Noise counts as far as it
can be heard: what lies far below the speech at its own time and frequency is masked, and noise that a reducer left
under the words alone disturbs nobody as much as noise in the pauses. What else was tried: docs/labeller.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import NOMINAL_DBOV, a_weighted, a_weighted_power, nominal_gain, to_db
from mtqnet.audio.stft import istft, stft

MAX_SNR_DB = 70.0
"""dB; a noise component below this is not there."""

PAUSE_FRAME = 480
"""Samples, 30 ms: shorter than the gaps between words"""
PAUSE_SHARE = 0.06
"""Share of frames, the quietest, that are taken for pauses; even fluent speech has half so many"""

MASKED_DB = 10.0
"""dB below the speech around it at which half of a noise's power is heard; 20 dB below, a tenth"""
MASK = (3, 5)
"""Frames of 16 ms and bins of 31 Hz, 50 ms by 160 Hz, over which speech masks noise: a critical band"""

TINY = 1e-20
"""Power of a bin below which there is nothing"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


def equivalent_snr(speech: Samples, noise: Samples) -> float:
    """dB: active level of the speech component over the A-weighted level of the noise component that is heard."""
    gain = np.float32(nominal_gain(speech))  # soft recordings would meet the floor of `to_db`
    return min(MAX_SNR_DB, NOMINAL_DBOV - to_db(audible_power(gain * speech, gain * noise)))


def audible_power(speech: Samples, noise: Samples) -> float:
    """A-weighted mean power of (samples,) of noise, less what the speech masks. Without speech: all of it."""
    from scipy.ndimage import uniform_filter

    spectra = stft(noise - noise.mean())  # nobody hears direct current; its beginning and end would be clicks
    powers = np.abs(spectra) ** 2, np.abs(stft(speech)) ** 2
    around, mask = (np.maximum(uniform_filter(power, MASK, mode="nearest"), 0) for power in powers)
    share = around / np.maximum(around + 10 ** (-MASKED_DB / 10) * mask, TINY)
    return a_weighted_power(istft(np.sqrt(share) * spectra, len(noise)))


def heard_snr(clean: Samples, speech: Samples, noise: Samples) -> float:
    """`equivalent_snr` with the recording's own background counted in: dB, at most MAX_SNR_DB.

    No reference is without noise of its own: read speech has its floor about 43 dB below the voice, the clean
    files of the rated sets 57 dB and more, and listeners hear the difference. What a room adds to the pauses is
    no background, and what a noise reducer takes away is gone: so the lower of the floors before and after.
    """
    pauses = pause_frames(clean)
    own = max(own_snr(clean, pauses), own_snr(speech, pauses))
    power = 10 ** (-equivalent_snr(speech, noise) / 10) + 10 ** (-own / 10)
    return min(MAX_SNR_DB, -10 * float(np.log10(power)))


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
