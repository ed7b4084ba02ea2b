"""The measurements: rows of one long table. Scorers are measured in turn, so that all have the same load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import soundfile as sf

import clips
from mtqnet.audio.resampling import Samples
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.stream import Stream

HERE = Path(__file__).resolve().parent
LONG_S = 600.0
"""Seconds. Longer clips are scored once: a run of an hour needs no median."""
PATIENCE_S = 60.0
"""Seconds for the rounds of one scorer on one clip: who is slow gets fewer, but LEAST_ROUNDS."""
LEAST_ROUNDS = 3
PEERS_S = 600.0
"""Seconds. Peers' memory is not measured on longer clips: an hour of audio takes them minutes."""


@dataclass(frozen=True)
class Scorer:
    """Something that scores, and where it runs."""

    name: str
    kind: str
    """One of worker.py's KINDS"""
    python: Path
    packages: tuple[str, ...]
    """What has to be installed for it"""
    model: str = "-"
    longest_s: float = float("inf")
    """Seconds of audio that it takes at once"""

    def command(self, cores: int, files: Sequence[Path] = ()) -> list[str]:
        return [str(word) for word in (self.python, HERE / "worker.py", self.kind, self.model, cores, *files)]


@dataclass(frozen=True)
class Row:
    """One figure."""

    measure: str
    """One of MEASURES, or one that comes with it"""
    scorer: str
    cores: int
    clip: str
    value: float
    unit: str
    run: str = ""
    """When, and how busy the machine was; rows that are compared are of one run."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    folder: Path
    """For the clips"""
    lengths_s: tuple[float, ...] = (5.0, 6.0, 8.0, 10.0, 60.0, 3600.0)
    longest_s: float = 36_000.0
    """Seconds. Only mtqnet scores ten hours, to measure its memory."""
    cores: tuple[int, ...] = (1, 2)
    rounds: int = 7
    many: int = 500
    stream_s: float = 30.0


class Worker:
    """A scorer's process that waits for paths."""

    def __init__(self, scorer: Scorer, cores: int) -> None:
        self.scorer = scorer
        self._process = subprocess.Popen(
            scorer.command(cores), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def seconds(self, path: Path) -> float:
        """Seconds that it took to score a file."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.scorer.name} ended: its message is above")
        answer: dict[str, float] = json.loads(line)
        return answer


def speed(scorers: Sequence[Scorer], plan: Plan) -> Iterator[Row]:
    """Time per second of audio, of loaded models: medians over rounds in which each scorer has its turn."""
    for cores in plan.cores:
        workers = [Worker(scorer, cores) for scorer in scorers]
        for length in plan.lengths_s:
            path = clips.one(plan.folder, length)
            able = [worker for worker in workers if length <= worker.scorer.longest_s]
            for name, seconds in _in_turn(able, path, length, plan.rounds).items():
                yield Row("clips", name, cores, f"{length:g} s", 1e3 * median(seconds) / length, "ms/s")
        for worker in workers:
            worker.close()


def _in_turn(workers: Sequence[Worker], path: Path, length: float, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by scorer."""
    if length > LONG_S:
        return {worker.scorer.name: [worker.seconds(path)] for worker in workers}
    first = {worker: worker.seconds(path) for worker in workers}  # not counted: the first run of a shape allocates
    turns = {
        worker: min(rounds, max(LEAST_ROUNDS, int(PATIENCE_S / seconds))) for worker, seconds in first.items()
    }
    taken: dict[str, list[float]] = {worker.scorer.name: [] for worker in workers}
    for number in range(rounds):
        for worker in workers:
            if number < turns[worker]:
                taken[worker.scorer.name].append(worker.seconds(path))
    return taken


def memory(scorers: Sequence[Scorer], plan: Plan) -> Iterator[Row]:
    """Peak memory of a fresh process that scores one clip on one core."""
    for length in dict.fromkeys((*plan.lengths_s, plan.longest_s)):
        path = clips.one(plan.folder, length)
        for scorer in scorers:
            longest = scorer.longest_s if scorer.kind == "mtqnet" else min(scorer.longest_s, PEERS_S)
            if length <= longest:
                done = subprocess.run(scorer.command(1, [path]), stdout=subprocess.PIPE, text=True, check=True)
                peak = json.loads(done.stdout.splitlines()[-1])["peak_kb"]
                yield Row("memory", scorer.name, 1, f"{length:g} s", peak / 1e3, "MB")


def first_score(scorers: Sequence[Scorer], plan: Plan) -> Iterator[Row]:
    """From the start of the process to the score of a 10 s file: mtqnet by its command, others by a minimal
    program."""
    path = clips.one(plan.folder, 10.0)
    commands = {s.name: _fresh(s, path) for s in scorers if s.kind != "floor"}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(plan.rounds):
        for name, command in commands.items():
            taken[name].append(timed([command], cores=1))
    for name, seconds in taken.items():
        yield Row("first", name, 1, "10 s", median(seconds), "s")


def streams(scorers: Sequence[Scorer], plan: Plan) -> Iterator[Row]:
    """What a second of a live stream costs on one core, in chunks of 20 ms, by window: ours alone can do it."""
    for scorer in scorers:
        if scorer.kind != "mtqnet":
            continue
        predictor = Predictor(scorer.model, threads=1, track=False)
        for window_s in (10.0, 5.0, 3.0):
            samples, rate = sf.read(clips.one(plan.folder, plan.stream_s), dtype="float32")
            yield Row(
                "streams",
                scorer.name,
                1,
                f"window {window_s:g} s",
                _streamed(predictor, samples, rate, window_s),
                "ms",
            )


def _streamed(predictor: Predictor, samples: Samples, rate: int, window_s: float) -> float:
    """Median milliseconds from the last chunk of a second to its score, once the window is full."""
    stream = Stream(predictor, rate, window_s=window_s)
    chunk, waits = rate // 50, []
    for start in range(0, len(samples), chunk):
        began = time.perf_counter()
        rows = stream.feed(samples[start : start + chunk])
        if rows and stream.heard_s >= window_s:
            waits.append(time.perf_counter() - began)
    return 1e3 * median(waits)


def installed(scorers: Sequence[Scorer], _plan: Plan) -> Iterator[Row]:
    """Size on disk of what has to be installed, with all dependencies."""
    for scorer in scorers:
        if scorer.kind == "floor":
            continue
        command = [str(scorer.python), str(HERE / "installed.py"), *scorer.packages]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        yield Row("installed", scorer.name, 0, "", sum(found.values()) / 1e6, "MB")


def _fresh(scorer: Scorer, path: Path) -> list[str]:
    if scorer.kind == "mtqnet":
        return [*ours(scorer), str(path), "--jobs", "1"]
    return scorer.command(1, [path])


def ours(scorer: Scorer) -> list[str]:
    """The command that scores with one of ours."""
    return [sys.executable, "-m", "mtqnet", "score", "--model", scorer.model]


def timed(commands: Sequence[Sequence[str]], cores: int) -> float:
    """Seconds until all of these commands, started together, have ended; they share so many cores."""
    allowed = sorted(os.sched_getaffinity(0))[-cores:]
    shares = [allowed[place :: len(commands)] for place in range(len(commands))]
    began = time.perf_counter()
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=partial(os.sched_setaffinity, 0, share))
        for command, share in zip(commands, shares, strict=True)
    ]
    codes = [process.wait() for process in running]
    took = time.perf_counter() - began
    if any(codes):
        raise RuntimeError(f"failed with {codes}: {' '.join(commands[0][:5])} ...")
    return took
