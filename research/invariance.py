"""Changes of scores that should be constant: the same recording at another level, rate, length or encoding.

Each group has a reference and variants of it, made from mono samples at 16 kHz:

    level      active level (ITU-T P.56) -45 to -15 dBov, against -26 dBov
    silence    digital silence before the recording
    length     2 to 30 s of the recording, repeated where it is shorter, against all lengths' mean
    windows    the halves scored apart and averaged, against the whole
    rate       copies at 8, 44.1 and 48 kHz; the one at 8 kHz against the same band at 16 kHz
    encoding   as files: PCM of 16 and 24 bit, float, FLAC; against the samples

A movement is counted on the target's own scale (SDI: log10).
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile as sf
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mtqnet.audio import reading
from mtqnet.audio.level import NOMINAL_DBOV, nominal_gain
from mtqnet.audio.resampling import SAMPLE_RATE, Samples, resample
from mtqnet.cli.terminal import error_console, reported_errors, stages
from mtqnet.scoring import batch
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.targets import BY_KEY, QUEST, named

LEVELS_DBOV = (-45, -35, -15)
SILENCES_S = (0.3, 1.0, 3.0)
LENGTHS_S = (2, 4, 8, 15, 30)
NARROW_RATE = 8_000
"""Hz, of telephone recordings"""
RATES = (44_100, 48_000)
"""Hz, above that of the model: nothing is lost"""
FILES = {"WAV, 16 bit": ("WAV", "PCM_16"), "WAV, 24 bit": ("WAV", "PCM_24"), "WAV, float": ("WAV", "FLOAT"),
         "FLAC, 16 bit": ("FLAC", "PCM_16"), "FLAC, 24 bit": ("FLAC", "PCM_24")}  # fmt: skip
"""Name -> format and subtype of libsndfile"""

Array = NDArray[np.float64]
Say = Callable[[Samples], Array]
"""Samples -> scores on the targets' own scales, (targets,)"""


@dataclass(frozen=True)
class Movement:
    """How far one score moved under one change, over all recordings."""

    group: str
    change: str
    target: str
    recordings: int
    mean: float
    """Signed: upwards is positive"""
    mean_abs: float
    worst: float
    """Largest magnitude"""


Progress = Callable[[int, int], None]


def measure(
    predictor: Predictor, recordings: Sequence[Samples], progress: Progress | None = None
) -> list[Movement]:
    """Movements of all scores of these recordings, (samples,) at 16 kHz each. Raises AudioError for a bad one."""
    moved: dict[tuple[str, str], list[Array]] = {}
    for done, samples in enumerate(recordings, start=1):
        for group, change, movement in _movements(predictor, _nominal(samples)):
            moved.setdefault((group, change), []).append(movement)
        if progress:
            progress(done, len(recordings))
    targets = predictor.record.targets
    return [
        _summary(group, change, target, np.array(rows)[:, place])
        for (group, change), rows in moved.items()
        for place, target in enumerate(targets)
    ]


def _summary(group: str, change: str, target: str, by_recording: Array) -> Movement:
    size = np.abs(by_recording)
    return Movement(
        group, change, target, len(by_recording),
        round(float(by_recording.mean()), 4), round(float(size.mean()), 4), round(float(size.max()), 4),
    )  # fmt: skip


def _movements(predictor: Predictor, samples: Samples) -> Iterator[tuple[str, str, Array]]:
    """Group, change and movement (targets,) of one recording at NOMINAL_DBOV."""

    def said(heard: Samples, rate: float = SAMPLE_RATE) -> Array:
        return _compressed(predictor, predictor.score(heard, rate))

    plain = said(samples)
    for level in LEVELS_DBOV:
        louder = samples * np.float32(10 ** ((level - NOMINAL_DBOV) / 20))
        yield "level", f"{level} dBov", said(louder) - plain
    for seconds in SILENCES_S:
        pause = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
        yield "silence", f"{seconds:g} s before", said(np.concatenate([pause, samples])) - plain
    by_length = {f"{seconds} s": said(_as_long(samples, seconds)) for seconds in LENGTHS_S}
    for name, scores in by_length.items():
        yield "length", name, scores - np.mean(list(by_length.values()), axis=0)
    half = len(samples) // 2
    yield "windows", "two halves", (said(samples[:half]) + said(samples[half:])) / 2 - plain
    narrow = resample(samples, SAMPLE_RATE, NARROW_RATE)
    again = resample(narrow, NARROW_RATE, SAMPLE_RATE)
    yield "rate", f"{NARROW_RATE} Hz", said(narrow, NARROW_RATE) - said(again)
    for rate in RATES:
        yield "rate", f"{rate} Hz", said(resample(samples, SAMPLE_RATE, rate), rate) - plain
    for name, scores in _through_files(predictor, samples).items():
        yield "encoding", name, scores - plain


def _through_files(predictor: Predictor, samples: Samples) -> Mapping[str, Array]:
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (container, subtype) in FILES.items():
            path = Path(folder, f"copy.{container.lower()}")
            sf.write(path, samples, SAMPLE_RATE, format=container, subtype=subtype)
            said[name] = _compressed(predictor, predictor.score(path))
    return said


def _compressed(predictor: Predictor, scores: Scores) -> Array:
    scores.raise_for_error()
    values = ((target, scores.value(target.key)) for target in named(predictor.record.targets))
    return np.array([float(target.compress(np.array(value))) for target, value in values])


def _nominal(samples: Samples) -> Samples:
    """At NOMINAL_DBOV, as far as the peak allows: a file of PCM would clip it."""
    gain = nominal_gain(samples)
    peak = float(np.abs(samples).max(initial=0.0)) * gain
    return np.asarray(samples * np.float32(gain / max(1.0, peak)), dtype=np.float32)


def _as_long(samples: Samples, seconds: float) -> Samples:
    length = round(seconds * SAMPLE_RATE)
    return np.tile(samples, -(-length // len(samples)))[:length]


def show_invariance(paths: Sequence[Path], output: Path | None, model: str) -> None:
    """Measure, print the movements of S-, N- and G-MOS, write those of all scores. Raises MtqnetError."""
    predictor = Predictor(model)
    recordings = []
    for job in batch.expand(paths):
        if job.problem is not None:
            raise job.problem
        recordings.append(reading.read(job.path).samples)
    with stages(error_console()) as stage:
        moved = measure(predictor, recordings, lambda done, total: stage("invariance", done, total))
    Console().print(table(moved))
    if output is not None:
        write(moved, output)


def table(moved: Sequence[Movement]) -> Table:
    """Mean magnitude and largest, for a terminal."""
    shown = [target for target in QUEST if any(row.target == target.key for row in moved)]
    made = Table("change of", "to", *(target.name for target in shown), title="Movement: mean size / largest")
    for place in dict.fromkeys((row.group, row.change) for row in moved):
        found = {row.target: row for row in moved if (row.group, row.change) == place}
        made.add_row(*place, *(f"{found[t.key].mean_abs:.2f} / {found[t.key].worst:.2f}" for t in shown))
    return made


def write(moved: Sequence[Movement], path: Path) -> None:
    """All movements as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Movement)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(moved, key=lambda row: list(BY_KEY).index(row.target)))


def main(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings or folders.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file to write.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="A shipped model, or the path of a model.")] = "base",
) -> None:
    """Measure how much scores change under changes that should not matter."""
    with reported_errors():
        show_invariance(paths, output, model)


if __name__ == "__main__":
    typer.run(main)
