"""A recording after its windows went through the network, and before its scores are one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.audio.windows import Window
from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.runtime import Output, Runtime
from mtqnet.scoring.scores import Track, WindowScores
from mtqnet.targets import named

WINDOW_BATCH = 1
"""Windows of one recording that go through the network at a time. More take more memory (32 MB each) and no less
time: 10 s are enough work for the matrix products."""


@dataclass(frozen=True)
class Pieces:
    """What the network said of each window."""

    cut: list[Window]
    start: int
    """Samples of the recording before the first window"""
    weights: NDArray[np.float64]
    """(windows,)"""
    output: Output
    """values (windows, targets), and frames of each window or of none"""
    duration_s: float
    """Seconds, of the whole recording"""
    flags: tuple[str, ...]

    def values(self, record: ModelRecord) -> NDArray[np.float64]:
        """(windows, targets), each within its target's range: what a recording's score is the mean of."""
        low, high = _range(record.targets)
        return np.asarray(np.clip(self.output.values, low, high))

    def windows(self, record: ModelRecord) -> tuple[WindowScores, ...]:
        """The scores of each window."""
        keys, intervals = record.targets, record.intervals
        shares = self.weights / self.weights.sum()
        return tuple(
            WindowScores(
                (self.start + window.start) / SAMPLE_RATE,
                (self.start + window.stop) / SAMPLE_RATE,
                float(share),
                tuple(values),
                keys,
                intervals.of(dict(zip(keys, values, strict=True))) if intervals is not None else {},
            )
            for window, share, values in zip(self.cut, shares, self.values(record).tolist(), strict=True)
        )

    def track(self, record: ModelRecord) -> Track:
        """Frame scores in the time of the recording."""
        times = [
            (self.start + window.start) / SAMPLE_RATE
            + (np.arange(len(rows), dtype=np.float64) + 0.5) / record.frame_rate_hz
            for window, rows in zip(self.cut, self.output.frames, strict=True)
        ]
        frames = np.clip(np.concatenate(self.output.frames), *_range(record.targets))
        return Track(np.concatenate(times), frames, record.targets)


def in_batches(runtime: Runtime, clips: Iterable[Samples], keep_frames: bool) -> Output:
    """Clips in order -> values of all, and their frames if they are kept. Holds WINDOW_BATCH clips."""
    values: list[NDArray[np.float64]] = []
    frames: list[NDArray[np.float64]] = []
    waiting = iter(clips)
    while batch := list(islice(waiting, WINDOW_BATCH)):
        output = runtime.run(batch)
        values.append(output.values)
        frames += output.frames if keep_frames else ()
    return Output(np.concatenate(values), tuple(frames))


def _range(keys: tuple[str, ...]) -> tuple[list[float], list[float]]:
    targets = list(named(keys))
    return [target.low for target in targets], [target.high for target in targets]
