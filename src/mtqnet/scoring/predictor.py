"""Load a model once, score many recordings: the way audio -> checks -> windows -> runtime -> scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mtqnet import __version__
from mtqnet.errors import AudioError, MtqnetError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.runtime import Output, Runtime
from mtqnet.scoring.scores import Scores, Track
from mtqnet.signal import audio, checks, windows
from mtqnet.signal.audio import SAMPLE_RATE, Recording, Samples
from mtqnet.signal.windows import Window
from mtqnet.targets import named

WINDOW_BATCH = 4
"""Windows of one recording that go through the network at a time: bounds the memory of long recordings."""

PathLike = str | os.PathLike[str]


class Predictor:
    """A loaded model. Safe to use from several threads.

    `model` is the name of a shipped one or the path of your own; `threads` 0 means one per core. Raises
    ModelError for a model that is missing, damaged or does not fit.
    """

    def __init__(self, model: PathLike = "base", threads: int = 0) -> None:
        self.record = models.find(model)
        self._runtime = Runtime(self.record, threads)

    def score(self, audio_or_path: PathLike | ArrayLike, rate: float | None = None) -> Scores:
        """Score one recording: a path, or samples (samples,) or (samples, channels) with their `rate` in Hz.

        A recording that cannot be scored comes back with `error` set. Mistakes of the caller raise
        UsageError: an array without rate, a path with one, a shape that is no recording.
        """
        if isinstance(audio_or_path, (str, os.PathLike)):
            if rate is not None:
                raise UsageError("a file says its rate itself: leave `rate` out")
            return self._score_path(audio_or_path)
        try:
            recording = audio.from_array(audio_or_path, rate)
        except AudioError as error:
            return self.failed(error)
        return self._score_recording(recording, file=None)

    def score_files(self, paths: Iterable[PathLike]) -> Iterator[Scores]:
        """Score files one by one, in order, as they are asked for. No file ends the iteration.

        Even what nobody foresaw becomes the `error` of its file; running out of memory alone is raised.
        """
        for path in paths:
            try:
                yield self._score_path(path)
            except MemoryError:
                raise
            except Exception as error:
                yield self.failed(error, file=path)

    def failed(self, error: Exception, file: PathLike | None = None, duration_s: float | None = None) -> Scores:
        """The row of a recording that `error` kept from being scored."""
        said = str(error) if isinstance(error, MtqnetError) else f"{type(error).__name__}: {error}"
        return Scores(
            file=_shown(file),
            duration_s=duration_s,
            model=self.record.name,
            model_sha256=self.record.sha256,
            version=__version__,
            error=" ".join(said.split()),
            exception=error,
        )

    def _score_path(self, path: PathLike) -> Scores:
        try:
            recording = audio.read(Path(path))
        except AudioError as error:
            return self.failed(error, file=path)
        return self._score_recording(recording, file=path)

    def _score_recording(self, recording: Recording, file: PathLike | None) -> Scores:
        try:
            start, stop = checks.heard(recording)
        except AudioError as error:
            return self.failed(error, file, recording.duration_s)
        samples = recording.samples[start:stop]
        cut = windows.cut(len(samples))
        output = self._run(samples, cut)
        targets = list(named(self.record.targets))
        means = windows.combine(output.values, windows.weights(cut, samples))
        values: dict[str, Any] = {
            target.key: target.clip(float(mean)) for target, mean in zip(targets, means, strict=True)
        }
        intervals = self.record.intervals
        return Scores(
            **values,
            intervals=intervals.of(values) if intervals is not None else {},
            file=_shown(file),
            duration_s=recording.duration_s,
            model=self.record.name,
            model_sha256=self.record.sha256,
            version=__version__,
            flags=checks.flags(recording),
            track=self._track(cut, output, start) if self.record.track else None,
        )

    def _run(self, samples: Samples, cut: list[Window]) -> Output:
        batches = [cut[start : start + WINDOW_BATCH] for start in range(0, len(cut), WINDOW_BATCH)]
        outputs = [
            self._runtime.run([samples[window.start : window.stop] for window in batch]) for batch in batches
        ]
        values = np.concatenate([output.values for output in outputs])
        return Output(values, tuple(rows for output in outputs for rows in output.frames))

    def _track(self, cut: list[Window], output: Output, start: int) -> Track:
        """Frame scores in the time of the recording, whose first `start` samples were left out."""
        rate = self.record.frame_rate_hz
        times = [
            (start + window.start) / SAMPLE_RATE + (np.arange(len(rows), dtype=np.float64) + 0.5) / rate
            for window, rows in zip(cut, output.frames, strict=True)
        ]
        targets = list(named(self.record.targets))
        low, high = [target.low for target in targets], [target.high for target in targets]
        frames = np.clip(np.concatenate(output.frames), low, high)
        return Track(np.concatenate(times), frames, self.record.targets)


def load(model: PathLike = "base", *, threads: int = 0) -> Predictor:
    """A Predictor: for scoring many recordings. See there."""
    return Predictor(model, threads)


def score(audio_or_path: PathLike | ArrayLike, rate: float | None = None, *, model: PathLike = "base") -> Scores:
    """Score one recording, as Predictor.score does; the models used last stay loaded."""
    return _cached(os.fspath(model)).score(audio_or_path, rate)


@lru_cache(maxsize=4)
def _cached(model: str) -> Predictor:
    return Predictor(model)


def _shown(file: PathLike | None) -> str | None:
    """The path as text that any table can hold: bytes that are not UTF-8 are written as \\x.. escapes."""
    return None if file is None else os.fsencode(file).decode("utf-8", "backslashreplace")
