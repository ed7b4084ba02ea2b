"""Distance of a speech component from clean speech: three measures, combined to an equivalent Q.

    pesq      wideband PESQ: sensitive to short faults, noise in the speech, distortion, missing bands
    envelope  distance of the slow spectrum: balance and movement of the bands, deaf to fine structure and phase;
              what is missing counts less than what was added
    kept      whether the waveform is still there at all (coherence below 2 kHz)

PESQ compares waveforms' fine structure. A vocoder that resynthesises the speech (neural codecs) preserves none of it:
there PESQ ranks such codecs backwards, and the slow spectrum decides. Where the waveform is kept both count. What
else was tried, and the figures: docs/labeller.md.

Narrowband recordings are compared with clean speech of the same band. Listeners of a narrowband test rate undistorted
telephone speech nearly as high as listeners of a wideband test rate undistorted wideband speech: SIG 4.3 at SNR 40 and
Q 40 dB in the rated narrowband conditions (NOIZEUS at 8 kHz), 4.2 to 4.9 in the wide ones (CSP835). Intrusive measures
have a narrowband mode with a narrowband reference for this reason (P.862 in addition to P.862.2; EG 202 396-3 as well).
A missing upper half is no distortion if that half is empty, and distortion if a filter removed only a part of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import STFT_WINDOW, log_mel, stft
from mtqnet.audio.level import nominal_gain
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.labels.intrusive import pesq_wb

CURVES = Path(__file__).with_name("curves.json")
"""Fitted parameters of the labeller, written by `python -m research.labeller fit`"""


@dataclass(frozen=True)
class Curves:
    """Fitted parameters of the labeller, as they are in CURVES."""

    q_db: tuple[float, ...]
    """dB, rising: MNRU levels at which clean speech was measured ..."""
    pesq_at_q: tuple[float, ...]
    """... their mean PESQ there, rising ..."""
    envelope_at_q: tuple[float, ...]
    """... and their mean envelope distance in dB, falling (`envelope_distance`)."""
    narrow_q_at_q: tuple[float, ...]
    """dB, rising: the equivalent Q that these two give narrowband speakers with narrowband MNRU of each Q."""
    speech: tuple[float, ...]
    """Parameters of three_signal.speech_mos."""
    noise: tuple[float, ...]
    """Parameters of three_signal.noise_mos."""
    general: tuple[float, ...]
    """Coefficients of three_signal.general_mos: 1, S, N, S N, S^2, N^2."""


@lru_cache(maxsize=1)
def curves() -> Curves:
    """The fitted curves that ship with the package."""
    stored = json.loads(CURVES.read_text())["curves"]
    return Curves(**{name: tuple(values) for name, values in stored.items()})


PESQ_WEIGHT = 0.6
"""Share of PESQ in the equivalent Q where the waveform is kept; the envelope has the rest. From 0.5 to 0.7 the
figures of docs/labeller.md hardly move."""
LOST, KEPT = 0.3, 0.4
"""Coherence at which PESQ stops and at which it fully counts. Neural vocoders have 0.15 to 0.25; Opus at 6 kbit/s
about 0.4; Lyra, low-rate CELP and large rooms 0.5 to 0.7; everything that only distorts the waveform more."""

SLOW_FRAMES = 25
"""Frames of 10 ms, 0.25 s: the envelope's window, about a syllable (Houtgast and Steeneken 1985: speech lives on
modulations below 8 Hz)."""
SLOW_BANDS = 5
"""Mel bands that are averaged together, about one critical band and a half"""
DEPTH_DB = 60.0
"""dB below the loudest bins; lower levels are treated as silence"""
ACTIVE_DB = 30.0
"""dB below the loudest frame; quieter frames are pauses and are left out"""
MOST_DB = 6.0
"""dB: a band that is gone altogether counts no more than this, or one filter would outweigh everything"""

MISSING_WEIGHT = 0.8
"""Weight of energy that is missing in the speech, relative to energy that was added. A noise suppressor empties
weak bands, which listeners hardly notice; noise and artefacts that were added are audible. The smallest weight that
keeps the order of neural codecs (docs/results/label_forms.md)."""

COHERENCE_FRAMES, COHERENCE_BINS = 5, 3
"""Frames of 16 ms and bins of 31 Hz over which coherence is averaged"""
COHERENCE_BAND = slice(4, 64)
"""Bins, 125 Hz to 2 kHz, where voiced speech has its waveform"""
COHERENCE_DEPTH = 1e-6
"""Power below the loudest bin (-60 dB) below which bins are not compared"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """What is measured on a speech component."""

    pesq: float
    """MOS-LQO, P.862.2"""
    envelope_db: float
    """0 to MOST_DB"""
    kept: float
    """0 to 1"""


def look(clean: Samples, speech: Samples) -> Looks:
    """Aligned (samples,) at 16 kHz each -> the three looks. Raises LabelError where PESQ is not defined."""
    return Looks(pesq_wb(clean, speech), envelope_distance(clean, speech), coherence(clean, speech))


def equivalent_q(looks: Looks, fitted: Curves, kept: float = KEPT) -> float:
    """dB of MNRU Q (ITU-T P.810) at which clean talkers look like this; the range's ends beyond it."""
    by_pesq = float(np.interp(looks.pesq, fitted.pesq_at_q, fitted.q_db))
    by_envelope = float(np.interp(-_scale(looks.envelope_db), -_scale(fitted.envelope_at_q), fitted.q_db))
    weight = PESQ_WEIGHT * min(1.0, max(0.0, (looks.kept - LOST) / (kept - LOST)))
    return weight * by_pesq + (1 - weight) * by_envelope


def envelope_distance(clean: Samples, speech: Samples, missing_weight: float = MISSING_WEIGHT) -> float:
    """Mean distance in dB of the slow log-mel spectra, 0 to MOST_DB, of aligned (samples,) at 16 kHz.

    Both at the nominal active level (P.56); averaged over SLOW_FRAMES and SLOW_BANDS, over active frames. Missing
    energy has MISSING_WEIGHT.
    """
    if not np.any(speech):
        return MOST_DB
    reference, heard = (
        10 * log_mel(part * np.float32(nominal_gain(part))).astype(np.float64) for part in (clean, speech)
    )
    floor = np.quantile(reference, 0.999) - DEPTH_DB
    difference = _slow(np.maximum(heard, floor)) - _slow(np.maximum(reference, floor))
    difference = np.where(difference < 0, -missing_weight * difference, difference)
    loudness = 10 * np.log10(np.mean(10 ** (reference / 10), axis=1))
    active = loudness > loudness.max() - ACTIVE_DB
    return float(np.mean(np.minimum(difference[active], MOST_DB)))


def coherence(clean: Samples, speech: Samples) -> float:
    """How much of the waveform is kept: mean in-phase coherence in COHERENCE_BAND, 0 to 1, of aligned (samples,).

    1 for a gain, about 0.2 for speech that is resynthesised from its spectrum.
    """
    from scipy.ndimage import uniform_filter

    x, y = stft(clean)[:, COHERENCE_BAND], stft(speech)[:, COHERENCE_BAND]
    window = (COHERENCE_FRAMES, COHERENCE_BINS)
    power = np.abs(x) ** 2
    shared = np.maximum(uniform_filter((np.conj(x) * y).real, window), 0)
    whole = np.maximum(uniform_filter(power, window), 0) * np.maximum(uniform_filter(np.abs(y) ** 2, window), 0)
    there = power > power.max() * COHERENCE_DEPTH
    if not there.any():
        return 0.0
    return float(np.mean((shared / np.sqrt(whole + 1e-20))[there]))


def _slow(spectrum: Array) -> Array:
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(spectrum, (SLOW_FRAMES, SLOW_BANDS), mode="nearest"))


def _scale(distance_db: float | tuple[float, ...]) -> Array:
    """Distances on a scale that is about straight in Q; 0.01 dB is treated as zero."""
    return np.log(np.asarray(distance_db) + 0.01)


NARROW_RATE = 8000
"""Hz, rate of narrowband telephony"""
EDGE_HZ = 4250
"""Hz above which narrowband recordings are empty; the rest above 4 kHz is for the slope of resamplers"""
NOTHING_DB = 45.0
"""dB below the overall level: a weaker signal above EDGE_HZ is ignored. 402 clean wideband recordings have -4 to -37
dB there, recordings at 8 kHz -59 to -76, telephone codecs, also with further processing, -45 to -80."""


def is_narrow(samples: Samples) -> bool:
    """Whether (samples,) at 16 kHz have no signal above EDGE_HZ; False for silence."""
    power = np.mean(np.abs(stft(samples)) ** 2, axis=0)
    upper = power[round(EDGE_HZ * STFT_WINDOW / SAMPLE_RATE) :].sum()
    return bool(power.sum() > 0 and upper < power.sum() * 10 ** (-NOTHING_DB / 10))


def narrowed(clean: Samples) -> Samples:
    """(samples,) at 16 kHz -> the same as narrowband telephony would have it, (samples,) at 16 kHz, aligned."""
    return brought_back(resample(clean, SAMPLE_RATE, NARROW_RATE), len(clean))


def brought_back(narrow: Samples, samples: int) -> Samples:
    """Samples at NARROW_RATE -> (samples,) at 16 kHz."""
    back = resample(narrow, NARROW_RATE, SAMPLE_RATE)[:samples]
    return np.pad(back, (0, samples - len(back)))


def q_in_its_band(clean: Samples, speech: Samples, fitted: Curves, heard: Samples | None = None) -> float:
    """Equivalent Q in dB of a speech component, compared with clean speech of the same band.

    Aligned (samples,) at 16 kHz each; `heard` is the component with its noise, None without noise. Both the
    component and the whole have to be narrow, or noise in low bands would hide the upper half of wideband speech.
    Half of a narrow spectrum is empty on both sides, so that each look finds less damage: their Q is read against
    what it is for narrowband speakers with narrowband MNRU. Raises LabelError as `look`.
    """
    if is_narrow(speech) and (heard is None or is_narrow(heard)):
        seen = equivalent_q(look(narrowed(clean), speech), fitted)
        return float(np.interp(seen, fitted.narrow_q_at_q, fitted.q_db))
    return equivalent_q(look(clean, speech), fitted)
