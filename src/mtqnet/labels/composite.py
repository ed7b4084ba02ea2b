"""The composite measures Csig, Cbak and Covl of Hu and Loizou, for comparison with the literature.

Y. Hu, P. C. Loizou, "Evaluation of objective quality measures for speech enhancement", IEEE TASLP 16(1), 2008:
each is a linear sum of PESQ, the log-likelihood ratio of the spectral envelopes (LLR), the weighted spectral slope
distance (WSS) and the segmental SNR, and predicts a P.835 rating. They are not this package's labels. Frames,
bands and limits follow the authors' program `composite`, with one difference: frames in which the clean
reference is digital silence are left out. There no measure is defined, and that program counts -10 dB of SNR
even where both signals are the same.

Levels are not changed: neither signal is scaled to its peak or to the other, and a gain counts as a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError, UsageError, missing_extra
from mtqnet.labels.intrusive import pesq_wb

FRAME_S = 0.03
"""Seconds; frames overlap by 75 %."""
KEPT_SHARE = 0.95
"""Share of frames, the best, over which LLR and WSS are averaged."""
MIN_RATE = 8_000
"""Hz; below it the WSS bands do not fit under half the sampling rate."""

SILENCE = 1e-12
"""Mean power (full scale is 1) below which a frame is digital silence. A single last bit of 16 has more."""
EPSILON = float(np.finfo(np.float64).eps)
"""Added to samples and energies, as in `composite`: a frame of zeros then has a spectrum."""

ORDER, ORDER_BELOW_10_KHZ = 16, 10
"""Order of linear prediction"""
ERROR_FLOOR = 1e-12
"""Smallest prediction error over the power of a frame; what is below comes from rounding."""

CENTRES_HZ = (
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
"""Hz: critical bands of the WSS as `composite` has them, at every sampling rate"""
BANDWIDTHS_HZ = (
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423,
    153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip
"""Hz"""
BAND_SHAPE = 11.0
"""Exponent of the Gaussian bands: exp(-11) one bandwidth from the centre"""
BAND_FLOOR = float(np.exp(-30 / (2 * 2.303)))
"""Weights of a band below this are zero ("-30 dB")."""
ENERGY_FLOOR = 1e-10
"""-100 dB: smallest energy of a band"""
K_MAX, K_LOCAL = 20.0, 1.0
"""dB: how fast the weight of a band falls below the spectrum's and the nearest peak (Klatt, ICASSP 1982)"""

SNR_LOW_DB, SNR_HIGH_DB = -10.0, 35.0
"""dB: limits of the SNR of a frame"""
RAW_LOW, RAW_HIGH = -0.5, 4.5
"""Range of the raw score of ITU-T P.862"""

PesqVariant = Literal["wideband", "narrowband"]
Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Composite:
    """Three predicted ratings, 1 to 5, and the measures that they are computed from."""

    csig: float
    """Distortion of the speech; P.835 SIG"""
    cbak: float
    """Intrusiveness of the background; P.835 BAK"""
    covl: float
    """Overall quality; P.835 OVRL"""
    llr: float
    wss: float
    segmental_snr_db: float
    pesq: float
    """The value that went into the sums: MOS-LQO ("wideband") or raw score ("narrowband")."""


def composite(clean: Samples, processed: Samples, pesq: PesqVariant = "wideband") -> Composite:
    """Aligned (samples,) at 16 kHz each -> the composite measures. Raises LabelError.

    `pesq` selects the PESQ variant; values of the two variants cannot be compared with each other.
      "wideband"    MOS-LQO of P.862.2: what today's tables of VoiceBank-DEMAND contain.
      "narrowband"  raw score of P.862: what Hu and Loizou validated. See `pesq_nb_raw`.
    """
    if pesq not in ("wideband", "narrowband"):
        raise UsageError(f"pesq must be 'wideband' or 'narrowband', not {pesq!r}")
    parts = llr(clean, processed), wss(clean, processed), segmental_snr(clean, processed)
    quality = pesq_wb(clean, processed) if pesq == "wideband" else pesq_nb_raw(clean, processed)
    return Composite(*combine(*parts, quality), *parts, quality)


def combine(llr: float, wss: float, segmental_snr_db: float, pesq: float) -> tuple[float, float, float]:
    """The measures -> (csig, cbak, covl), each clipped to 1 .. 5. Hu and Loizou 2008."""
    csig = 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss
    cbak = 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * segmental_snr_db
    covl = 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss
    return _rating(csig), _rating(cbak), _rating(covl)


def pesq_nb_raw(clean: Samples, processed: Samples) -> float:
    """Raw narrowband score of ITU-T P.862, -0.5 to 4.5, of aligned (samples,) at 16 kHz.

    From the MOS-LQO of mode "nb" of the package `pesq` 0.0.4, through the inverse of P.862.1. It runs at
    16 kHz, a rate of P.862 itself, whose receive filter limits the band, so that resampling to 8 kHz is not needed.
    Raises LabelError for a reference in which PESQ finds no utterance, or a silent processed signal.
    """
    try:
        import pesq
    except ImportError as error:
        raise missing_extra("PESQ", "corpus") from error
    _check(clean, processed, SAMPLE_RATE)
    try:
        lqo = float(pesq.pesq(SAMPLE_RATE, clean, processed, "nb"))
    except (pesq.PesqError, ValueError) as error:
        raise LabelError(f"PESQ failed: {type(error).__name__}") from error
    return min(max(_raw_from_lqo(lqo), RAW_LOW), RAW_HIGH)


def llr(clean: Samples, processed: Samples, rate: int = SAMPLE_RATE) -> float:
    """Log-likelihood ratio of aligned (samples,), 0 (same envelope) and up: `ln(a_p R_c a_p / a_c R_c a_c)`.

    a are the coefficients of linear prediction, R_c the autocorrelation of the clean frame. Mean of the lowest
    95 % of frames, which are not limited to 2, as inside `composite`. Raises LabelError.
    """
    frames = _frames(clean, processed, rate)
    order = ORDER if rate >= 10_000 else ORDER_BELOW_10_KHZ
    lags_c, lags_p = (_autocorrelation(signal, order) for signal in frames)
    error_p = _prediction_error(_linear_prediction(lags_p), lags_c)
    error_c = _prediction_error(_linear_prediction(lags_c), lags_c)
    return _mean_of_lowest(np.log(np.maximum(error_p / error_c, 1.0)))  # less than 1 only by rounding


def wss(clean: Samples, processed: Samples, rate: int = SAMPLE_RATE) -> float:
    """Weighted spectral slope distance (Klatt 1982) of aligned (samples,), 0 (same spectra) and up, in dB^2.

    From 25 critical bands up to 3.8 kHz; mean of the lowest 95 % of frames. Raises LabelError.
    """
    levels_c, levels_p = (_band_levels(signal, rate) for signal in _frames(clean, processed, rate))
    weights = (_slope_weights(levels_c) + _slope_weights(levels_p)) / 2
    difference = np.diff(levels_c, axis=1) - np.diff(levels_p, axis=1)
    return _mean_of_lowest(np.sum(weights * difference**2, axis=1) / np.sum(weights, axis=1))


def segmental_snr(clean: Samples, processed: Samples, rate: int = SAMPLE_RATE) -> float:
    """Segmental SNR of aligned (samples,), in dB: mean of `10 log10(sum c^2 / sum (c - p)^2)`, each in -10 .. 35.

    Signals are compared at the levels that they have: half the amplitude is 6 dB. Raises LabelError.
    """
    frames_c, frames_p = _frames(clean, processed, rate)
    signal, noise = np.sum(frames_c**2, axis=1), np.sum((frames_c - frames_p) ** 2, axis=1)
    decibels = 10 * np.log10(signal / (noise + EPSILON) + EPSILON)
    return float(np.mean(np.clip(decibels, SNR_LOW_DB, SNR_HIGH_DB)))


def _check(clean: Samples, processed: Samples, rate: int) -> None:
    if len(clean) != len(processed):
        raise LabelError(f"clean has {len(clean)} samples, processed {len(processed)}: align them first")
    if rate < MIN_RATE:
        raise UsageError(f"the composite measures need {MIN_RATE} Hz or more, not {rate}")
    for name, signal in (("clean reference", clean), ("processed signal", processed)):
        if not np.any(signal):
            raise LabelError(f"the {name} is silent: the composite measures are not defined")


def _frames(clean: Samples, processed: Samples, rate: int) -> tuple[Array, Array]:
    """(samples,) each -> (frames, window) each, Hann-weighted, where the clean reference is not silent."""
    _check(clean, processed, rate)
    window = round(FRAME_S * rate)
    hop = window // 4
    count = (len(clean) - window) // hop  # like `composite`, without the last whole frame
    if count < 1:
        raise LabelError(f"{len(clean)} samples are too short: one frame and a quarter needs {window + hop}")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, window + 1) / (window + 1))
    clean_frames, processed_frames = (
        np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64) + EPSILON, window)[::hop][:count] * hann
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


def _autocorrelation(frames: Array, order: int) -> Array:
    """(frames, window) -> (frames, order + 1)"""
    return np.asarray(np.fft.irfft(_power_spectra(frames), axis=1)[:, : order + 1])


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


def _band_levels(frames: Array, rate: int) -> Array:
    """(frames, window) -> (frames, 25): dB in each critical band."""
    spectra = _power_spectra(frames)[:, :-1]
    energies = spectra @ _bands(spectra.shape[1], rate).T
    return np.asarray(10 * np.log10(np.maximum(energies, ENERGY_FLOOR)))


def _bands(bins: int, rate: int) -> Array:
    """(25, bins): Gaussian weights of equal sum, from 0 Hz to the last bin below half the rate."""
    hertz_a_bin = rate / 2 / bins
    middles = np.floor(np.array(CENTRES_HZ) / hertz_a_bin)[:, None]
    widths = np.array(BANDWIDTHS_HZ)[:, None]
    distance = (np.arange(bins) - middles) * hertz_a_bin / widths
    weights = np.exp(-BAND_SHAPE * distance**2) * BANDWIDTHS_HZ[0] / widths
    return np.where(weights > BAND_FLOOR, weights, 0.0)


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


def _raw_from_lqo(lqo: float) -> float:
    """MOS-LQO of ITU-T P.862.1 -> raw score of P.862; inverse of `0.999 + 4 / (1 + exp(4.6607 - 1.4945 raw))`."""
    return (4.6607 - log(4 / (lqo - 0.999) - 1)) / 1.4945


def _rating(value: float) -> float:
    return min(max(value, 1.0), 5.0)
