"""Functions that run in the scoring processes. Arguments are paths chosen by the service; results can be pickled."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile as sf

from mtqnet.audio import decoding, reading
from mtqnet.audio.reading import Channels
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import AudioError, MtqnetError, UsageError
from mtqnet.evaluation import compare as comparing
from mtqnet.evaluation import plots
from mtqnet.evaluation.plots import Stretch, worst_stretch
from mtqnet.evaluation.recordings import Recordings, Row
from mtqnet.scoring.batch import Job
from mtqnet.scoring.over_time import STRETCH_S, values, with_local_track
from mtqnet.scoring.predictor import Predictor, Progress, failed, section
from mtqnet.scoring.scores import Scores, digits
from mtqnet.scoring.workers import exit_with_parent, limit_memory
from mtqnet.serving import MB
from mtqnet.targets import BY_KEY

SIDES = ("A", "B")
SAME = {"stoi_est": 0.01, "sdi_est": 0.05}
"""Differences below this are reported as "about the same"; SDI in log10"""
SAME_MOS = 0.1
"""The same for scores on a MOS scale: smaller differences are not audible"""
PLAYABLE_MAX_S = 1800.0
"""Maximum seconds of a recording that is played or plotted; it is in memory as a whole, 115 MB"""
MEMORY_BYTES = 1_000_000_000
"""Memory that a job may use in addition to the loaded models: a picture of PLAYABLE_MAX_S needs most"""
MAX_DECODED_MB = 1500
"""MB of a decoded recording: samples times channels times 4 bytes"""
PROGRESS_S = 0.2
"""Seconds between two reports of progress"""


class TooLongError(Exception):
    """The recording exceeds the limits of the service."""


class NoChannelError(Exception):
    """The recording has no such channel."""


@dataclass(frozen=True)
class Upload:
    """A recording that came with a request."""

    path: Path
    """Chosen by the service"""
    name: str
    """File name of the client: a label, never opened"""


@dataclass(frozen=True)
class Scored:
    """Scores of a recording or of one of its channels, with a track that is short enough to send."""

    scores: Scores
    worst: Stretch | None


def start(model: str) -> None:
    """Initialise a process: the default model is loaded before the first request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service handles Ctrl-C, and ends its processes in order
    exit_with_parent()
    limit_memory(predictor(model).record, MEMORY_BYTES)


@lru_cache(maxsize=8)
def predictor(model: str) -> Predictor:
    """One math thread: there are as many processes as cores."""
    return Predictor(model, 1)


def ready() -> bool:
    """Answers once a process has loaded its models."""
    return True


def score(
    upload: Upload,
    model: str,
    max_duration_s: float,
    track: bool = False,
    channels: Channels = "mix",
    progress: Path | None = None,
) -> list[Scored]:
    """Score a recording.

    Args:
        upload: The recording.
        model: Path of the model.
        max_duration_s: Seconds that the service accepts.
        track: Whether scores over time are computed.
        channels: As for `Predictor.score`.
        progress: File into which the fraction that is done is written; read_progress reads it.

    Returns:
        One entry, or for "each" one per channel.

    Raises:
        TooLongError: The recording exceeds the limits.
        NoChannelError: The recording has no such channel.
    """
    seconds = _within(upload.path, max_duration_s)
    tell = _reporter(progress)
    local = track and 0.0 < seconds <= PLAYABLE_MAX_S
    first = (
        seconds / (seconds + values(seconds) * STRETCH_S) if local else 1.0
    )  # part of the work; the rest: track
    rows = predictor(model).score_job(Job(Path(upload.path)), channels, section(tell, 0.0, first))
    if isinstance(rows[0].exception, UsageError):
        raise NoChannelError(str(rows[0].exception))
    rest = (1 - first) / len(rows)
    return [
        _scored(
            replace(row, file=upload.name, exception=None), upload, model, track,
            section(tell, first + rest * number, rest),
        )
        for number, row in enumerate(rows)
    ]  # fmt: skip


def _reporter(progress: Path | None) -> Progress:
    """Return a function that writes a fraction into a file, at most every PROGRESS_S seconds."""
    last = 0.0

    def write(part: float) -> None:
        nonlocal last
        if progress is not None and time.monotonic() - last > PROGRESS_S:
            last = time.monotonic()
            written = progress.with_suffix(".new")
            written.write_text(f"{part:.4f}")
            written.replace(progress)

    return write


def read_progress(path: Path) -> float:
    """Return the fraction that is done; 0 before the first report."""
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return 0.0


def _scored(scores: Scores, upload: Upload, model: str, track: bool, progress: Progress | None) -> Scored:
    if not track or scores.error is not None:
        return Scored(replace(scores, track=None), None)
    if scores.duration_s is not None and scores.duration_s <= PLAYABLE_MAX_S:
        samples = reading.read(upload.path, scores.channel).samples
        scores = with_local_track(predictor(model), samples, scores, progress)
    if scores.track is None:
        return Scored(scores, None)
    return Scored(
        replace(scores, track=plots.thinned(scores.track)), worst_stretch(scores.track, scores.duration_s)
    )


def score_window(samples: Samples, model: str) -> Scores:
    """Return the row of (samples,) at 16 kHz; if the model fails, a row with the reason."""
    try:
        scores = predictor(model).score(samples, SAMPLE_RATE)
    except MtqnetError as error:
        scores = failed(predictor(model).record, error)
    return replace(scores, exception=None, track=None)


def _scores(upload: Upload, model: str, max_duration_s: float) -> Scores:
    _within(upload.path, max_duration_s)
    (scores,) = predictor(model).score_job(Job(Path(upload.path)))
    return replace(scores, file=upload.name, exception=None)


def compare(
    first: Sequence[Upload], second: Sequence[Upload], model: str, max_duration_s: float, paired: bool
) -> tuple[list[Scores], list[Scores], dict[str, Any]]:
    """Score two sets; return the scores of both, and the result of `compared`. Raises TooLongError."""
    a, b = ([_scores(upload, model, max_duration_s) for upload in side] for side in (first, second))
    return a, b, compared(a, b, paired)


def draw(upload: Upload, picture: Path, model: str, max_duration_s: float) -> Scores:
    """Write the plot of a recording in the format of the suffix. Raises TooLongError."""
    scores = _scores(upload, model, min(max_duration_s, PLAYABLE_MAX_S))
    if scores.error is None:
        samples = reading.read(upload.path).samples
        plots.draw_recording(samples, with_local_track(predictor(model), samples, scores), picture)
    return scores


def make_playable(upload: Upload, flac: Path, max_duration_s: float) -> str | None:
    """Write what every browser plays: FLAC, mono, 16 kHz; the reason where it is no audio. Raises TooLongError."""
    _within(upload.path, min(max_duration_s, PLAYABLE_MAX_S))
    try:
        samples = reading.read(upload.path).samples
    except AudioError as error:
        return str(error)
    sf.write(flac, samples / max(1.0, float(abs(samples).max())), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return None


def _within(path: Path, max_duration_s: float) -> float:
    """Check duration and decoded size by the header, and return the duration in seconds; 0 if it is unknown.

    Unreadable files are reported by the scoring itself.
    """
    try:
        source = decoding.open_source(path)
    except AudioError:
        return 0.0
    seconds = source.declared_s or 0.0
    decoded_mb = seconds * source.rate * source.channels * 4 / MB
    if seconds > max_duration_s:
        raise TooLongError(f"{seconds:.0f} s long: this server takes {max_duration_s:g} s")
    if decoded_mb > MAX_DECODED_MB:
        raise TooLongError(f"{decoded_mb:.0f} MB when it is decoded: this server takes {MAX_DECODED_MB} MB")
    return seconds


def compared(first: Sequence[Scores], second: Sequence[Scores], paired: bool) -> dict[str, Any]:
    """Compare B with A, paired by name if `paired`; two single recordings are always a pair.

    Returns:
        The result of evaluation.compare.as_json, or only the verdict if no comparison was possible.
    """
    alone = paired and len(first) == len(second) == 1
    sides = [[replace(one, file="recording") if alone else one for one in side] for side in (first, second)]
    sets = [
        Recordings(name, Path(), tuple(Row(one, {}) for one in side))
        for name, side in zip(SIDES, sides, strict=True)
    ]
    try:
        result: dict[str, Any] = json.loads(comparing.as_json(comparing.compare(sets, paired, "", None)))
    except UsageError as error:
        result = {"verdict": [str(error)], "comparisons": []}
    if alone and result["comparisons"]:
        result["verdict"] = _of_one_pair(first[0], second[0], result["comparisons"])
    return result


def _of_one_pair(first: Scores, second: Scores, comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """Return the verdict for two single recordings."""
    names: dict[str, list[str]] = {"B is better on": [], "A is better on": [], "about the same:": []}
    for one in comparisons:
        target = BY_KEY[one["target"]]
        before, after = first.value(target.key), second.value(target.key)
        assert before is not None and after is not None
        name = target.short_name
        better = (after > before) == target.higher_is_better
        change = f"{name} ({digits(target, before)} to {digits(target, after)})"
        small = abs(one["difference"]) < SAME.get(target.key, SAME_MOS)
        # the table shows the same result as the sentence
        one["better"] = None if small else SIDES[1] if better else SIDES[0]
        group = "about the same:" if small else f"{one['better']} is better on"
        names[group].append(name if small else change)
    text = "; ".join(f"{start} {', '.join(words)}" for start, words in names.items() if words)
    return [
        f"{text[0].upper()}{text[1:]}.",
        "One recording per system does not allow a conclusion about the systems: compare ten or more.",
    ]
