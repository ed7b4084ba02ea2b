"""S-, N- and G-MOS from three signals: clean, unprocessed and processed (the inputs of 3QUEST).

The labels are "3QUEST-style, anchored on public P.835 ratings", never 3QUEST. The way:
  1. S: how far the processed *speech component* is from clean, as an equivalent Q: the level of modulated
     noise (MNRU, ITU-T P.810) that PESQ would rate alike.
  2. N: how loud the processed *noise component* is, and the recording's own background with it, as an equivalent
     SNR: active speech level (P.56) over the A-weighted noise level.
  3. Curves fitted to rated P.835 reference conditions turn (Q, SNR) into S and N, and (S, N) into G.
The curves are numbers in curves.json beside this file, written by `mtqnet labels fit` (labels/fit.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.labels.intrusive import LabelError, pesq_wb
from mtqnet.signal.level import a_weighted, a_weighted_power, active_level, to_db
from mtqnet.targets import G_MOS, N_MOS, S_MOS

CURVES = Path(__file__).with_name("curves.json")
MAX_SNR_DB = 70.0
"""dB; a noise component below this is not there."""

PAUSE_FRAME = 480
"""Samples, 30 ms: shorter than the gaps between words"""
PAUSE_SHARE = 0.06
"""Share of frames, the quietest, that are taken for pauses; even fluent speech has half so many"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Fitted numbers. Every field is written by labels/fit.py; none is typed in."""

    q_db: tuple[float, ...]
    """dB, rising: MNRU levels at which the mean PESQ of clean talkers was measured ..."""
    pesq_at_q: tuple[float, ...]
    """... and that mean, rising."""
    speech: tuple[float, ...]
    """Parameters of `speech_mos`."""
    noise: tuple[float, ...]
    """Parameters of `noise_mos`."""
    general: tuple[float, ...]
    """Coefficients of `general_mos`: 1, S, N, S N, S^2, N^2."""


@dataclass(frozen=True)
class Quest:
    """The three labels and their reasons."""

    s_mos: float
    n_mos: float
    g_mos: float
    equivalent_q_db: float
    equivalent_snr_db: float


@lru_cache(maxsize=1)
def curves() -> Curves:
    """The fitted curves that ship with the package."""
    stored = json.loads(CURVES.read_text())["curves"]
    return Curves(**{name: tuple(values) for name, values in stored.items()})


def label(clean: Samples, speech: Samples, noise: Samples, fitted: Curves | None = None) -> Quest:
    """Components of the processed signal, known exactly in a simulation -> labels. (samples,) each, aligned.

    Raises LabelError where PESQ of the speech component is not defined.
    """
    fitted = fitted or curves()
    q = equivalent_q(pesq_wb(clean, speech), fitted)
    snr = heard_snr(clean, speech, noise)
    s = float(speech_mos(np.array(q), np.array(snr), fitted.speech))
    n = float(noise_mos(np.array(q), np.array(snr), fitted.noise))
    s, n = S_MOS.clip(s), N_MOS.clip(n)
    g = G_MOS.clip(float(general_mos(np.array(s), np.array(n), fitted.general)))
    return Quest(s, n, g, q, snr)


def label_three(clean: Samples, unprocessed: Samples, processed: Samples) -> Quest:
    """Clean, unprocessed (speech + noise) and processed, aligned (samples,) at 16 kHz -> labels.

    For a black box: its components are estimated by `components`.
    """
    return label(clean, *components(clean, unprocessed, processed))


def components(clean: Samples, unprocessed: Samples, processed: Samples) -> tuple[Samples, Samples]:
    """(speech, noise) of `processed`, by the gain that the black box shows in time and frequency.

    |gain| = |P| / |U| in frames of 32 ms, at most GAIN_LIMIT; applied to clean and to unprocessed - clean
    ("shadow filtering").
    """
    if not len(clean) == len(unprocessed) == len(processed):
        raise LabelError("clean, unprocessed and processed must be aligned and equally long")
    from mtqnet.signal.stft import istft, stft

    u, p = np.abs(stft(unprocessed)), np.abs(stft(processed))
    gain = np.minimum(p / np.maximum(u, 1e-7), GAIN_LIMIT)
    noise = unprocessed - clean
    return istft(gain * stft(clean), len(clean)), istft(gain * stft(noise), len(clean))


GAIN_LIMIT = 4.0
"""12 dB: a bin that comes out louder than that is new sound, not amplified input."""


def equivalent_q(pesq: float, fitted: Curves) -> float:
    """dB of MNRU Q at which clean talkers have this mean PESQ; ends of the measured range beyond it."""
    return float(np.interp(pesq, fitted.pesq_at_q, fitted.q_db))


def equivalent_snr(speech: Samples, noise: Samples) -> float:
    """dB: active level of the speech component over the A-weighted level of the noise component."""
    return min(MAX_SNR_DB, active_level(speech) - to_db(a_weighted_power(noise)))


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
    powers = _frame_powers(speech)
    if len(powers) == 0:
        return MAX_SNR_DB
    return float(np.clip(active_level(speech) - to_db(float(np.median(powers[pauses]))), 0.0, MAX_SNR_DB))


def _frame_powers(samples: Samples) -> Array:
    """(samples,) -> (frames,): A-weighted power of each PAUSE_FRAME."""
    weighted = a_weighted(samples)
    frames = weighted[: len(weighted) // PAUSE_FRAME * PAUSE_FRAME].reshape(-1, PAUSE_FRAME)
    return np.asarray(np.mean(frames**2, axis=1))


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

    p = (log10 c, middle in dB, width in dB, top).
    """
    log_c, middle, width, top = p
    heard = 10 ** (-snr_db / 10) + 10**log_c * 10 ** (-q_db / 10)
    return _logistic(-10 * np.log10(heard), middle, width, top)


def general_mos(s: Array, n: Array, p: tuple[float, ...] | Array) -> Array:
    """G-MOS: quadratic in S and N, the form of EG 202 396-3, with coefficients of our own."""
    terms = np.stack([np.ones_like(s), s, n, s * n, s * s, n * n])
    return np.tensordot(np.asarray(p), terms, axes=1)


def _logistic(x: Array, middle: float, width: float, top: float) -> Array:
    return 1 + (top - 1) / (1 + np.exp(-(x - middle) / width))
