"""S-, N- and G-MOS from three signals: clean, unprocessed and processed (the inputs of 3QUEST).

The labels are "3QUEST-style, anchored on public P.835 ratings", never 3QUEST. The way:
  1. S: how far the processed *speech component* is from clean, as an equivalent Q: the level of modulated
     noise (MNRU, ITU-T P.810) of the same degradation (labels/speech.py); narrowband is compared with narrowband
     (labels/speech.py).
  2. N: the level of the processed *noise component* in the speech pauses and over the whole recording, with the
     recording's own background, as an equivalent SNR: active speech level (P.56) over the A-weighted noise level
     (labels/background.py).
  3. Curves fitted to rated P.835 reference conditions turn (Q, SNR) into S and N, and (S, N) into G.
A simulation knows both components exactly (`label`); for a black box they are estimated from the three signals
(`label_three`, labels/components.py); with clean and processed only, N-MOS is limited (`label_two`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import nominal_gain
from mtqnet.errors import LabelError
from mtqnet.labels.background import background, own_snr, pause_frames
from mtqnet.labels.components import components
from mtqnet.labels.curves import Curves, curves
from mtqnet.labels.intrusive import align
from mtqnet.labels.pairing import check_delay, check_pair, check_processed
from mtqnet.labels.speech import q_in_its_band
from mtqnet.targets import G_MOS, N_MOS, S_MOS

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quest:
    """The three labels and their reasons."""

    s_mos: float
    n_mos: float
    g_mos: float
    equivalent_q_db: float
    equivalent_snr_db: float
    caution: str = ""
    """Limits of the labels in words; empty if there are none"""


MOST_LEAK_Q_DB = 12.0
"""dB of Q below which modulated noise lowers N no further: listeners rated BAK 3.3 at Q 8, 3.1 at Q 16 (CSP835)"""
LEAST_LIKENESS = 0.05
"""Normalised correlation of clean and unprocessed: at -20 dB SNR it is 0.1, of unlike recordings about 0.01"""
PAUSES_LOUDER_DB = 10.0
"""dB by which the pauses may be louder without a caution: of 64 coded recordings one exceeds it, by 17 dB"""
CAUTIONS = "; "
"""Between several cautions"""
BACKGROUND_UNSEEN = (
    "the pauses are {:.0f} dB louder than in the clean speech. Without the unprocessed signal background cannot "
    "be distinguished from distortion: it lowers S-MOS, and N-MOS does not include it"
)


def label(clean: Samples, speech: Samples, noise: Samples, fitted: Curves | None = None) -> Quest:
    """Components of the processed signal, known exactly in a simulation -> labels. (samples,) each, aligned.

    Raises LabelError where PESQ of the speech component is not defined.
    """
    fitted = fitted or curves()
    q_db = q_in_its_band(clean, speech, fitted, speech + noise)
    found = background(clean, speech, noise)
    return quest(q_db, found.snr(), fitted, found.snr(0.0))


def label_three(clean: Samples, unprocessed: Samples, processed: Samples, fitted: Curves | None = None) -> Quest:
    """Clean, unprocessed (speech + noise) and processed, (samples,) at 16 kHz -> labels.

    Delay, level and polarity are compensated: each signal may be up to 0.5 s late and have any gain. What
    `unprocessed` contains in addition to the clean speech is noise here, the room's reverberation included. Raises
    LabelError where the clean speech is not found in the unprocessed or the processed signal, where their clocks
    differ by more than 30 ppm, or where PESQ is not defined; `caution` reports smaller changes of the delay.
    """
    clean, unprocessed, processed = (_nominal(signal) for signal in align(clean, unprocessed, processed))
    if abs(_likeness(clean, unprocessed)) < LEAST_LIKENESS:
        raise LabelError(
            "the unprocessed signal does not contain the clean speech: do the files belong together, "
            "less than 0.5 s apart?"
        )
    unprocessed, processed = (_upright(clean, signal) for signal in (unprocessed, processed))
    cautions = (
        check_processed(clean, unprocessed, processed),
        check_delay(clean, unprocessed, "unprocessed"),
        check_delay(clean, processed, "processed"),
    )
    gain = float(clean.astype(np.float64) @ unprocessed) / float(clean.astype(np.float64) @ clean)
    speech, noise = components(clean * np.float32(gain), unprocessed, processed)
    made = label(clean, speech, noise, fitted)
    return replace(made, caution=CAUTIONS.join(filter(None, cautions)))


def label_two(clean: Samples, processed: Samples, fitted: Curves | None = None) -> Quest:
    """Clean and processed alone, (samples,) at 16 kHz -> labels of speech without background.

    The unprocessed signal is assumed to be the clean one: every difference is distortion of the speech, and N
    describes how loud the clean recording's own background is. For codecs, concealment and rooms that is as good as
    three signals. If the pauses are PAUSES_LOUDER_DB louder, `caution` describes the limits of the labels.
    Raises LabelError as `label_three`.
    """
    fitted = fitted or curves()
    clean, processed = align(clean, processed)
    processed = _upright(clean, processed)
    check_pair(clean, processed, "processed")
    drifted = check_delay(clean, processed, "processed")
    pauses = pause_frames(clean)
    before, after = own_snr(clean, pauses), own_snr(processed, pauses)
    made = quest(q_in_its_band(clean, processed, fitted), before, fitted)
    louder = before - after
    unseen = BACKGROUND_UNSEEN.format(louder) if louder > PAUSES_LOUDER_DB else ""
    return replace(made, caution=CAUTIONS.join(filter(None, (drifted, unseen))))


def _nominal(signal: Samples) -> Samples:
    return signal * np.float32(nominal_gain(signal))


def _upright(clean: Samples, signal: Samples) -> Samples:
    """The signal, or its negative if that is what the clean speech came out as."""
    return -signal if _likeness(clean, signal) < 0 else signal


def _likeness(one: Samples, other: Samples) -> float:
    """Normalised correlation, -1 to 1; 0 with silence."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    return float(x @ y / np.sqrt(max(float((x @ x) * (y @ y)), 1e-30)))


def quest(q_db: float, snr_db: float, fitted: Curves, masking_db: float | None = None) -> Quest:
    """Equivalent Q and SNR in dB -> labels within their ranges.

    `masking_db` is the SNR without the pauses, for S-MOS; None if it is the same.
    """
    masking = np.array(snr_db if masking_db is None else masking_db)
    s = float(speech_mos(np.array(q_db), masking, fitted.speech))
    n = float(noise_mos(np.array(q_db), np.array(snr_db), fitted.noise))
    s, n = S_MOS.clip(s), N_MOS.clip(n)
    g = G_MOS.clip(float(general_mos(np.array(s), np.array(n), fitted.general)))
    return Quest(s, n, g, q_db, snr_db)


def speech_mos(q_db: Array, snr_db: Array, p: tuple[float, ...] | Array) -> Array:
    """S-MOS: a logistic curve over an effective Q.

    Noise does two things to distorted speech: it hides some of the distortion (k, a), and it is itself taken
    for a little damage (c). Effective distortion = D / (1 + k M^a) + c M, with D = 10^(-Q/10) and
    M = 10^(-SNR/10).
    p = (log10 k, a, log10 c, middle in dB, width in dB, top).
    """
    log_k, a, log_c, middle, width, top = p
    distortion, masker = 10 ** (-q_db / 10), 10 ** (-snr_db / 10)
    effective = distortion / (1 + 10**log_k * masker**a) + 10**log_c * masker
    return _logistic(-10 * np.log10(effective), middle, width, top)


def noise_mos(q_db: Array, snr_db: Array, p: tuple[float, ...] | Array) -> Array:
    """N-MOS: a logistic curve over the SNR, in which modulated noise counts a little as background (c).

    No more of it than at MOST_LEAK_Q_DB. p = (log10 c, middle in dB, width in dB, top).
    """
    log_c, middle, width, top = p
    heard = 10 ** (-snr_db / 10) + 10**log_c * 10 ** (-np.maximum(q_db, MOST_LEAK_Q_DB) / 10)
    return _logistic(-10 * np.log10(heard), middle, width, top)


def general_mos(s: Array, n: Array, p: tuple[float, ...] | Array) -> Array:
    """G-MOS: quadratic in S and N, the form of EG 202 396-3, with coefficients of our own."""
    terms = np.stack([np.ones_like(s), s, n, s * n, s * s, n * n])
    return np.tensordot(np.asarray(p), terms, axes=1)


def _logistic(x: Array, middle: float, width: float, top: float) -> Array:
    return 1 + (top - 1) / (1 + np.exp(-(x - middle) / width))
