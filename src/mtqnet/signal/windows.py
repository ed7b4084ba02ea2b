"""Length, in one place: how a recording is cut, and how the scores of its pieces become one.

The rule: a recording of up to MAX_WINDOW_S is scored whole. A longer one is cut into the smallest number of
equally long windows that are at most MAX_WINDOW_S each, without overlap; its score is the mean of theirs, each
weighted by its time of active sound (ITU-T P.56). So a pause between two sentences weighs nothing: in a window
without speech there is nothing that S-MOS could be said of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mtqnet.signal.audio import SAMPLE_RATE
from mtqnet.signal.level import FRAME, active_frames

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
    active = active_frames(samples)
    spoken = [active[w.start // FRAME : w.stop // FRAME].sum() * FRAME / SAMPLE_RATE for w in windows]
    return np.array(spoken if any(spoken) else [w.samples / SAMPLE_RATE for w in windows], dtype=np.float64)


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
