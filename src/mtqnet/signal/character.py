"""What kind of sound a recording holds: how far up it reaches, and whether it moves as speech does.

Three facts, taken from pieces of 2 s, of which those much fainter than the loudest do not count:

band_share    how far up the mean spectrum reaches.
movement      The shape of the spectrum (six cepstra of 18 mel bands) changes from sound to sound in speech, each
              about 100 ms long. In noise it only jitters from frame to frame. The ratio of the two changes, as
              log10: what 100 ms change over what 10 ms change. It needs no voice: whispers move, too.
persistence   Notes stand still for longer than speech keeps its pitch. The correlation of the fine structure of
              the spectrum, 150 Hz to 3 kHz, with itself 200 ms later: near 0 for noise and speech, 1 for a tone.

They tell sound that is no speech at all from speech, also from speech in noise. They do not find words, and so
cannot tell speech from what changes as fast: singing, animals, a crowd of voices, footsteps, irregular clatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mtqnet.signal.audio import SAMPLE_RATE, Samples
from mtqnet.signal.level import FLOOR_DB, to_db

Matrix = NDArray[np.float32]

PIECE = 2 * SAMPLE_RATE
"""Samples that are looked at together: some eight syllables."""
REST = SAMPLE_RATE // 2
"""Samples behind the last whole piece that may be left out."""
FAINT_DB = 25.0
"""dB. Pieces that much fainter than the loudest are pauses between sentences."""

SHORT_WINDOW, SHORT_HOP = 512, 160
"""Samples, 32 and 10 ms: for what changes"""
LONG_WINDOW, LONG_HOP = 1024, 320
"""Samples, 64 and 20 ms: long enough to see the partials of a voice apart"""
RANGE_DB = 50.0
"""dB below the piece's largest value, where spectra end: what lies below is not heard beside it."""
PAUSE_DB = 30.0
"""dB below the piece's loudest frame: frames below are pauses, whose noise does not count as movement."""

LOW_HZ, HIGH_HZ, BANDS, CEPSTRA = 150.0, 3800.0, 18, 6
"""The mel bands end within the telephone band, so that narrow-band speech moves as wide-band speech does."""
SMOOTH = 5
"""Frames that are averaged before the slow change is taken"""
SLOW = 10
"""Frames, 100 ms: about a sound of speech"""
LAG = 10
"""Frames of LONG_HOP, 200 ms: about a syllable"""
FINE = slice(10, 192)
"""Bins of the long spectrum, 156 Hz to 2984 Hz"""
AROUND = 7
"""Bins to each side over which the fine structure's own mean is taken off, 109 Hz"""

LEAST = 1e-6
"""Stands for nothing at all, where something is divided by it."""

BAND_HZ = 250.0
REACH_DB = 50.0
"""dB below the loudest band above LOWEST_HZ: how far down a band counts as sounding. See flags.py."""
LOWEST_HZ = 250.0
"""Hum below it is louder than any voice, and says nothing of the band."""


@dataclass(frozen=True)
class Piece:
    """Of 2 s"""

    level_dbov: float
    movement: float
    persistence: float


@dataclass(frozen=True)
class Character:
    """NaN where not one whole piece was heard."""

    bandwidth_hz: float
    """Upper end of the highest band with sound in it, at most half of SAMPLE_RATE"""
    movement: float
    persistence: float


class CharacterMeter:
    """Takes a recording in blocks of any size; the same pieces come of them as of the whole."""

    def __init__(self) -> None:
        self._held: Samples = np.zeros(0, dtype=np.float32)
        self._before: Samples = self._held  # the piece before what is held
        self._pieces: list[Piece] = []
        self._spectrum = np.zeros(SHORT_WINDOW // 2 + 1)

    def add(self, samples: Samples) -> None:
        """Take (samples,) at SAMPLE_RATE, which follow those before."""
        self._held = np.concatenate([self._held, samples])
        whole = len(self._held) // PIECE * PIECE
        for samples in self._held[:whole].reshape(-1, PIECE):
            self._look_at(samples)
            self._before = samples
        self._held = self._held[whole:]

    def finish(self) -> Character:
        """What was added. Its last 2 s are a piece of their own where REST or more would else be left out."""
        if len(self._before) and len(self._held) >= REST:
            self._look_at(np.concatenate([self._before, self._held])[-PIECE:])
        if not self._pieces:
            return Character(np.nan, np.nan, np.nan)
        loudest = max(piece.level_dbov for piece in self._pieces)
        heard = [piece for piece in self._pieces if piece.level_dbov > loudest - FAINT_DB]
        return Character(
            bandwidth_hz(self._spectrum),
            float(np.mean([piece.movement for piece in heard])),
            float(np.mean([piece.persistence for piece in heard])),
        )

    def _look_at(self, samples: Samples) -> None:
        level = to_db(float(samples.var(dtype=np.float64)))
        if level <= FLOOR_DB:
            return
        centred = samples - samples.mean()
        power = _powers(centred, SHORT_WINDOW, SHORT_HOP)
        self._spectrum += power.sum(axis=0, dtype=np.float64)
        self._pieces.append(Piece(level, movement(power), persistence(centred)))


def bandwidth_hz(spectrum: NDArray[np.float64]) -> float:
    """(257,) mean power of each bin -> Hz: upper end of the highest band of BAND_HZ with sound in it."""
    wide = round(BAND_HZ * SHORT_WINDOW / SAMPLE_RATE)
    bands = spectrum[:-1].reshape(-1, wide).sum(axis=1)
    loudest = bands[round(LOWEST_HZ / BAND_HZ) :].max()
    return float(np.flatnonzero(bands >= loudest * 10 ** (-REACH_DB / 10))[-1] + 1) * BAND_HZ


def movement(power: Matrix) -> float:
    """(frames, 257) -> log10 of slow change over fast change of the spectrum's shape."""
    mel = power @ _mel_bands()
    heard = _heard(mel)
    shape = _log(mel) @ _cosines()
    sums = np.cumsum(np.pad(shape, ((1, 0), (0, 0))), axis=0)
    smooth = (sums[SMOOTH:] - sums[:-SMOOTH]) / SMOOTH
    slow = np.abs(smooth[SLOW:] - smooth[:-SLOW]).mean(axis=1)
    fast = np.abs(np.diff(shape, axis=0)).mean(axis=1)
    middle = heard[(SLOW + SMOOTH) // 2 :][: len(slow)]  # of the frames that a slow change spans
    return float(np.log10((_mean(slow, middle) + LEAST) / (_mean(fast, heard[1:]) + LEAST)))


def persistence(piece: Samples) -> float:
    """(PIECE,) -> mean correlation of the spectrum's fine structure with itself LAG frames later."""
    power = _powers(piece, LONG_WINDOW, LONG_HOP)[:, : FINE.stop + AROUND]
    heard = _heard(power)
    log = _log(power)
    sums = np.cumsum(np.pad(log, ((0, 0), (1, 0))), axis=1)
    width = 2 * AROUND + 1
    around = (sums[:, width:] - sums[:, :-width]) / width  # of bin AROUND and those after it
    fine = log[:, FINE] - around[:, FINE.start - AROUND : FINE.stop - AROUND]
    fine -= fine.mean(axis=1, keepdims=True)
    fine /= np.sqrt(np.square(fine).sum(axis=1, keepdims=True)) + np.float32(LEAST)
    return _mean((fine[LAG:] * fine[:-LAG]).sum(axis=1), heard[LAG:] & heard[:-LAG])


def _log(power: Matrix) -> Matrix:
    """(frames, bins) -> log10, at most RANGE_DB below the largest."""
    return np.asarray(np.log10(np.maximum(power, power.max() * np.float32(10 ** (-RANGE_DB / 10)))))


def _heard(power: Matrix) -> NDArray[np.bool_]:
    """(frames, bins) -> (frames,): which are no pauses."""
    frames = power.sum(axis=1)
    return np.asarray(frames >= frames.max() * 10 ** (-PAUSE_DB / 10))


def _mean(values: Matrix, where: NDArray[np.bool_]) -> float:
    """Of (frames,) those that count; 0 where none does, as in a piece that is one click."""
    return float(values[where].mean(dtype=np.float64)) if where.any() else 0.0


def _powers(samples: Samples, window: int, hop: int) -> Matrix:
    """(samples,) -> (frames, window // 2 + 1)"""
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    spectra = np.fft.rfft(frames * _hann(window), axis=1)
    return np.asarray(np.square(spectra.real) + np.square(spectra.imag), dtype=np.float32)


@lru_cache(maxsize=2)
def _hann(length: int) -> Matrix:
    return np.asarray(np.hanning(length + 1)[:-1], dtype=np.float32)


@lru_cache(maxsize=1)
def _mel_bands() -> Matrix:
    """(257, BANDS): which bins each band sums, equally wide on the mel axis of O'Shaughnessy (1987)."""
    low, high = np.log(1 + LOW_HZ / 700), np.log(1 + HIGH_HZ / 700)
    edges = np.linspace(low, high, BANDS + 1)
    mel = np.log(1 + np.fft.rfftfreq(SHORT_WINDOW, 1 / SAMPLE_RATE) / 700)[:, None]
    return np.asarray((mel >= edges[:-1]) & (mel < edges[1:]), dtype=np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Matrix:
    """(BANDS, CEPSTRA): from log bands to cepstra, without the level."""
    waves = np.cos(np.pi * np.outer((np.arange(BANDS) + 0.5) / BANDS, np.arange(1, CEPSTRA + 1)))
    return np.asarray(waves / BANDS, dtype=np.float32)
