"""What kind of sound a recording holds: how far up it reaches, and whether it moves as speech does.

Three facts, taken from the louder pieces of 2 s, of which those much fainter than the loudest do not count:

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

from mtqnet.audio.audio import SAMPLE_RATE, Samples
from mtqnet.audio.level import FLOOR_DB, to_db

Matrix = NDArray[np.float32]

PIECE = 2 * SAMPLE_RATE
"""Samples that are looked at together: some eight syllables."""
REST = SAMPLE_RATE // 2
"""Samples behind the last whole piece that may be left out."""
GROUP, LOOKED_AT = 5, 2
"""Pieces. Of each group of five (10 s) the two loudest are looked at: speech, where there is any. To look at all
takes twice as long, and raises the same flags; see docs/flags.md."""
FAINT_DB = 25.0
"""dB. Pieces that much fainter than the loudest are pauses between sentences."""

ABSURD_DBOV = 100.0
"""Level of what was never scaled to full scale 1, as float files can hold"""

SHORT_WINDOW, SHORT_HOP = 512, 160
"""Samples, 32 and 10 ms: for what changes"""
LONG_WINDOW, LONG_HOP = 1024, 640
"""Samples, 64 and 40 ms: long enough to see the partials of a voice apart"""
CACHED_FRAMES = 64
"""Frames whose spectra are held at a time, so that they stay in the cache of a core; see features.py"""
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
LAG = 5
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
        self._group: list[
            tuple[float, Samples]
        ] = []  # level (dBov) and samples, without their mean, of the loudest
        self._in_group = 0
        self._pieces: list[Piece] = []
        self._spectrum = np.zeros(SHORT_WINDOW // 2 + 1)

    def add(self, samples: Samples) -> None:
        """Take (samples,) at SAMPLE_RATE, which follow those before."""
        held = np.concatenate([self._held, samples]) if len(self._held) else samples
        whole = len(held) // PIECE * PIECE
        for piece in held[:whole].reshape(-1, PIECE):
            if self._in_group == GROUP:
                self._look()
            self._weigh(piece)
            self._before = piece
        self._held = held[whole:]

    def finish(self) -> Character:
        """What was added. Its last 2 s are a piece of their own where REST or more would else be left out."""
        if len(self._before) and len(self._held) >= REST:
            self._weigh(np.concatenate([self._before, self._held])[-PIECE:])
        self._look()
        if not self._pieces:
            return Character(np.nan, np.nan, np.nan)
        loudest = max(piece.level_dbov for piece in self._pieces)
        heard = [piece for piece in self._pieces if piece.level_dbov > loudest - FAINT_DB]
        return Character(
            bandwidth_hz(self._spectrum),
            float(np.mean([piece.movement for piece in heard])),
            float(np.mean([piece.persistence for piece in heard])),
        )

    def _weigh(self, piece: Samples) -> None:
        """Keep a piece that is among the loudest of its group."""
        self._in_group += 1
        level, centred = _levelled(piece)
        if level > FLOOR_DB:
            self._group.append((level, centred))
            self._group.sort(key=lambda known: -known[0])
            del self._group[LOOKED_AT:]

    def _look(self) -> None:
        """Look at what is kept of a group, and begin the next."""
        for level, centred in self._group:
            power = _powers(centred, SHORT_WINDOW, SHORT_HOP)
            self._spectrum += power.sum(axis=0, dtype=np.float64)
            self._pieces.append(Piece(level, movement(power), persistence(centred)))
        self._group, self._in_group = [], 0


def _levelled(piece: Samples) -> tuple[float, Samples]:
    """(PIECE,) -> its level in dBov, and it without its mean; at full scale if its power would overflow later."""
    with np.errstate(over="ignore", invalid="ignore"):
        centred = piece - piece.mean()
        level = to_db(float(np.einsum("i,i", centred, centred)) / PIECE)
    if level <= ABSURD_DBOV:
        return level, centred
    peak = np.abs(piece).max()
    level, centred = _levelled(piece / peak)
    return level + 20 * float(np.log10(peak)), centred


def bandwidth_hz(spectrum: NDArray[np.float64]) -> float:
    """(257,) mean power of each bin -> Hz: upper end of the highest band of BAND_HZ with sound in it."""
    wide = round(BAND_HZ * SHORT_WINDOW / SAMPLE_RATE)
    bands = spectrum[:-1].reshape(-1, wide).sum(axis=1)
    loudest = bands[round(LOWEST_HZ / BAND_HZ) :].max()
    return float(np.flatnonzero(bands >= loudest * 10 ** (-REACH_DB / 10))[-1] + 1) * BAND_HZ


def movement(power: Matrix) -> float:
    """(frames, 257) -> log10 of slow change over fast change of the spectrum's shape."""
    edges = _mel_edges()
    mel = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
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
    power = _powers(piece, LONG_WINDOW, LONG_HOP, bins=FINE.stop + AROUND)
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
    floored = np.maximum(power, power.max() * np.float32(10 ** (-RANGE_DB / 10)))
    return np.asarray(np.log10(floored, out=floored))


def _heard(power: Matrix) -> NDArray[np.bool_]:
    """(frames, bins) -> (frames,): which are no pauses."""
    frames = power.sum(axis=1)
    return np.asarray(frames >= frames.max() * 10 ** (-PAUSE_DB / 10))


def _mean(values: Matrix, where: NDArray[np.bool_]) -> float:
    """Of (frames,) those that count; 0 where none does, as in a piece that is one click."""
    return float(values[where].mean(dtype=np.float64)) if where.any() else 0.0


def _powers(samples: Samples, window: int, hop: int, bins: int | None = None) -> Matrix:
    """(samples,) -> (frames, window // 2 + 1), or the first `bins` of them"""
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    power = np.empty((len(frames), bins or window // 2 + 1), dtype=np.float32)
    for start in range(0, len(frames), CACHED_FRAMES):
        spectra = np.fft.rfft(frames[start : start + CACHED_FRAMES] * _hann(window), axis=1)[:, :bins]
        np.square(spectra.real, out=power[start : start + CACHED_FRAMES], casting="same_kind")
        power[start : start + CACHED_FRAMES] += np.square(spectra.imag, dtype=np.float32)
    return power


@lru_cache(maxsize=2)
def _hann(length: int) -> Matrix:
    return np.asarray(np.hanning(length + 1)[:-1], dtype=np.float32)


@lru_cache(maxsize=1)
def _mel_edges() -> NDArray[np.intp]:
    """(BANDS + 1,): the first bin of each band, equally wide on O'Shaughnessy's mel axis (1987), and the end."""
    low, high = np.log(1 + LOW_HZ / 700), np.log(1 + HIGH_HZ / 700)
    mel = np.log(1 + np.fft.rfftfreq(SHORT_WINDOW, 1 / SAMPLE_RATE) / 700)
    return np.searchsorted(mel, np.linspace(low, high, BANDS + 1))


@lru_cache(maxsize=1)
def _cosines() -> Matrix:
    """(BANDS, CEPSTRA): from log bands to cepstra, without the level."""
    waves = np.cos(np.pi * np.outer((np.arange(BANDS) + 0.5) / BANDS, np.arange(1, CEPSTRA + 1)))
    return np.asarray(waves / BANDS, dtype=np.float32)
