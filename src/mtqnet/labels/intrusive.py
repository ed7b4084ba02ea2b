"""Measures of a processed recording against its clean reference: PESQ, STOI, SDI and the composite measures.

The composite measures Csig, Cbak and Covl are for comparison with the literature (Y. Hu, P. C. Loizou, "Evaluation of
objective quality measures for speech enhancement", IEEE TASLP 16(1), 2008): each is a linear sum of PESQ, the
log-likelihood ratio of the spectral envelopes (LLR), the weighted spectral slope distance (WSS) and the segmental SNR,
and predicts a P.835 rating. They are not this package's labels. Frames, bands and limits follow the authors' program
`composite`, with one difference: frames in which the clean reference is digital silence are left out. There no
measure is defined, and that program counts -10 dB of SNR even where both signals are the same. Levels are not changed:
neither signal is scaled to its peak or to the other, and a gain counts as a difference.

All signals are aligned (samples,) at 16 kHz (pairing.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError, missing_extra
from mtqnet.targets import PESQ, SDI, STOI

MAX_PESQ_S = 60
"""Seconds. The reference code has room for 50 utterances; two minutes of lively speech overrun them, and the
process."""
PESQ_SAYS = {
    "NoUtterancesError": "the clean reference is silent, or too soft for PESQ to find an utterance in it",
    "BufferTooShortError": "shorter than 0.25 s: PESQ is not defined",
}

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """The three intrusive measures, in their own units and ranges."""

    pesq: float
    """Wideband MOS-LQO of ITU-T P.862.2, as the package `pesq` 0.0.4 computes it."""
    stoi: float
    """Taal et al. 2011, 0 to 1."""
    sdi: float
    """See `sdi`."""


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


# Composite measures

FRAME = round(0.03 * SAMPLE_RATE)
"""Samples; frames overlap by 75 %."""
KEPT_SHARE = 0.95
"""Share of frames, the best, over which LLR and WSS are averaged."""
SILENCE = 1e-12
"""Mean power (full scale is 1) below which a frame is digital silence. A single last bit of 16 has more."""
EPSILON = float(np.finfo(np.float64).eps)
"""Added to samples and energies, as in `composite`: a frame of zeros then has a spectrum."""

ORDER = 16
"""Order of linear prediction"""
ERROR_FLOOR = 1e-12
"""Smallest prediction error over the power of a frame; what is below comes from rounding."""

CENTRES_HZ = (
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
"""Hz: critical bands of the WSS as `composite` has them"""
BANDWIDTHS_HZ = (
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423,
    153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip
"""Hz"""
BAND_FLOOR = float(np.exp(-30 / (2 * 2.303)))
"""Weights of a band below this are zero ("-30 dB")."""
K_MAX, K_LOCAL = 20.0, 1.0
"""dB: how fast the weight of a band falls below the spectrum's and the nearest peak (Klatt, ICASSP 1982)"""

SNR_LOW_DB, SNR_HIGH_DB = -10.0, 35.0
"""dB: limits of the SNR of a frame"""


@dataclass(frozen=True)
class Composite:
    """Three predicted ratings, 1 to 5, and the measures that they are computed from."""

    csig: float
    """Distortion of the speech; P.835 SIG"""
    cbak: float
    """Intrusiveness of the background; P.835 BAK"""
    covl: float
    """Overall quality; P.835 OVRL"""


def composite(clean: Samples, processed: Samples, pesq: float) -> Composite:
    """The composite measures. Raises LabelError.

    `pesq` is MOS-LQO of P.862.2, as in today's tables of VoiceBank-DEMAND.
    """
    return combine(llr(clean, processed), wss(clean, processed), segmental_snr(clean, processed), pesq)


def combine(llr: float, wss: float, segmental_snr_db: float, pesq: float) -> Composite:
    """The sums of Hu and Loizou 2008, each clipped to 1 .. 5."""
    csig = 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss
    cbak = 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * segmental_snr_db
    covl = 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss
    return Composite(*(min(max(value, 1.0), 5.0) for value in (csig, cbak, covl)))


def llr(clean: Samples, processed: Samples) -> float:
    """Log-likelihood ratio of aligned (samples,), 0 (same envelope) and up: `ln(a_p R_c a_p / a_c R_c a_c)`.

    a are the coefficients of linear prediction, R_c the autocorrelation of the clean frame. Mean of the lowest
    95 % of frames, which are not limited to 2, as inside `composite`. Raises LabelError.
    """
    frames = _frames(clean, processed)
    # (frames, order + 1) of the autocorrelation of each signal
    lags_c, lags_p = (np.fft.irfft(_power_spectra(signal), axis=1)[:, : ORDER + 1] for signal in frames)
    error_p = _prediction_error(_linear_prediction(lags_p), lags_c)
    error_c = _prediction_error(_linear_prediction(lags_c), lags_c)
    return _mean_of_lowest(np.log(np.maximum(error_p / error_c, 1.0)))  # less than 1 only by rounding


def wss(clean: Samples, processed: Samples) -> float:
    """Weighted spectral slope distance (Klatt 1982) of aligned (samples,), 0 (same spectra) and up, in dB^2.

    From 25 critical bands up to 3.8 kHz; mean of the lowest 95 % of frames. Raises LabelError.
    """
    levels_c, levels_p = map(_band_levels, _frames(clean, processed))
    weights = (_slope_weights(levels_c) + _slope_weights(levels_p)) / 2
    difference = np.diff(levels_c, axis=1) - np.diff(levels_p, axis=1)
    return _mean_of_lowest(np.sum(weights * difference**2, axis=1) / np.sum(weights, axis=1))


def segmental_snr(clean: Samples, processed: Samples) -> float:
    """Segmental SNR of aligned (samples,), in dB: mean of `10 log10(sum c^2 / sum (c - p)^2)`, each in -10 .. 35.

    Signals are compared at the levels that they have: half the amplitude is 6 dB. Raises LabelError.
    """
    frames_c, frames_p = _frames(clean, processed)
    signal, noise = np.sum(frames_c**2, axis=1), np.sum((frames_c - frames_p) ** 2, axis=1)
    decibels = 10 * np.log10(signal / (noise + EPSILON) + EPSILON)
    return float(np.mean(np.clip(decibels, SNR_LOW_DB, SNR_HIGH_DB)))


def _frames(clean: Samples, processed: Samples) -> tuple[Array, Array]:
    """(samples,) each -> (frames, FRAME) each, Hann-weighted, where the clean reference is not silent."""
    _same_length(clean, processed)
    for name, signal in (("clean reference", clean), ("processed signal", processed)):
        if not np.any(signal):
            raise LabelError(f"the {name} is silent: the composite measures are not defined")
    hop = FRAME // 4
    count = (len(clean) - FRAME) // hop  # like `composite`, without the last whole frame
    if count < 1:
        raise LabelError(f"{len(clean)} samples are too short: one frame and a quarter needs {FRAME + hop}")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, FRAME + 1) / (FRAME + 1))
    clean_frames, processed_frames = (
        np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64) + EPSILON, FRAME)[::hop][:count] * hann
        for signal in (clean, processed)
    )
    heard = np.mean(clean_frames**2, axis=1) > SILENCE
    if not np.any(heard):
        raise LabelError("the clean reference is silent: the composite measures are not defined")
    return clean_frames[heard], processed_frames[heard]


def _power_spectra(frames: Array) -> Array:
    """(frames, window) -> (frames, bins); the size leaves room for every lag of the autocorrelation."""
    size = 1 << (2 * frames.shape[1] - 1).bit_length()
    return np.asarray(np.abs(np.fft.rfft(frames, size, axis=1)) ** 2)


def _linear_prediction(lags: Array) -> Array:
    """(frames, order + 1) -> (frames, order + 1): 1 and the negated predictor, by Levinson and Durbin."""
    coefficients = np.zeros_like(lags)
    coefficients[:, 0] = 1
    error, floor = lags[:, 0].copy(), ERROR_FLOOR * lags[:, 0]
    for step in range(1, lags.shape[1]):
        known = coefficients[:, : step + 1]
        left = np.sum(known * lags[:, step::-1], axis=1)
        reflection = np.where(error > floor, -left / error, 0.0)  # what is predicted perfectly needs no more
        coefficients[:, : step + 1] = known + reflection[:, None] * known[:, ::-1]
        error = np.maximum(error * (1 - reflection**2), floor)
    return coefficients


def _prediction_error(coefficients: Array, lags: Array) -> Array:
    """(frames, order + 1) each -> (frames,): energy of signals with these lags after this predictor's filter."""
    place = np.arange(lags.shape[1])
    matrices = lags[:, np.abs(place[:, None] - place)]
    error: Array = np.einsum("fi,fij,fj->f", coefficients, matrices, coefficients)
    return np.maximum(error, ERROR_FLOOR * lags[:, 0])


def _band_levels(frames: Array) -> Array:
    """(frames, window) -> (frames, 25): dB in each critical band, under Gaussian weights of equal sum."""
    spectra = _power_spectra(frames)[:, :-1]
    hertz_a_bin = SAMPLE_RATE / 2 / spectra.shape[1]
    middles = np.floor(np.array(CENTRES_HZ) / hertz_a_bin)[:, None]
    widths = np.array(BANDWIDTHS_HZ)[:, None]
    distance = (np.arange(spectra.shape[1]) - middles) * hertz_a_bin / widths
    weights = np.exp(-11.0 * distance**2) * BANDWIDTHS_HZ[0] / widths
    energies = spectra @ np.where(weights > BAND_FLOOR, weights, 0.0).T
    return np.asarray(10 * np.log10(np.maximum(energies, 1e-10)))


def _slope_weights(levels: Array) -> Array:
    """(frames, bands) in dB -> (frames, bands - 1): near 1 at the peaks of a spectrum, small in its valleys."""
    below_peak = levels.max(axis=1, keepdims=True) - levels[:, :-1]
    below_local = _nearest_peaks(levels) - levels[:, :-1]
    return np.asarray(K_MAX / (K_MAX + below_peak) * K_LOCAL / (K_LOCAL + below_local))


def _nearest_peaks(levels: Array) -> Array:
    """(frames, bands) in dB -> (frames, bands - 1): level of the peak up the slope from each band.

    On a rising slope `composite` stops one band before the peak; so does this.
    """
    rises = np.diff(levels, axis=1) > 0
    peaks = levels[:, :-1].copy()
    last = peaks.shape[1] - 1
    for band in range(1, last + 1):
        falls_on = ~rises[:, band] & ~rises[:, band - 1]
        peaks[:, band] = np.where(falls_on, peaks[:, band - 1], peaks[:, band])
    for band in range(last - 1, -1, -1):
        rises_on = rises[:, band] & rises[:, band + 1]
        peaks[:, band] = np.where(rises_on, peaks[:, band + 1], peaks[:, band])
    return peaks


def _mean_of_lowest(distances: Array) -> float:
    kept = max(1, round(KEPT_SHARE * len(distances)))
    return float(np.mean(np.sort(distances)[:kept]))
