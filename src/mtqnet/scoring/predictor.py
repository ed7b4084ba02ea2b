"""Load a model once, score many recordings: the way audio -> checks -> windows -> runtime -> scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from numpy.typing import ArrayLike

from mtqnet import __version__
from mtqnet.audio import decoding, flags, windows
from mtqnet.audio.analysis import AnalysedSignal, analyse
from mtqnet.audio.decoding import ArraySource
from mtqnet.audio.level import FRAME
from mtqnet.audio.reading import MonoSignal, check_no_rate
from mtqnet.audio.resampling import Samples
from mtqnet.errors import AudioError, MtqnetError, UnreadableError
from mtqnet.scoring import models
from mtqnet.scoring.pieces import Pieces, in_batches
from mtqnet.scoring.runtime import Runtime
from mtqnet.scoring.scores import Scores
from mtqnet.targets import named

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
            check_no_rate(rate)
            return self._score_path(audio_or_path)
        return self._score_signal(MonoSignal(ArraySource(audio_or_path, rate)), file=None)

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
            signal = MonoSignal(decoding.open_source(path))
        except AudioError as error:
            return self.failed(error, file=path)
        return self._score_signal(signal, file=path)

    def _score_signal(self, signal: MonoSignal, file: PathLike | None) -> Scores:
        try:
            pieces = self._pieces(analyse(signal))
        except AudioError as error:
            return self.failed(error, file, signal.decoded_s)
        return self._scores(pieces, file)

    def _pieces(self, signal: AnalysedSignal) -> Pieces:
        """Score the windows of a recording in order. Holds one window of a recording that is not in memory."""
        analysis = signal.analysis
        cut = windows.cut(analysis.stop - analysis.start)
        active_s: list[float] = []

        def clips() -> Iterator[Samples]:
            for window, samples in zip(
                cut, windows.filled(cut, signal.blocks(), skip=analysis.start), strict=False
            ):
                active_s.append(windows.active_seconds(window, samples, analysis.active_power))
                yield samples[window.start % FRAME :]

        output = in_batches(self._runtime, clips(), self._keep_track)
        if len(active_s) < len(cut):
            raise UnreadableError("the file became shorter while it was read: wait until it is complete")
        weights = windows.settled(cut, active_s)
        return Pieces(cut, analysis.start, weights, output, analysis.duration_s, analysis.flags)

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
