"""Scores of other predictors: DNSMOS P.835, DNSMOS P.808 and Distill-MOS, computed by their own code.

They need packages that this project does not install (librosa), so they run in a separate environment, created by
`make peers`; peer_worker.py is what runs there. Their scores are baselines in the experiments, further pseudo labels
in training, and sources of the ensemble labels: `mtqnet corpus ensemble` adds the columns of ENSEMBLE_COLUMNS to the
table of a corpus (`add_ensemble`). The columns `s_mos`, `n_mos` and `g_mos` remain the labels of the three-signal
labeller; training with `existing_models.ensemble = true` uses the ensemble in their place (`as_labels`).
"""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.peer_worker import COLUMNS
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import DISAGREEMENT, ENSEMBLE, TABLE, excerpt, fingerprint, read_rows, write_rows
from mtqnet.errors import CorpusError, UsageError
from mtqnet.labels.ensemble import PREDICTORS, Agreed, ensemble_labels, kinds_of
from mtqnet.targets import QUEST

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


STORE = "predictors"
"""Folder of a corpus with the scores of the predictors"""

Row = dict[str, Any]


def add_ensemble(
    corpus: Path,
    python: Path = PYTHON,
    jobs: int = 0,
    train: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Score the clips of a corpus by all predictors and write the ensemble into its table; scores are kept.

    Args:
        corpus: Folder that `corpus build` wrote.
        python: Interpreter of the environment with the predictors.
        jobs: Number of processes; 0 is one per core.
        train: Number of training clips that are scored, the first ones; 0 is all. The ensemble of the others is
            the labeller alone.
        progress: Called with the clips done and the clips in total, each counted once for each predictor.

    Returns:
        The path of the table.
    """
    rows = read_rows(corpus)
    for row in rows:
        row.update(dict.fromkeys(PREDICTORS))
    for split in SPLITS:
        chosen = [row for row in rows if row["split"] == split]
        chosen = chosen[: train or None] if split == "train" else chosen
        if not chosen:
            continue
        clips = [excerpt(corpus, row) for row in chosen]
        scores = score(python, clips, corpus / STORE, split, jobs, progress or (lambda *_: None))
        for place, row in enumerate(chosen):
            row.update({key: float(scores[key][place]) for key in PREDICTORS})
    fill(rows)
    write_rows(rows, corpus / TABLE)
    return corpus / TABLE


def fill(rows: Sequence[Row]) -> None:
    """Write the ensemble and the disagreement into rows that carry the labels and the scores of predictors."""
    keys = (*(target.key for target in QUEST), *PREDICTORS)
    sources = {key: np.array([np.nan if row[key] is None else row[key] for row in rows]) for key in keys}
    made: Mapping[str, Agreed] = ensemble_labels(sources, [kinds_of(row["steps"]) for row in rows])
    for key, agreed in made.items():
        for row, value, disagreement in zip(rows, agreed.values, agreed.disagreement, strict=True):
            row[key + ENSEMBLE] = round(float(value), 5)
            row[key + DISAGREEMENT] = None if np.isnan(disagreement) else round(float(disagreement), 5)


def as_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with the ensemble in place of the labeller's S-, N- and G-MOS. Raises CorpusError without one."""
    if rows and QUEST[0].key + ENSEMBLE not in rows[0]:
        raise CorpusError("the corpus has no ensemble labels: run `mtqnet corpus ensemble DIR`")
    return [{**row, **{target.key: row[target.key + ENSEMBLE] for target in QUEST}} for row in rows]
