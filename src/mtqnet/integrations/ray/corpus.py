"""`mtqnet corpus build --engine ray`: the chunks of a corpus are built by a cluster, identical to the local build.

A chunk depends on its number and the seed alone, so the place of the build does not matter. A worker builds it in a
folder of its own and sends the files back; this process puts them in place, the row file last, as the local build
does. So a lost worker or node costs its chunk's time; the output folder need not be shared. Speech, noise and
rooms have to be at the same paths on every node.

Some names are private names of corpus/build.py.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtqnet.corpus import build
from mtqnet.corpus.build import Built, Chunk, Order, Progress
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.sources import Split
from mtqnet.integrations.ray.engine import cluster_errors, connected, need_ray, processors
from mtqnet.scoring.workers import ONE_MATH_THREAD

AHEAD = 2
"""Chunks in progress per processor, unless --jobs sets the number: 10 MB each wait to be written"""

Files = dict[str, bytes]
"""By the path in the corpus"""


def build_corpus(
    order: Order, out: Path, *, address: str | None = None, jobs: int = 0, progress: Progress = lambda *_: None
) -> Built:
    """As corpus.build.build, on the Ray cluster at this address; on `jobs` processors of it, 0: on all.

    Raises CorpusError, and MissingExtraError if a tool is not installed here.
    """
    need_ray()
    order, made = build.prepared(order)
    build._claim(order, made, out)
    build._sweep(out)
    missing = [chunk for chunk in _chunks(order) if not chunk.part(out).exists()]
    total = sum(order.clips.values())
    done = total - sum(chunk.stop - chunk.first for chunk in missing)
    progress(done, total)
    if missing:
        with connected(address) as ray, cluster_errors(ray):
            for chunk, files in _built(ray, made, order.seed, missing, jobs or AHEAD * processors(ray)):
                _put(out, chunk, files)
                done += chunk.stop - chunk.first
                progress(done, total)
    # All chunks exist now; the local build only writes the table.
    return build.build(order, out, jobs=1)


def _chunks(order: Order) -> list[Chunk]:
    return [
        Chunk(split, first, min(first + build.CHUNK, count))
        for split, count in order.clips.items()
        for first in range(0, count, build.CHUNK)
    ]


def _built(
    ray: Any, made: dict[Split, Pool], seed: int, chunks: Sequence[Chunk], ahead: int
) -> Iterator[tuple[Chunk, Files]]:
    """The files of each chunk, as they come; `ahead` chunks are under way at a time."""
    # a worker that dies takes its chunk alone; the chunk is built again on another worker
    remote = ray.remote(num_cpus=1, max_retries=-1, runtime_env={"env_vars": ONE_MATH_THREAD})(_made)
    stored = {split: ray.put(pool) for split, pool in made.items()}
    waiting = list(reversed(chunks))
    tasks: dict[Any, Chunk] = {}
    while waiting or tasks:
        while waiting and len(tasks) < ahead:
            chunk = waiting.pop()
            tasks[remote.remote(stored[chunk.split], seed, chunk, str(Path.cwd()))] = chunk
        (ready, *_), _ = ray.wait(list(tasks), num_returns=1)
        yield tasks.pop(ready), ray.get(ready)


def _made(pool: Pool, seed: int, chunk: Chunk, folder: str) -> Files:
    """What a worker does. `folder` is what the recordings' paths are relative to."""
    if Path(folder).is_dir():
        os.chdir(folder)
    with tempfile.TemporaryDirectory(prefix="mtqnet-corpus-") as place:
        out = Path(place)
        (out / "parts").mkdir()
        build._build_chunk(pool, seed, chunk, out)
        return {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def _put(out: Path, chunk: Chunk, files: Files) -> None:
    """Write a chunk's files, each whole or not at all; the row file, which marks the chunk as complete, is written
    last."""
    last = chunk.part(out).relative_to(out).as_posix()
    for name in sorted(files, key=lambda name: name == last):
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = build._beside(target)
        try:
            unfinished.write_bytes(files[name])
            unfinished.replace(target)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
