"""Recordings as training takes them: what scoring would hear of each, in the windows that it would cut.

A recording that is scored whole stays where it is. Of another (silence at its ends, more than 10 s) the windows
are kept as files of 32-bit samples at 16 kHz.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio import reading, windows
from mtqnet.audio.analysis import analyse_recording
from mtqnet.audio.reading import Excerpt, Recording
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import AudioError
from mtqnet.training.pieces import unfinished

Progress = Callable[[int, int], None]
"""Called with recordings done and recordings in all"""


@dataclass(frozen=True)
class Heard:
    """What is heard of some recordings, piece by piece."""

    pieces: list[Excerpt]
    of: NDArray[np.int64]
    """(pieces,) place of the recording that each is of, among those that can be scored"""
    shares: NDArray[np.float64]
    """(pieces,) weight of each in its recording's score; the sum over a recording is 1"""
    places: list[int]
    """Of the recordings that can be scored, among all"""
    refused: list[tuple[Path, str]]
    """The others, and why"""


def hear(paths: Sequence[Path], store: Path, progress: Progress) -> Heard:
    """All recordings, in order; windows that are files of their own lie in `store`."""
    pieces: list[Excerpt] = []
    of: list[int] = []
    shares: list[float] = []
    places: list[int] = []
    refused: list[tuple[Path, str]] = []
    for place, path in enumerate(paths):
        try:
            found, weights = _heard(path, store)
        except AudioError as error:
            refused.append((path, str(error)))
        else:
            pieces += found
            of += [len(places)] * len(found)
            shares += (weights / weights.sum()).tolist()
            places.append(place)
        progress(place + 1, len(paths))
    return Heard(pieces, np.array(of, dtype=np.int64), np.array(shares), places, refused)


def _heard(path: Path, store: Path) -> tuple[list[Excerpt], NDArray[np.float64]]:
    """The pieces of one recording and their weights. Raises AudioError."""
    recording = reading.read(path)
    analysis = analyse_recording(recording)
    start, stop = analysis.start, analysis.stop
    samples = recording.samples[start:stop]
    cut = windows.cut(len(samples))
    if len(cut) == 1 and len(samples) == len(recording.samples):
        return [Excerpt(path)], np.ones(1)
    return [_kept(path, recording, start, window, store) for window in cut], windows.weights(cut, samples)


def _kept(path: Path, recording: Recording, start: int, window: windows.Window, store: Path) -> Excerpt:
    """A window as a file, written unless it is there."""
    state = path.stat()
    told = (str(path.resolve()), state.st_size, state.st_mtime_ns, start + window.start, start + window.stop)
    target = store / f"{hashlib.sha256(repr(told).encode()).hexdigest()[:20]}.wav"
    if not target.exists():
        store.mkdir(parents=True, exist_ok=True)
        samples = recording.samples[start + window.start : start + window.stop]
        sf.write(unfinished(target), samples, SAMPLE_RATE, subtype="FLOAT")
        unfinished(target).replace(target)
    return Excerpt(target)
