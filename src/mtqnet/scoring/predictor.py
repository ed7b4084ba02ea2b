"""Load a model and score recordings.

Flow of a recording: decode (audio.decoding) -> analyse (audio.analysis) -> cut into windows (audio.windows) -> run
the model on each window (runtime.py) -> combine the windows into Scores (scores.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtqnet import __version__
from mtqnet.audio import decoding, flags, reading, windows
from mtqnet.audio.analysis import AnalysedSignal, analyse
from mtqnet.audio.decoding import ArraySource, AudioSource
from mtqnet.audio.level import FRAME
from mtqnet.audio.reading import Channels, MonoSignal, check_no_rate, signals
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.audio.windows import Window
from mtqnet.causes import calibrated, describe
from mtqnet.errors import AudioError, MtqnetError, UnreadableError, UsageError
from mtqnet.scoring import batch, models
from mtqnet.scoring.batch import Advance, Job, Meter, PathLike, increments, path_to_text
from mtqnet.scoring.intervals import DISTANCE
from mtqnet.scoring.runtime import Output, Runtime
from mtqnet.scoring.scores import Results, Scores, Track, WindowScores
from mtqnet.targets import named

Audio = PathLike | bytes | BinaryIO | ArrayLike
"""A recording: a path, the bytes of a file, a binary file object, or samples in memory"""
Array = NDArray[np.float64]
Progress = Callable[[float], None]
"""Called with the fraction of a recording that is scored, 0 to 1"""


class Predictor:
    """A loaded model. It can be used by several threads and can be pickled.

    Args:
        model: A shipped model ("base", "small" or "mosa-net"), path of an .onnx file, or folder with one model.
        threads: Threads of the model; 0 means one per core.
        track: Whether scores have frame scores (`Scores.track`), which take 5 MB per hour of audio.

    Raises:
        ModelError: The model is missing, damaged or incompatible.

    >>> predictor = mtqnet.load("base")                            # doctest: +SKIP
    >>> predictor.score("call.wav").g_mos                          # doctest: +SKIP
    3.4
    >>> predictor.score(samples, rate=48000)                       # doctest: +SKIP
    >>> predictor.score("call.wav", channels="each")[1].s_mos      # second channel; doctest: +SKIP
    >>> predictor.score_files(["a.wav", "calls/"]).to_frame()      # doctest: +SKIP
    """

    def __init__(self, model: PathLike = "base", threads: int = 0, *, track: bool = True) -> None:
        self.record = models.find(model)
        self._arguments = (os.fspath(model), threads, track)
        self._runtime = Runtime(self.record, threads)
        self._keep_track = track and self.record.track

    def __repr__(self) -> str:
        return f"Predictor({self.record.name!r})"

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        """Pickle the arguments; the model is loaded again."""
        model, threads, track = self._arguments
        return partial(Predictor, track=track), (model, threads)

    @overload
    def score(
        self, audio: Audio, rate: float | None = None, *, channels: Literal["mix"] | int = "mix"
    ) -> Scores: ...
    @overload
    def score(self, audio: Audio, rate: float | None = None, *, channels: Literal["each"]) -> Results: ...
    def score(self, audio: Audio, rate: float | None = None, *, channels: Channels = "mix") -> Scores | Results:
        """Score one recording.

        Args:
            audio: Path, bytes of an audio file, binary file object, or samples: an array or tensor of shape
                (samples,), (samples, channels) or (1, samples). Integer samples are divided by their full scale.
            rate: Sample rate in Hz; required for samples, not allowed otherwise.
            channels: "mix" scores the mean of all channels, a number scores this channel (from 1), and "each" scores
                every channel.

        Returns:
            Scores; for "each" a `Results` with one entry per channel. A recording that cannot be scored has `error`
            set.

        Raises:
            UsageError: Invalid arguments, for example samples without a rate.

        >>> mtqnet.load().score("call.wav").flags      # doctest: +SKIP
        ('narrow_band',)
        """
        rows = self.score_rows(audio, rate, channels)
        return Results(tuple(rows)) if channels == "each" else rows[0]

    def score_files(
        self,
        paths: PathLike | Iterable[PathLike],
        *,
        jobs: int = 0,
        channels: Channels = "mix",
        progress: bool = False,
    ) -> Results:
        """Score files and folders.

        Args:
            paths: Files and folders. A folder is searched for audio and video files.
            jobs: Number of processes. 1: this process, and the scores have tracks. 0: as many as there are cores if
                there is enough work.
            channels: See `score`. "each" gives one entry per channel.
            progress: Whether the progress is shown: a bar on a terminal, an element in a notebook, lines in a pipe.

        Returns:
            An entry per recording in order. No recording raises an exception: `error` has the reason. A folder
            without recordings is an entry with an error.

        >>> frame = mtqnet.load().score_files("calls/", progress=True).to_frame()      # doctest: +SKIP
        """
        single = isinstance(paths, (str, os.PathLike))
        todo = batch.jobs_of([cast(PathLike, paths)] if single else cast(Iterable[PathLike], paths))
        processes = jobs or batch.worthwhile_processes(len(todo))
        meter = Meter(len(todo), progress)
        if processes > 1:
            from mtqnet.scoring.workers import Setting, score_jobs

            model, threads, _ = self._arguments
            setting = Setting(model, threads or 1, channels)
            rows: Iterable[Scores] = score_jobs(setting, processes, todo, advance=meter.recordings)
        else:
            rows = self.score_jobs(todo, channels, meter.recordings)
        with meter:
            scored = []
            for row in rows:
                scored.append(row)
                meter.audio(row.duration_s or 0.0)
        return Results(tuple(scored))

    def score_jobs(
        self, jobs: Iterable[Job], channels: Channels = "mix", advance: Advance | None = None
    ) -> Iterator[Scores]:
        """Score files one after the other; a file is scored when the iteration reaches it.

        Args:
            jobs: Files, as `mtqnet.scoring.batch.jobs_of` lists those of folders. `score_files` calls this method.
            channels: See `score`.
            advance: Called with the number of files, also fractions, that were scored since the last call.

        Returns:
            An iterator over the entries, one per file, or one per channel for "each".
        """
        for job in jobs:
            progress = increments(advance) if advance is not None else None
            rows = self.score_job(job, channels, progress)
            if progress is not None:
                progress(1.0)
            yield from rows

    def score_job(self, job: Job, channels: Channels = "mix", progress: Progress | None = None) -> list[Scores]:
        """Score one file; an exception becomes the `error` of its entry.

        Args:
            job: A file, or the reason why a path has no recording.
            channels: See `score`.
            progress: Called with the fraction of the file that is scored, 0 to 1.

        Returns:
            A list with one entry, or for "each" one per channel.

        Raises:
            MemoryError: The memory is exhausted.
        """
        if job.problem is not None:
            return [failed(self.record, job.problem, job.path)]
        try:
            return self.score_rows(job.path, channels=channels, progress=progress)
        except MemoryError:
            raise
        except Exception as error:
            return [failed(self.record, error, job.path)]

    def score_rows(
        self,
        audio: Audio,
        rate: float | None = None,
        channels: Channels = "mix",
        progress: Progress | None = None,
    ) -> list[Scores]:
        """Score one recording like `score`; return a list with one entry, or for "each" one per channel."""
        file = audio if isinstance(audio, (str, os.PathLike)) else None
        try:
            source = source_of(audio, rate)
        except AudioError as error:
            return [failed(self.record, error, file)]
        chosen = signals(source, channels)
        share = 1 / len(chosen)
        return [
            self._score_signal(signal, file, section(progress, number * share, share))
            for number, signal in enumerate(chosen)
        ]

    def _score_signal(self, signal: MonoSignal, file: PathLike | None, progress: Progress | None) -> Scores:
        try:
            recording = analyse(signal)
            scored = list(self._score_windows(recording, progress))
        except AudioError as error:
            return failed(self.record, error, file, signal.decoded_s, signal.channel)
        return self._combine(recording, scored, file, signal.channel)

    def _score_windows(self, recording: AnalysedSignal, progress: Progress | None) -> Iterator[_Window]:
        """Run the model on each window. One window is in memory at a time, unless the whole recording is."""
        analysis = recording.analysis
        cut = windows.cut(analysis.stop - analysis.start)
        samples_of = windows.filled(cut, recording.blocks(), skip=analysis.start)
        done = 0
        for window, samples in zip(cut, samples_of, strict=False):
            active_s = windows.active_seconds(window, samples, analysis.active_power)
            output = self._runtime.run(samples[window.start % FRAME :])
            reading.on_progress()
            frames = output.frames if self._keep_track else output.frames[:0]
            kept = replace(output, values=self._clip(output.values), frames=self._clip(frames))
            yield _Window(window, active_s, kept, len(output.frames))
            done += 1
            if progress is not None:
                progress(done / len(cut))
        if done < len(cut):
            raise UnreadableError("the file became shorter while it was read: wait until it is complete")

    def _clip(self, values: Array) -> Array:
        """Clip (..., targets) to the range of each target."""
        targets = list(named(self.record.targets))
        return np.clip(values, [target.low for target in targets], [target.high for target in targets])

    def _combine(
        self, recording: AnalysedSignal, scored: list[_Window], file: PathLike | None, channel: int | None
    ) -> Scores:
        """Combine the windows of a recording into its scores."""
        analysis, keys = recording.analysis, self.record.targets
        weights = windows.settled([each.window for each in scored], [each.active_s for each in scored])
        means = self._clip(windows.combine(np.stack([each.output.values for each in scored]), weights))
        values = dict(zip(keys, means.tolist(), strict=True))
        fractions = (weights / weights.sum()).tolist()
        raw = np.concatenate([each.output.causes for each in scored])
        probabilities = calibrated(raw, self.record.causes) if self.record.causes else {}
        cause_keys = tuple(self.record.causes)
        times, kinds = self._times(scored, analysis.start), self._calibrated(raw)
        distances = [each.output.distance for each in scored if each.output.distance is not None]
        distance = float(np.average(distances, weights=weights)) if distances else None
        intervals = self._intervals(values, distance)
        track = None
        if self._keep_track:
            frames = np.concatenate([each.output.frames for each in scored])
            track = Track(times, frames, keys, kinds if cause_keys else None, cause_keys)
        return Scores(
            **cast(Any, values),
            intervals=intervals,
            file=None if file is None else path_to_text(file),
            channel=channel,
            duration_s=analysis.duration_s,
            model=self.record.name,
            model_sha256=self.record.sha256,
            version=__version__,
            flags=analysis.flags,
            distance=distance,
            causes=probabilities,
            cause=describe(probabilities, times, kinds, cause_keys),
            windows=tuple(
                WindowScores(
                    (analysis.start + each.window.start) / SAMPLE_RATE,
                    (analysis.start + each.window.stop) / SAMPLE_RATE,
                    fraction,
                    tuple(each.output.values.tolist()),
                    keys,
                    intervals
                    if len(scored) == 1
                    else self._intervals(
                        dict(zip(keys, each.output.values.tolist(), strict=True)), each.output.distance
                    ),
                )
                for each, fraction in zip(scored, fractions, strict=True)
            ),
            track=track,
        )

    def _intervals(self, values: Mapping[str, float], distance: float | None) -> Mapping[str, Any]:
        if self.record.intervals is None:
            return {}
        return self.record.intervals.of(values if distance is None else {**values, DISTANCE: distance})

    def _times(self, scored: list[_Window], start: int) -> Array:
        """Centres of the frames of all windows in seconds, (frames,)."""
        return np.concatenate(
            [
                (start + each.window.start) / SAMPLE_RATE
                + (np.arange(each.frame_count, dtype=np.float64) + 0.5) / self.record.frame_rate_hz
                for each in scored
            ]
        )

    def _calibrated(self, causes: Array) -> Array:
        """Calibrate the probabilities of frames, (frames, causes)."""
        columns = [each(causes[:, place]) for place, each in enumerate(self.record.causes.values())]
        return np.stack(columns, axis=1) if columns else causes


@dataclass(frozen=True)
class _Window:
    """A window after the model was run on it."""

    window: Window
    active_s: float
    """Seconds of active sound"""
    output: Output
    """Clipped to the ranges of the targets; without frames if they are not kept"""
    frame_count: int


def source_of(audio: Audio, rate: float | None) -> AudioSource:
    """Open a file, or take samples. Raises UsageError for other objects, AudioError for files that cannot be read."""
    if isinstance(audio, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(audio, "read"):
        check_no_rate(rate)
        return decoding.open_source(cast(Any, audio))
    if isinstance(audio, (list, tuple)) and not audio:
        raise UsageError("the list is empty: pass one or more files, or samples")
    if audio is None or isinstance(audio, (int, float, dict, set)):
        what = "None" if audio is None else f"an object of type {type(audio).__name__}"
        raise UsageError(f"{what} is not a recording: pass a path, the bytes of a file, a file object or samples")
    array = as_array(audio)
    if array.ndim == 2 and array.shape[0] == 1 < array.shape[1]:
        array = array[0]
    return ArraySource(array, None if rate is None else as_rate(rate))


def section(progress: Progress | None, start: float, length: float) -> Progress | None:
    """Return a function that reports the progress of a part of the work to `progress`.

    Args:
        progress: Function for the whole work.
        start: Where the part begins, 0 to 1.
        length: Fraction of the whole work.
    """
    return None if progress is None else lambda part: progress(start + length * part)


def as_rate(rate: Any) -> float:
    """Convert a sample rate to a number. Raises UsageError."""
    try:
        return float(rate)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"sample rate {str(rate)[:40]!r} is not a number of Hz") from None


def as_array(audio: Any) -> NDArray[Any]:
    """Convert samples of any kind to an array. Raises UsageError.

    Tensors of PyTorch are recognised by their methods, so that torch is not imported.
    """
    try:
        if hasattr(audio, "detach") and hasattr(audio, "cpu"):
            audio = audio.detach().cpu()
            half = "float16" in str(audio.dtype)  # also bfloat16, which numpy does not have
            audio = audio.float().numpy() if half else audio.numpy()
        return np.asarray(audio)
    except (TypeError, ValueError, RuntimeError) as error:  # nested lists of different lengths, sparse tensors
        raise UsageError(f"an object of type {type(audio).__name__} is no array ({error})") from None


def failed(
    record: models.ModelRecord,
    error: Exception,
    file: PathLike | None = None,
    duration_s: float | None = None,
    channel: int | None = None,
) -> Scores:
    """Return the entry of a recording that was not scored, for a model that need not be loaded."""
    text = str(error) if isinstance(error, MtqnetError) else f"{type(error).__name__}: {error}"
    return Scores(
        file=None if file is None else path_to_text(file),
        channel=channel,
        duration_s=duration_s,
        model=record.name,
        model_sha256=record.sha256,
        version=__version__,
        flags=flags.of_error(error),
        error=" ".join(text.split()),
        exception=_without_frames(error),
    )


def _without_frames(error: Exception) -> Exception:
    """Remove the tracebacks of an exception that is kept: their frames would keep the samples in memory."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def load(model: PathLike = "base", *, threads: int = 0, track: bool = True) -> Predictor:
    """Load a model to score many recordings.

    Args:
        model: A shipped model ("base", "small" or "mosa-net"), path of an .onnx file, or folder with one model.
        threads: Threads of the model; 0 means one per core.
        track: Whether the scores contain frame scores (`Scores.track`), which take 5 MB per hour of audio.

    Raises:
        ModelError: The model is missing, damaged or incompatible.

    >>> predictor = mtqnet.load("small", threads=1)      # doctest: +SKIP
    """
    return Predictor(model, threads, track=track)


@overload
def score(
    audio: list[str] | list[Path] | list[PathLike] | tuple[PathLike, ...],
    *,
    model: PathLike = "base",
    channels: Channels = "mix",
) -> Results: ...
@overload
def score(
    audio: Audio, rate: float | None = None, *, model: PathLike = "base", channels: Literal["each"]
) -> Results: ...
@overload
def score(
    audio: Audio, rate: float | None = None, *, model: PathLike = "base", channels: Literal["mix"] | int = "mix"
) -> Scores: ...
def score(
    audio: Any, rate: float | None = None, *, model: PathLike = "base", channels: Channels = "mix"
) -> Scores | Results:
    """Score a recording, or a folder or list of files. Loaded models are cached for further calls.

    Args:
        audio: As for `Predictor.score`; or a folder, or a list of files and folders.
        rate: Sample rate in Hz; required for samples, not allowed otherwise.
        model: As for `Predictor`.
        channels: As for `Predictor.score`.

    Returns:
        Scores; a `Results` for a folder, a list, or channels="each". A recording that cannot be scored raises no
        exception: its scores are None, and `error` has the reason (`Scores.raise_for_error` raises it).

    Raises:
        UsageError: Invalid arguments, for example samples without a rate.
        ModelError: The model is missing, damaged or incompatible.

    >>> print(mtqnet.score("call.wav"))              # doctest: +SKIP
    >>> mtqnet.score("calls/").to_frame()            # doctest: +SKIP
    """
    several = isinstance(audio, (list, tuple)) and bool(audio) and isinstance(audio[0], (str, os.PathLike))
    if several or (isinstance(audio, (str, os.PathLike)) and batch.is_folder(audio)):
        check_no_rate(rate)
        return cached(model).score_files(audio, channels=channels)
    return cached(model).score(audio, rate, channels=channels)


def cached(model: PathLike) -> Predictor:
    """Return a Predictor that stays loaded while it is among the last four."""
    return _cached(os.fspath(model))


@lru_cache(maxsize=4)
def _cached(model: str) -> Predictor:
    return Predictor(model)
