"""Windows of a recording, and the combination of their scores.

A recording of up to MAX_WINDOW_S is one window. A longer one is divided into the smallest number of windows of equal
length that are at most MAX_WINDOW_S each, without overlap. Its score is the mean of theirs, weighted by their time of
active sound (ITU-T P.56), because S-MOS has no meaning in a window without speech.

A file that is too long for the memory has the same windows and weights (`filled`); its scores agree within 1e-6. A
stream (scoring/stream.py) scores the window that ends now. If its edges are those of a window of the file, the scores
agree within 1e-4. Otherwise a row is the score of these seconds: on the example recordings, one voice each in one
condition, rows of 10 s are within 0.26 MOS of the overall score, and their mean within 0.16.
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
"""Seconds. Training clips have 3 to 7 s; the speech encoder has positions for 30 s."""


@dataclass(frozen=True)
class Window:
    """Samples start (inclusive) to stop (exclusive) of a recording."""

    start: int
    stop: int

    @property
    def samples(self) -> int:
        return self.stop - self.start


def cut(samples: int) -> list[Window]:
    """Divide a recording into windows.

    Args:
        samples: Length of the recording.

    Returns:
        Windows in order, without gap or overlap. Lengths differ by at most one sample.
    """
    count = max(1, -(-samples // round(MAX_WINDOW_S * SAMPLE_RATE)))
    edges = [samples * piece // count for piece in range(count + 1)]
    return [Window(start, stop) for start, stop in pairwise(edges)]


def weights(windows: Sequence[Window], samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the weight of each window.

    Args:
        windows: Result of `cut`.
        samples: Shape (samples,), the recording.

    Returns:
        Shape (windows,): seconds of active sound in each window; the lengths of the windows if there is none.
    """
    if len(windows) == 1:
        return np.ones(1)
    power = active_power(active_level(samples))
    spoken = [active_seconds(w, samples[w.start // FRAME * FRAME : w.stop], power) for w in windows]
    return settled(windows, spoken)


def active_seconds(window: Window, samples: NDArray[np.float32], power: float) -> float:
    """Measure the seconds of active sound in a window.

    Args:
        window: Position of the window.
        samples: Samples from the beginning of the frame of 20 ms in which the window begins, to its end.
        power: Result of level.active_power; frames with at least this power are active.
    """
    frames = window.stop // FRAME - window.start // FRAME
    return float(frames_above(samples[: frames * FRAME], power).sum()) * FRAME / SAMPLE_RATE


def settled(windows: Sequence[Window], spoken: Sequence[float]) -> NDArray[np.float64]:
    """Return the weights (windows,) for the seconds of active sound; lengths if there is none."""
    if len(windows) == 1:
        return np.ones(1)
    return np.array(spoken if any(spoken) else [w.samples / SAMPLE_RATE for w in windows], dtype=np.float64)


def filled(
    windows: Sequence[Window], blocks: Iterable[NDArray[np.float32]], skip: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Collect the samples of each window from blocks. Only a window and a block are in memory.

    Args:
        windows: Result of `cut`.
        blocks: Consecutive blocks of the recording.
        skip: Samples of the recording before the first window.

    Yields:
        Samples of each window, as `active_seconds` expects them. Ends early if the blocks do.
    """
    waiting, at, index = np.zeros(0, dtype=np.float32), -skip, 0
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while index < len(windows) and windows[index].stop <= at + len(waiting):
            yield waiting[windows[index].start // FRAME * FRAME - at : windows[index].stop - at]
            index += 1
        needed = windows[index].start // FRAME * FRAME if index < len(windows) else at + len(waiting)
        done = min(max(0, needed - at), len(waiting))
        waiting, at = waiting[done:], at + done


def combine(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Combine scores of windows: the weighted mean, (windows, targets), (windows,) -> (targets,)."""
    return np.average(values, axis=0, weights=weight)


def pad(rows: Sequence[NDArray[np.float32]], multiple: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pad matrices with zeros to one batch.

    Args:
        rows: Shape (frames_i, width) each.
        multiple: The number of frames of the batch is a multiple of it.

    Returns:
        The batch (batch, frames, width), and the lengths (batch,).
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    frames = -(-int(lengths.max()) // multiple) * multiple
    batch = np.zeros((len(rows), frames, rows[0].shape[1]), dtype=np.float32)
    for padded, row in zip(batch, rows, strict=True):
        padded[: len(row)] = row
    return batch, lengths
