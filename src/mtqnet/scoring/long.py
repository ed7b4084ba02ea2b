"""A file too long to be held: read twice in blocks, scored window by window, with flat memory.

The first pass finds what checks.py would (signal/survey.py); the second fills the same windows that the file
would be cut into whole, and weighs them the same way. So block-wise equals whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtqnet.audio import windows
from mtqnet.audio.audio import Samples
from mtqnet.audio.blocks import surveyed
from mtqnet.audio.level import FRAME
from mtqnet.errors import UnreadableError
from mtqnet.scoring.pieces import Pieces, in_batches
from mtqnet.scoring.runtime import Runtime


def pieces(path: Path, rate: int, runtime: Runtime, keep_frames: bool) -> Pieces:
    """Score the windows of a file of this rate (Hz). Raises an AudioError where there is no score."""
    file, survey = surveyed(path, rate)
    cut = windows.cut(survey.stop - survey.start)
    spoken: list[float] = []

    def clips() -> Iterator[Samples]:
        filled = windows.filled(cut, file.blocks(), skip=survey.start)
        for window, samples in zip(cut, filled, strict=False):
            spoken.append(windows.active_seconds(window, samples, survey.active_power))
            yield samples[window.start % FRAME :]

    output = in_batches(runtime, clips(), keep_frames)
    if len(spoken) < len(cut):
        raise UnreadableError("became shorter while it was read: wait until it is complete")
    weights = windows.settled(cut, spoken)
    return Pieces(cut, survey.start, weights, output, survey.duration_s, survey.flags)
