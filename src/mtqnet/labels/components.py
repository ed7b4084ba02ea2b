"""The speech and the noise in what a black box gave, estimated from what went in and what came out.

A codec or a neural noise reducer hears the mixture, so nobody can tell exactly what it did to each part. Two
things are known: the gain that it shows in time and frequency, which speech and noise share ("shadow filtering"),
and what no gain explains: coding noise, new sound, turned phases. The latter goes to whichever part is the
stronger there. Speech alone comes back whole, as does noise alone; and the parts always add up to what the box
gave.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import LabelError
from mtqnet.signal.stft import istft, stft

Samples = NDArray[np.float32]

GAIN_LIMIT = 4.0
"""12 dB: a bin that comes out louder than that is new sound, not amplified input."""
TINY = 1e-12
"""Power of a bin (full scale is 1) below which it holds nothing."""


def components(speech: Samples, unprocessed: Samples, processed: Samples) -> tuple[Samples, Samples]:
    """(speech, noise) of `processed`: two arrays of (samples,) whose sum is `processed`.

    `speech` is the speech in `unprocessed`; all three are aligned (samples,) at 16 kHz. Frames of 32 ms.
    Raises LabelError for unlike lengths.
    """
    if not len(speech) == len(unprocessed) == len(processed):
        raise LabelError("clean, unprocessed and processed must be aligned and equally long")
    s, u, p = stft(speech), stft(unprocessed), stft(processed)
    # The gain is that of the part of P in phase with U: coding noise and phase are no gain. |P| / |U| in its place
    # makes the noise too loud by 1.2 dB on average.
    gain = np.clip((p * np.conj(u)).real / np.maximum(np.abs(u) ** 2, TINY), 0, GAIN_LIMIT)
    unexplained = p - gain * u
    power_s, power_n = np.abs(s) ** 2, np.abs(u - s) ** 2
    share = (power_s + TINY) / (power_s + power_n + TINY)
    out = istft(gain * s + share * unexplained, len(speech))
    return out, (processed - out).astype(np.float32)
