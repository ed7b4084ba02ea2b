"""DNSMOS P.835, DNSMOS P.808 and Distill-MOS as they come, on the same test clips.

They want packages that this project never installs (librosa), so they run in an environment of their own, made by
`make peers`; peer_worker.py is what runs there.
"""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.experiments.study import Kind
from mtqnet.signal.audio import Excerpt

WORKER = Path(__file__).with_name("peer_worker.py")
CHUNK = 200
"""Clips that one process scores before its result is kept"""
WHAT: dict[Kind, dict[str, str]] = {
    "dnsmos": {"s_mos": "dnsmos_sig", "n_mos": "dnsmos_bak", "g_mos": "dnsmos_ovrl"},
    "dnsmos_p808": {"g_mos": "dnsmos_p808"},
    "distillmos": {"g_mos": "distillmos"},
}
"""Target -> the peer's score that stands for it"""

Progress = Callable[[int, int], None]
Scores = dict[str, NDArray[np.float64]]


def score(python: Path, clips: Sequence[Excerpt], store: Path, name: str, jobs: int, progress: Progress) -> Scores:
    """All peer columns of these clips, (clips,) each; what `store` has is not scored again. Raises UsageError."""
    store.mkdir(parents=True, exist_ok=True)
    chunks = {store / f"{name}-{s:05d}.csv": clips[s : s + CHUNK] for s in range(0, len(clips), CHUNK)}
    missing = {path: chunk for path, chunk in chunks.items() if not path.exists()}
    if missing and not python.exists():
        raise UsageError(
            f"no {python}: run `make peers`, or give --peers the Python that has speechmos, distillmos"
        )
    done = len(clips) - sum(map(len, missing.values()))
    progress(done, len(clips))
    workers = jobs or os.cpu_count() or 1
    cores: SimpleQueue[int] = SimpleQueue()
    for number in range(workers):
        cores.put(number)
    with ThreadPoolExecutor(workers) as threads:
        tasks = {threads.submit(_one, python, chunk, path, cores): len(chunk) for path, chunk in missing.items()}
        for task in as_completed(tasks):
            task.result()
            done += tasks[task]
            progress(done, len(clips))
    rows = [row for path in chunks for row in _rows(path)]
    return {column: np.array([float(row[column]) for row in rows]) for column in rows[0]}


def of_kind(kind: Kind, scores: Scores) -> Scores:
    """The columns of one peer, by target."""
    return {target: scores[column] for target, column in WHAT[kind].items()}


def _one(python: Path, clips: Sequence[Excerpt], target: Path, cores: SimpleQueue[int]) -> None:
    listing, partial = target.with_suffix(".list"), target.with_suffix(".tmp")
    with listing.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "start", "samples"))
        writer.writerows((clip.path.resolve(), clip.start, clip.samples or "") for clip in clips)
    core = cores.get()
    try:
        command = [str(word) for word in (python, WORKER, listing, partial, core)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        cores.put(core)
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"the peers could not be run by {python}: {last}. `make peers` installs them")
    partial.replace(target)
    listing.unlink()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
