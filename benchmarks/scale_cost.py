"""Processor seconds of each stage for an hour of audio; other load hardly changes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

import clips
import local_cluster
from mtqnet.audio import reading, resampling, windows
from mtqnet.audio.analysis import analyse_recording
from mtqnet.integrations.ray import shards, sources
from mtqnet.integrations.ray.shards import Outcome
from mtqnet.integrations.ray.sources import Entry, Folder
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.runtime import Runtime, _inputs
from mtqnet.scoring.tables import RECORDINGS

FORMATS = {
    "WAV 16 kHz": ("wav", 16_000, "PCM_16"),
    "WAV 48 kHz": ("wav", 48_000, "PCM_16"),
    "WAV 8 kHz, A-law": ("wav", 8_000, "ALAW"),
    "FLAC 16 kHz": ("flac", 16_000, "PCM_16"),
    "MP3 44.1 kHz": ("mp3", 44_100, "MPEG_LAYER_III"),
    "Opus 48 kHz": ("opus", 48_000, "OPUS"),
}
"""Suffix, rate in Hz and coding of libsndfile"""
HOUR_S = 3600.0


@dataclass(frozen=True)
class Cost:
    """One stage on one kind of recording."""

    stage: str
    kind: str
    cpu_s: float
    """Processor seconds per `unit`"""
    unit: str
    megabytes: float = float("nan")
    """Of an hour of audio"""


def measure(work: Path, seconds: float, repeats: int) -> list[Cost]:
    """All stages, on recordings of this length; the least of `repeats` rounds."""
    found: list[Cost] = []
    sound, _ = sf.read(clips.one(work, seconds), dtype="float32")
    for kind, (suffix, rate, coding) in FORMATS.items():
        path = _written(work / f"cost_{seconds:g}_{len(found)}.{suffix}", sound, rate, coding)
        spent = _least(repeats, lambda path=path: reading.read(path))  # type: ignore[misc]
        size = path.stat().st_size * HOUR_S / seconds / 1e6
        found.append(Cost("decode", kind, spent * HOUR_S / seconds, "an hour of audio", size))
    recording = reading.read(clips.one(work, seconds))
    found += _of_model(recording, seconds, repeats)
    found += _of_files(work, seconds, repeats)
    return found


def _of_model(recording: reading.Recording, seconds: float, repeats: int) -> Iterator[Cost]:
    record = models.find("base")
    runtime = Runtime(record, threads=1)

    def heard() -> None:
        analysis = analyse_recording(recording)
        start, stop = analysis.start, analysis.stop
        windows.weights(windows.cut(stop - start), recording.samples[start:stop])

    pieces = [recording.samples[cut.start : cut.stop] for cut in windows.cut(len(recording.samples))]
    stages: dict[str, Callable[[], object]] = {
        "checks": heard,
        "features": lambda: [_inputs(record, piece) for piece in pieces],
        "all of the model": lambda: [runtime.run(piece) for piece in pieces],
    }
    spent = {name: _least(repeats, stage) for name, stage in stages.items()}
    spent["network"] = spent.pop("all of the model") - spent["features"]
    for name, value in spent.items():
        yield Cost(name, "any", value * HOUR_S / seconds, "an hour of audio")


def _of_files(work: Path, seconds: float, repeats: int, count: int = 64) -> Iterator[Cost]:
    """Costs of a recording that do not depend on its duration (row, network), and of a shard."""
    path = clips.one(work, seconds)
    scored = [Predictor("base", 1, track=False).score(path)] * count
    made = Outcome(0, count, 0, 0.0, 0.0, 0.0, "here")
    with local_cluster.bucket() as options:
        local_cluster.upload(options, [path], "cost")
        entry = Entry("x.wav", f"s3://bucket/cost/{path.name}?{options}")
        out = Folder.of(f"s3://bucket/out?{options}")

        def fetched() -> None:
            for _ in sources.recordings([entry] * count):
                pass

        spent = {
            "fetch": (_least(repeats, fetched) / count, "a file"),
            "list": (
                _least(repeats, lambda: sources.search(sources.parse(f"s3://bucket/cost?{options}"))),
                "a page",
            ),
            "write": (
                _least(repeats, lambda: shards.write_table(out, RECORDINGS, scored, made)),
                f"a table of {count}",
            ),
        }
    for stage, (cpu_s, unit) in spent.items():
        yield Cost(stage, "any", cpu_s, unit)


def _written(path: Path, sound: np.ndarray, rate: int, coding: str) -> Path:
    at_rate = resampling.resample(sound, resampling.SAMPLE_RATE, rate)
    kind = {"opus": "OGG", "mp3": "MP3"}.get(path.suffix[1:])
    with sf.SoundFile(path, "w", rate, 1, coding, format=kind) as file:
        for start in range(0, len(at_rate), rate):  # libsndfile's Opus takes no minute at once
            file.write(at_rate[start : start + rate])
    return path


def _least(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of CPU of the quickest of some rounds, after one that warms up."""
    work()
    return min(_spent(work) for _ in range(repeats))


def _spent(work: Callable[[], object]) -> float:
    with _clock() as spent:
        work()
    return spent[0]


@contextmanager
def _clock() -> Iterator[list[float]]:
    spent: list[float] = []
    began = time.process_time()
    yield spent
    spent.append(time.process_time() - began)


def hourly(costs: Sequence[Cost], kind: str = "WAV 16 kHz", seconds: float = 60.0) -> float:
    """Seconds of CPU of an hour in recordings of this length, everything in."""
    files = HOUR_S / seconds
    total = 0.0
    for cost in costs:
        if cost.unit == "an hour of audio" and cost.kind in (kind, "any"):
            total += cost.cpu_s
        elif cost.unit == "a file":
            total += files * cost.cpu_s
        elif cost.unit.startswith("a table of"):
            total += files / int(cost.unit.rpartition(" ")[2]) * cost.cpu_s
    return total
