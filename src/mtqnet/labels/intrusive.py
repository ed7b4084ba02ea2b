"""PESQ, STOI and SDI of a processed recording against its clean reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError, missing_extra
from mtqnet.targets import PESQ, SDI, STOI

MAX_DELAY_S = 0.5
"""Seconds. Longer delays are not searched for: they are other recordings."""

MAX_PESQ_S = 60
"""Seconds. The reference code has room for 50 utterances; two minutes of lively speech overrun them, and the
process."""
PESQ_SAYS = {
    "NoUtterancesError": "the clean reference is silent, or too soft for PESQ to find an utterance in it",
    "BufferTooShortError": "shorter than 0.25 s: PESQ is not defined",
}

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Objective:
    """The three intrusive measures, in their own units and ranges."""

    pesq: float
    """Wideband MOS-LQO of ITU-T P.862.2, as the package `pesq` 0.0.4 computes it."""
    stoi: float
    """Taal et al. 2011, 0 to 1."""
    sdi: float
    """See `sdi`."""


def delay(clean: Samples, processed: Samples) -> int:
    """Samples by which `processed` lags `clean` (negative: leads), from the peak of the cross-correlation."""
    size = 1 << int(np.ceil(np.log2(len(clean) + len(processed))))
    spectrum = np.fft.rfft(processed, size) * np.conj(np.fft.rfft(clean, size))
    correlation = np.abs(np.fft.irfft(spectrum, size))
    reach = min(round(MAX_DELAY_S * SAMPLE_RATE), size // 2 - 1)
    lags = np.concatenate([correlation[: reach + 1], correlation[-reach:]])
    best = int(np.argmax(lags))
    return best if best <= reach else best - len(lags)


def align(clean: Samples, *others: Samples) -> tuple[Samples, ...]:
    """Recordings of one utterance -> the stretch that all cover, equally long and without delay; clean first.

    Raises LabelError if no sample remains.
    """
    lags = [0, *(delay(clean, other) for other in others)]
    start = max(-lag for lag in lags)
    cut = [signal[start + lag :] for signal, lag in zip((clean, *others), lags, strict=True)]
    length = min(map(len, cut))
    if length == 0:
        raise LabelError("the recordings do not overlap: are they of one utterance?")
    return tuple(signal[:length] for signal in cut)


def objective(clean: Samples, processed: Samples) -> Objective:
    """Aligned (samples,) at 16 kHz each -> the three measures. Raises LabelError."""
    return Objective(pesq_wb(clean, processed), stoi(clean, processed), sdi(clean, processed))


def pesq_wb(clean: Samples, processed: Samples) -> float:
    """Wideband PESQ (ITU-T P.862.2), MOS-LQO 1.04 to 4.64, of aligned (samples,) at 16 kHz.

    Raises LabelError for a reference in which PESQ finds no utterance, a silent processed signal, and for more
    than MAX_PESQ_S.
    """
    try:
        import pesq
    except ImportError as error:
        raise missing_extra("PESQ", "corpus") from error
    _same_length(clean, processed)
    if not np.any(processed):
        raise LabelError("the processed signal is silent: PESQ is not defined")
    if len(clean) > MAX_PESQ_S * SAMPLE_RATE:
        raise LabelError(f"{len(clean) / SAMPLE_RATE:.0f} s are too long for PESQ: cut to {MAX_PESQ_S} s or less")
    try:
        value = float(pesq.pesq(SAMPLE_RATE, clean, processed, "wb"))
    except (pesq.PesqError, ValueError) as error:
        raise LabelError(PESQ_SAYS.get(type(error).__name__, f"PESQ failed: {error}")) from error
    return PESQ.clip(value)


def stoi(clean: Samples, processed: Samples) -> float:
    """STOI (Taal et al. 2011), 0 to 1, of aligned (samples,) at 16 kHz. Raises LabelError."""
    try:
        import pystoi
    except ImportError as error:
        raise missing_extra("STOI", "corpus") from error
    import warnings

    _same_length(clean, processed)
    if not np.any(clean):
        raise LabelError("the clean reference is silent: STOI is not defined")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns 1e-5 where it has no value
        try:
            value = float(pystoi.stoi(clean, processed, SAMPLE_RATE, extended=False))
        except RuntimeWarning as error:
            raise LabelError("STOI failed: too little speech") from error
    return STOI.clip(value)


def sdi(clean: Samples, processed: Samples) -> float:
    """Speech distortion index of aligned (samples,): energy of the difference over that of the clean speech.

    Chen, Benesty, Huang, Doclo, IEEE TASLP 14(4), 2006, in the practical form `sum((x - p)^2) / sum(x^2)`
    on the whole output. p is first scaled so that the clean speech in it (its projection) has the level of x:
    a volume control is no distortion. Noise at an SNR of r dB has an SDI of 10^(-r/10). Clipped to 1e-4 .. 10.
    """
    _same_length(clean, processed)
    x, p = clean.astype(np.float64), processed.astype(np.float64)
    energy, shared = float(x @ x), float(x @ p)
    if energy == 0:
        raise LabelError("the clean reference is silent: SDI is not defined")
    if shared <= 0:
        return SDI.high
    return SDI.clip(float(np.sum((x - p * (energy / shared)) ** 2)) / energy)


def _same_length(clean: Samples, processed: Samples) -> None:
    if len(clean) != len(processed):
        raise LabelError(f"clean has {len(clean)} samples, processed {len(processed)}: align them first")
