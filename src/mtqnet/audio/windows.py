"""Length, in one place: how a recording is cut, and how the scores of its pieces become one.

The rule: a recording of up to MAX_WINDOW_S is scored whole. A longer one is cut into the smallest number of
equally long windows that are at most MAX_WINDOW_S each, without overlap; its score is the mean of theirs, each
weighted by its time of active sound (ITU-T P.56). So a pause between two sentences weighs nothing: in a window
without speech there is nothing that S-MOS could be said of.

A file too long to be held goes the same way in blocks (`filled`), by the same windows and the same weights: its
scores are those of the file read whole, within 1e-6. A stream (scoring/stream.py) scores the window that ends now:
where its edges are those of a window of the file, their scores agree within 1e-4, and so does what is combined
from them. Elsewhere a row says what was said in these seconds: on the example recordings, one voice each under one
condition, rows of 10 s are within 0.26 MOS of the whole, and their mean within 0.16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FRAME, active_level, active_power, frames_above
from mtqnet.audio.resampling import SAMPLE_RATE

MAX_WINDOW_S = 10.0
"""Seconds. Training clips are 3 to 7 s; the speech encoder has positions for 30 s."""


@dataclass(frozen=True)
class Window:
    """Samples start (inclusive) to stop (exclusive) of a recording."""

    start: int
    stop: int

    @property
    def samples(self) -> int:
        return self.stop - self.start


def cut(samples: int) -> list[Window]:
    """Windows that cover `samples` samples in order, without gap or overlap, equally long but for one."""
    count = max(1, -(-samples // round(MAX_WINDOW_S * SAMPLE_RATE)))
    edges = [samples * piece // count for piece in range(count + 1)]
    return [Window(start, stop) for start, stop in pairwise(edges)]


def weights(windows: Sequence[Window], samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """(windows,): seconds of active sound in each window of (samples,); its length where nowhere is any."""
    if len(windows) == 1:
        return np.ones(1)
    power = active_power(active_level(samples))
    spoken = [active_seconds(w, samples[w.start // FRAME * FRAME : w.stop], power) for w in windows]
    return settled(windows, spoken)


def active_seconds(window: Window, samples: NDArray[np.float32], power: float) -> float:
    """Seconds of active sound in a window: of its frames of 20 ms, those with at least this power.

    `samples` are the window's, from the beginning of the frame that it begins in.
    """
    frames = window.stop // FRAME - window.start // FRAME
    return float(frames_above(samples[: frames * FRAME], power).sum()) * FRAME / SAMPLE_RATE


def settled(windows: Sequence[Window], spoken: Sequence[float]) -> NDArray[np.float64]:
    """(windows,): what each weighs, given its seconds of active sound; its length where nowhere is any."""
    if len(windows) == 1:
        return np.ones(1)
    return np.array(spoken if any(spoken) else [w.samples / SAMPLE_RATE for w in windows], dtype=np.float64)


def filled(
    windows: Sequence[Window], blocks: Iterable[NDArray[np.float32]], skip: int = 0
) -> Iterator[NDArray[np.float32]]:
    """The samples of each window, as `active_seconds` takes them, from the blocks of a recording in order.

    The first `skip` samples of the recording come before the windows. Holds a window and a block. Ends early
    when the blocks do.
    """
    held, at, todo = np.zeros(0, dtype=np.float32), -skip, 0
    for block in blocks:
        held = np.concatenate([held, block])
        while todo < len(windows) and windows[todo].stop <= at + len(held):
            yield held[windows[todo].start // FRAME * FRAME - at : windows[todo].stop - at]
            todo += 1
        needed = windows[todo].start // FRAME * FRAME if todo < len(windows) else at + len(held)
        done = min(max(0, needed - at), len(held))
        held, at = held[done:], at + done


def combine(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(windows, targets), (windows,) -> (targets,): the weighted mean."""
    return np.average(values, axis=0, weights=weight)


def pad(rows: Sequence[NDArray[np.float32]], multiple: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Matrices (frames_i, width) -> one batch (batch, frames, width), zeros after each, and lengths.

    `frames` is that of the longest, or the next whole `multiple`.
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    frames = -(-int(lengths.max()) // multiple) * multiple
    batch = np.zeros((len(rows), frames, rows[0].shape[1]), dtype=np.float32)
    for place, row in zip(batch, rows, strict=True):
        place[: len(row)] = row
    return batch, lengths
