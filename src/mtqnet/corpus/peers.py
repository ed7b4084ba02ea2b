"""Scores of other predictors: DNSMOS P.835, DNSMOS P.808 and Distill-MOS, computed by their own code.

They need packages that this project does not install (librosa), so they run in a separate environment, created by
`make peers`; peer_worker.py is what runs there. Their scores are rivals in the experiments, and further pseudo
labels in training.
"""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.peer_worker import COLUMNS
from mtqnet.corpus.table import fingerprint
from mtqnet.errors import UsageError

WORKER = Path(__file__).with_name("peer_worker.py")
PYTHON = Path(".venv-peers/bin/python")
"""Where `make peers` puts their interpreter"""
CHUNK = 200
"""Clips that one process scores before its result is kept"""

Progress = Callable[[int, int], None]
Scores = dict[str, NDArray[np.float64]]
"""By column, (clips,) each"""


@dataclass(frozen=True)
class _Chunk:
    predictor: str
    clips: Sequence[Excerpt]
    path: Path


def predictors_of(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the predictors that provide these columns, each once."""
    owner = {column: predictor for predictor, named in COLUMNS.items() for column in named}
    return tuple(dict.fromkeys(owner[column] for column in columns))


def score(
    python: Path,
    clips: Sequence[Excerpt],
    store: Path,
    name: str,
    jobs: int,
    progress: Progress,
    predictors: Sequence[str] = tuple(COLUMNS),
) -> Scores:
    """All columns of these predictors for these clips; what `store` has is not scored again. Raises UsageError.

    `progress` counts clips, each once for each predictor.
    """
    store.mkdir(parents=True, exist_ok=True)
    pieces = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    chunks = [
        _Chunk(predictor, piece, store / f"{name}-{predictor}-{number:03d}-{fingerprint(piece)}.csv")
        for predictor in predictors
        for number, piece in enumerate(pieces)
    ]
    missing = [chunk for chunk in chunks if not chunk.path.exists()]
    if missing and not python.exists():
        raise UsageError(f"no {python}: run `make peers`, or name the Python that has speechmos and distillmos")
    total = len(clips) * len(predictors)
    done = total - sum(len(chunk.clips) for chunk in missing)
    progress(done, total)
    workers = jobs or os.cpu_count() or 1
    cores: SimpleQueue[int] = SimpleQueue()
    for number in range(workers):
        cores.put(number)
    with ThreadPoolExecutor(workers) as threads:
        tasks = {threads.submit(_one, python, chunk, cores): len(chunk.clips) for chunk in missing}
        for task in as_completed(tasks):
            task.result()
            done += tasks[task]
            progress(done, total)
    return {column: said for predictor in predictors for column, said in _columns(predictor, chunks).items()}


def _columns(predictor: str, chunks: Sequence[_Chunk]) -> Scores:
    rows = [row for chunk in chunks if chunk.predictor == predictor for row in _rows(chunk.path)]
    return {column: np.array([float(row[column]) for row in rows]) for column in COLUMNS[predictor]}


def _one(python: Path, chunk: _Chunk, cores: SimpleQueue[int]) -> None:
    listing, partial = chunk.path.with_suffix(".list"), chunk.path.with_suffix(".tmp")
    with listing.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "start", "samples"))
        writer.writerows((clip.path.resolve(), clip.start, clip.samples or "") for clip in chunk.clips)
    core = cores.get()
    try:
        command = [str(word) for word in (python, WORKER, chunk.predictor, listing, partial, core)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        cores.put(core)
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"the peers could not be run by {python}: {last}. `make peers` installs them")
    partial.replace(chunk.path)
    listing.unlink()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
