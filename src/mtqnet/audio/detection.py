"""Detection of recordings without speech: noise, and music or other lasting tones.

Three measurements, from the louder segments of 2 s. Segments that are much fainter than the loudest are ignored.

bandwidth_hz        Highest frequency with sound in the mean spectrum.
spectral_change     The spectral envelope (six cepstral coefficients of 18 mel bands) changes from phone to phone
                    in speech, about every 100 ms; in noise it only fluctuates from frame to frame. The measurement
                    is the change within 100 ms over the change within 10 ms, as log10. It needs no pitch, so that
                    it works for whispered speech.
tonal_persistence   Notes of music last longer than speech keeps its pitch. The measurement is the correlation of
                    the fine structure of the spectrum, 150 Hz to 3 kHz, with itself 200 ms later: near 0 for noise
                    and speech, 1 for a constant tone.

The measurements distinguish speech, also noisy speech, from sounds that are not speech. They do not recognise
words: sounds that change as fast as speech pass, for example singing, animals, a crowd or footsteps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import hann
from mtqnet.audio.level import FLOOR_DB, to_db
from mtqnet.audio.resampling import SAMPLE_RATE, Samples

Matrix = NDArray[np.float32]

SEGMENT = 2 * SAMPLE_RATE
"""Samples that are measured together: about eight syllables"""
REST = SAMPLE_RATE // 2
"""Samples after the last complete segment that may remain unmeasured"""
GROUP, MEASURED = 5, 2
"""Segments. Of each group of five (10 s) the two loudest are measured, which contain the speech if there is any.
Measuring all takes twice as long and raises the same flags; see docs/flags.md."""
MIN_TONAL_S = 4.0
"""Seconds of active segments that tonal_persistence needs. In excerpts of 2 to 3 s, a synthetic voice with an even
pitch reaches 0.64; from 4 s it stays below 0.46."""
FAINT_DB = 25.0
"""dB. Segments that are this much fainter than the loudest are pauses between sentences."""

UNSCALED_DBOV = 100.0
"""dBov. Float samples above this level were not scaled to full scale 1; their squares may overflow."""

SHORT_WINDOW, SHORT_HOP = 512, 160
"""Samples, 32 and 10 ms: for spectral change"""
LONG_WINDOW, LONG_HOP = 1024, 640
"""Samples, 64 and 40 ms: long enough to resolve the harmonics of a voice"""
CACHED_FRAMES = 64
"""Frames whose spectra are computed at a time, so that they stay in the cache of a processor core; see
features.py"""
RANGE_DB = 50.0
"""dB below the largest value of a segment, at which spectra are floored: what is below is masked."""
PAUSE_DB = 30.0
"""dB below the loudest frame of a segment. Fainter frames are pauses, whose noise is not counted as change."""

LOW_HZ, HIGH_HZ, BANDS, CEPSTRA = 150.0, 3800.0, 18, 6
"""The mel bands end within the telephone band, so that narrow-band speech changes as wide-band speech does."""
SMOOTH = 5
"""Frames that are averaged before the slow change is taken"""
SLOW = 10
"""Frames, 100 ms: about one phone"""
LAG = 5
"""Frames of LONG_HOP, 200 ms: about one syllable"""
FINE = slice(10, 192)
"""Bins of the long spectrum, 156 Hz to 2984 Hz"""
AROUND = 7
"""Bins on each side, 109 Hz, whose mean is subtracted to obtain the fine structure"""

LEAST = 1e-6
"""Added to divisors that may be zero"""

BAND_HZ = 250.0
"""Hz. Resolution of the bandwidth"""
REACH_DB = 50.0
"""dB below the loudest band above LOWEST_HZ: bands down to this level count as sound. See flags.py."""
LOWEST_HZ = 250.0
"""Hz. Hum below it may be louder than any voice and is ignored."""


@dataclass(frozen=True)
class _Measured:
    """Measurements of one segment."""

    level_dbov: float
    new_samples: int
    """Samples that do not belong to the segment before it"""
    spectral_change: float
    tonal_persistence: float


@dataclass(frozen=True)
class SoundType:
    """Measurements of a recording. NaN where no segment was complete; tonal_persistence also below MIN_TONAL_S."""

    bandwidth_hz: float
    """Upper end of the highest band with sound, at most half of SAMPLE_RATE"""
    spectral_change: float
    tonal_persistence: float


class SpeechDetector:
    """Measures blocks of any size in order; the result does not depend on the division into blocks."""

    def __init__(self) -> None:
        self._waiting: Samples = np.zeros(0, dtype=np.float32)
        self._before: Samples = self._waiting  # the segment before the waiting samples
        self._group: list[tuple[float, Samples]] = []  # level in dBov, and samples without mean, of the loudest
        self._in_group = 0
        self._segments: list[_Measured] = []
        self._spectrum = np.zeros(SHORT_WINDOW // 2 + 1)

    def add(self, samples: Samples) -> None:
        """Measure the next block: (samples,) at SAMPLE_RATE."""
        waiting = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples
        whole = len(waiting) // SEGMENT * SEGMENT
        for segment in waiting[:whole].reshape(-1, SEGMENT):
            if self._in_group == GROUP:
                self._measure_group()
            self._weigh(segment)
            self._before = segment
        self._waiting = waiting[whole:]

    def finish(self) -> SoundType:
        """Return the measurements; the last 2 s are a segment of their own if REST or more would remain."""
        self._measure_group()
        if len(self._before) and len(self._waiting) >= REST:
            self._weigh(np.concatenate([self._before, self._waiting])[-SEGMENT:])
            self._measure_group(len(self._waiting))
        if not self._segments:
            return SoundType(np.nan, np.nan, np.nan)
        loudest = max(segment.level_dbov for segment in self._segments)
        active = [segment for segment in self._segments if segment.level_dbov > loudest - FAINT_DB]
        tonal = np.mean([segment.tonal_persistence for segment in active])
        enough = sum(segment.new_samples for segment in active) >= MIN_TONAL_S * SAMPLE_RATE
        return SoundType(
            bandwidth_hz(self._spectrum),
            float(np.mean([segment.spectral_change for segment in active])),
            float(tonal) if enough else np.nan,
        )

    def _weigh(self, segment: Samples) -> None:
        """Keep a segment if it is among the loudest of its group."""
        self._in_group += 1
        level, centred = _centred(segment)
        if level > FLOOR_DB:
            self._group.append((level, centred))
            self._group.sort(key=lambda other: -other[0])
            del self._group[MEASURED:]

    def _measure_group(self, new_samples: int = SEGMENT) -> None:
        """Measure the loudest segments of a group, and start the next group."""
        for level, centred in self._group:
            power = _powers(centred, SHORT_WINDOW, SHORT_HOP)
            self._spectrum += power.sum(axis=0, dtype=np.float64)
            self._segments.append(
                _Measured(level, new_samples, spectral_change(power), tonal_persistence(centred))
            )
        self._group, self._in_group = [], 0


def _centred(segment: Samples) -> tuple[float, Samples]:
    """Return level in dBov and mean-free segment of (SEGMENT,), scaled to full scale if powers would overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        centred = segment - segment.mean()
        level = to_db(float(np.einsum("i,i", centred, centred)) / SEGMENT)
    if level <= UNSCALED_DBOV:
        return level, centred
    peak = np.abs(segment).max()
    level, centred = _centred(segment / peak)
    return level + 20 * float(np.log10(peak)), centred


def bandwidth_hz(spectrum: NDArray[np.float64]) -> float:
    """Return the upper end in Hz of the highest band of BAND_HZ with sound in a mean power spectrum (257,)."""
    wide = round(BAND_HZ * SHORT_WINDOW / SAMPLE_RATE)
    bands = spectrum[:-1].reshape(-1, wide).sum(axis=1)
    loudest = bands[round(LOWEST_HZ / BAND_HZ) :].max()
    return float(np.flatnonzero(bands >= loudest * 10 ** (-REACH_DB / 10))[-1] + 1) * BAND_HZ


def spectral_change(power: Matrix) -> float:
    """Return log10 of slow over fast change of the envelope of short power spectra (frames, 257) of a segment."""
    edges = _mel_edges()
    mel = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    active = _active(mel)
    envelope = _log(mel) @ _cosines()
    sums = np.cumsum(np.pad(envelope, ((1, 0), (0, 0))), axis=0)
    smooth = (sums[SMOOTH:] - sums[:-SMOOTH]) / SMOOTH
    slow = np.abs(smooth[SLOW:] - smooth[:-SLOW]).mean(axis=1)
    fast = np.abs(np.diff(envelope, axis=0)).mean(axis=1)
    centre = active[(SLOW + SMOOTH) // 2 :][: len(slow)]  # the frames in the centre of each slow change
    return float(np.log10((_mean(slow, centre) + LEAST) / (_mean(fast, active[1:]) + LEAST)))


def tonal_persistence(segment: Samples) -> float:
    """Return the mean correlation of the fine spectrum of (SEGMENT,) with itself LAG frames later."""
    power = _powers(segment, LONG_WINDOW, LONG_HOP, bins=FINE.stop + AROUND)
    active = _active(power)
    log = _log(power)
    sums = np.cumsum(np.pad(log, ((0, 0), (1, 0))), axis=1)
    width = 2 * AROUND + 1
    around = (sums[:, width:] - sums[:, :-width]) / width  # of bin AROUND and the bins after it
    fine = log[:, FINE] - around[:, FINE.start - AROUND : FINE.stop - AROUND]
    fine -= fine.mean(axis=1, keepdims=True)
    fine /= np.sqrt(np.square(fine).sum(axis=1, keepdims=True)) + np.float32(LEAST)
    return _mean((fine[LAG:] * fine[:-LAG]).sum(axis=1), active[LAG:] & active[:-LAG])


def _log(power: Matrix) -> Matrix:
    """(frames, bins) -> log10, at most RANGE_DB below the largest value."""
    floored = np.maximum(power, power.max() * np.float32(10 ** (-RANGE_DB / 10)))
    return np.asarray(np.log10(floored, out=floored))


def _active(power: Matrix) -> NDArray[np.bool_]:
    """(frames, bins) -> (frames,): True for frames that are not pauses."""
    frames = power.sum(axis=1)
    return np.asarray(frames >= frames.max() * 10 ** (-PAUSE_DB / 10))


def _mean(values: Matrix, where: NDArray[np.bool_]) -> float:
    """Mean of the selected values of (frames,); 0 if none is selected, as in a segment with a single click."""
    return float(values[where].mean(dtype=np.float64)) if where.any() else 0.0


def _powers(samples: Samples, window: int, hop: int, bins: int | None = None) -> Matrix:
    """(samples,) -> (frames, window // 2 + 1), or the first `bins` of them."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    power = np.empty((len(frames), bins or window // 2 + 1), dtype=np.float32)
    for start in range(0, len(frames), CACHED_FRAMES):
        spectra = np.fft.rfft(frames[start : start + CACHED_FRAMES] * hann(window), axis=1)[:, :bins]
        np.square(spectra.real, out=power[start : start + CACHED_FRAMES], casting="same_kind")
        power[start : start + CACHED_FRAMES] += np.square(spectra.imag, dtype=np.float32)
    return power


@lru_cache(maxsize=1)
def _mel_edges() -> NDArray[np.intp]:
    """(BANDS + 1,): first bin of each band and the end; equal widths on the mel scale of O'Shaughnessy (1987)."""
    low, high = np.log(1 + LOW_HZ / 700), np.log(1 + HIGH_HZ / 700)
    mel = np.log(1 + np.fft.rfftfreq(SHORT_WINDOW, 1 / SAMPLE_RATE) / 700)
    return np.searchsorted(mel, np.linspace(low, high, BANDS + 1))


@lru_cache(maxsize=1)
def _cosines() -> Matrix:
    """(BANDS, CEPSTRA): cosine transform of log bands to cepstral coefficients 1 to CEPSTRA, without the level."""
    waves = np.cos(np.pi * np.outer((np.arange(BANDS) + 0.5) / BANDS, np.arange(1, CEPSTRA + 1)))
    return np.asarray(waves / BANDS, dtype=np.float32)
