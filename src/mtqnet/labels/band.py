"""Narrowband recordings are compared with clean speech of the same band.

Listeners of a narrowband test rate undistorted telephone speech nearly as high as listeners of a wideband test rate
undistorted wideband speech: SIG 4.3 at SNR 40 and Q 40 dB in the rated narrowband conditions
(NOIZEUS at 8 kHz), 4.2 to 4.9 in the wide ones (CSP835). Intrusive measures therefore have a narrowband mode with
a narrowband reference (P.862 in addition to P.862.2; EG 202 396-3 as well). So do the labels: the missing upper half
is no distortion if that half is empty, and distortion if a filter removed only a part of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.audio.stft import WINDOW, stft
from mtqnet.labels.curves import Curves
from mtqnet.labels.speech import equivalent_q, look

NARROW_RATE = 8000
"""Hz, rate of narrowband telephony"""
EDGE_HZ = 4250
"""Hz above which narrowband recordings are empty; the rest above 4 kHz is for the slope of resamplers"""
NOTHING_DB = 45.0
"""dB below the overall level: a weaker signal above EDGE_HZ is ignored. 402 clean wideband recordings have -4 to -37
dB there, recordings at 8 kHz -59 to -76, telephone codecs, also with further processing, -45 to -80."""

Samples = NDArray[np.float32]


def is_narrow(samples: Samples) -> bool:
    """Whether (samples,) at 16 kHz have no signal above EDGE_HZ; False for silence."""
    power = np.mean(np.abs(stft(samples)) ** 2, axis=0)
    upper = power[round(EDGE_HZ * WINDOW / SAMPLE_RATE) :].sum()
    return bool(power.sum() > 0 and upper < power.sum() * 10 ** (-NOTHING_DB / 10))


def narrowed(clean: Samples) -> Samples:
    """(samples,) at 16 kHz -> the same as narrowband telephony would have it, (samples,) at 16 kHz, aligned."""
    return brought_back(resample(clean, SAMPLE_RATE, NARROW_RATE), len(clean))


def brought_back(narrow: Samples, samples: int) -> Samples:
    """Samples at NARROW_RATE -> (samples,) at 16 kHz."""
    back = resample(narrow, NARROW_RATE, SAMPLE_RATE)[:samples]
    return np.pad(back, (0, samples - len(back)))


def q_of_narrow(clean: Samples, speech: Samples, fitted: Curves) -> float:
    """Equivalent Q in dB of a narrowband speech component, (samples,) at 16 kHz: of narrowband MNRU.

    Half of the spectrum being empty on both sides, each look of labels/speech.py finds less damage. So their Q is
    read against what it is for narrowband talkers with narrowband MNRU. Raises LabelError as `look`.
    """
    seen = equivalent_q(look(narrowed(clean), speech), fitted)
    return float(np.interp(seen, fitted.narrow_q_at_q, fitted.q_db))


def q_in_its_band(clean: Samples, speech: Samples, fitted: Curves, heard: Samples | None = None) -> float:
    """Equivalent Q in dB of a speech component, compared with clean speech of the same band.

    Aligned (samples,) at 16 kHz each; `heard` is the component with its noise, None without noise. Both the
    component and the whole have to be narrow, or noise in low bands would hide the upper half of wideband speech.
    """
    if (heard is None or is_narrow(heard)) and is_narrow(speech):
        return q_of_narrow(clean, speech, fitted)
    return equivalent_q(look(clean, speech), fitted)
