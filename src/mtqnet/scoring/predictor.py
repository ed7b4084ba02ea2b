"""Load a model once, score many recordings: the way audio -> checks -> windows -> runtime -> scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from mtqnet import __version__
from mtqnet.audio import audio, checks, flags, windows
from mtqnet.audio.audio import Recording
from mtqnet.errors import AudioError, MtqnetError
from mtqnet.scoring import long, models
from mtqnet.scoring.pieces import Pieces, in_batches
from mtqnet.scoring.runtime import Runtime
from mtqnet.scoring.scores import Scores
from mtqnet.targets import named

LONG_S = 300.0
"""Seconds. A longer file is read in blocks (scoring/long.py): the same scores, and memory that does not grow."""

PathLike = str | os.PathLike[str]


class Predictor:
    """A loaded model. Safe to use from several threads.

    `model` is the name of a shipped one or the path of your own; `threads` 0 means one per core. Without
    `track` the scores have none: it takes 5 MB an hour. Raises ModelError for a model that is missing, damaged or
    does not fit.
    """

    def __init__(self, model: PathLike = "base", threads: int = 0, *, track: bool = True) -> None:
        self.record = models.find(model)
        self._runtime = Runtime(self.record, threads)
        self._keep_track = track and self.record.track

    def score(self, audio_or_path: PathLike | ArrayLike, rate: float | None = None) -> Scores:
        """Score one recording: a path, or samples (samples,) or (samples, channels) with their `rate` in Hz.

        A recording that cannot be scored comes back with `error` set. Mistakes of the caller raise
        UsageError: an array without rate, a path with one, a shape that is no recording.
        """
        if isinstance(audio_or_path, (str, os.PathLike)):
            audio.need_no_rate(rate)
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
        return failed(self.record, error, file, duration_s)

    def _score_path(self, path: PathLike) -> Scores:
        try:
            header = audio.header(Path(path))
            if header.duration_s > LONG_S:
                return self._scores(long.pieces(Path(path), header.rate, self._runtime, self._keep_track), path)
            recording = audio.read(Path(path))
        except AudioError as error:
            return self.failed(error, file=path)
        return self._score_recording(recording, file=path)

    def _score_recording(self, recording: Recording, file: PathLike | None) -> Scores:
        try:
            heard = checks.examine(recording)
        except AudioError as error:
            return self.failed(error, file, recording.duration_s)
        samples = recording.samples[heard.start : heard.stop]
        cut = windows.cut(len(samples))
        output = in_batches(
            self._runtime, (samples[window.start : window.stop] for window in cut), self._keep_track
        )
        weights = windows.weights(cut, samples)
        pieces = Pieces(cut, heard.start, weights, output, recording.duration_s, heard.flags())
        return self._scores(pieces, file)

    def _scores(self, pieces: Pieces, file: PathLike | None) -> Scores:
        """The row of a recording whose windows went through the network."""
        targets = list(named(self.record.targets))
        means = windows.combine(pieces.values(self.record), pieces.weights)
        values: dict[str, Any] = {
            target.key: target.clip(float(mean)) for target, mean in zip(targets, means, strict=True)
        }
        intervals = self.record.intervals
        return Scores(
            **values,
            intervals=intervals.of(values) if intervals is not None else {},
            file=None if file is None else shown(file),
            duration_s=pieces.duration_s,
            model=self.record.name,
            model_sha256=self.record.sha256,
            version=__version__,
            flags=pieces.flags,
            windows=pieces.windows(self.record),
            track=pieces.track(self.record) if self._keep_track else None,
        )


def failed(
    record: models.ModelRecord, error: Exception, file: PathLike | None = None, duration_s: float | None = None
) -> Scores:
    """Predictor.failed, where the model was not loaded."""
    said = str(error) if isinstance(error, MtqnetError) else f"{type(error).__name__}: {error}"
    return Scores(
        file=None if file is None else shown(file),
        duration_s=duration_s,
        model=record.name,
        model_sha256=record.sha256,
        version=__version__,
        flags=flags.of_error(error),
        error=" ".join(said.split()),
        exception=error,
    )


def load(model: PathLike = "base", *, threads: int = 0, track: bool = True) -> Predictor:
    """A Predictor: for scoring many recordings. See there."""
    return Predictor(model, threads, track=track)


def score(audio_or_path: PathLike | ArrayLike, rate: float | None = None, *, model: PathLike = "base") -> Scores:
    """Score one recording, as Predictor.score does; the models used last stay loaded."""
    return cached(model).score(audio_or_path, rate)


def cached(model: PathLike) -> Predictor:
    """A Predictor that stays loaded, as long as it is among the last few that were asked for."""
    return _cached(os.fspath(model))


@lru_cache(maxsize=4)
def _cached(model: str) -> Predictor:
    return Predictor(model)


def shown(file: PathLike) -> str:
    """A path as text that any table can hold: bytes that are not UTF-8 are written as \\x.. escapes."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")
