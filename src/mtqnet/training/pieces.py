"""Work on the clips of a corpus in pieces, each kept in a file of its own: a broken run goes on where it was."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.table import fingerprint

CHUNK = 100
"""Clips a piece"""

Piece = tuple[Path, Sequence[Excerpt]]
"""Where the work on some clips is kept, and the clips"""
Progress = Callable[[int, int], None]
"""Called with clips done and clips in all"""


def fill(
    clips: Sequence[Excerpt],
    store: Path,
    name: str,
    work: Callable[[Piece], None],
    jobs: int,
    progress: Progress,
) -> list[Path]:
    """The files of all pieces, in order; `work` writes those that `store` lacks, in `jobs` processes, 0 for one a
    core. `name` is that of a file, with {} for what tells its clips from others."""
    store.mkdir(parents=True, exist_ok=True)
    parts = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    pieces = [(store / name.format(fingerprint(part)), part) for part in parts]
    missing = [piece for piece in pieces if not piece[0].exists()]
    done = len(clips) - sum(len(part) for _, part in missing)
    progress(done, len(clips))
    if missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs or os.cpu_count() or 1, context) as workers:
            for (_, part), _ in zip(missing, workers.map(work, missing), strict=True):
                done += len(part)
                progress(done, len(clips))
    return [file for file, _ in pieces]


def unfinished(file: Path) -> Path:
    """Where a file is written before it gets its name; other processes may be writing the same one."""
    return file.with_suffix(f".{os.getpid()}.tmp{file.suffix}")
