"""Clips, labels, one table: on all cores, resumed where it stopped.

DIR/corpus.json          what was asked for and found; a resumed build must ask and find the same, clips aside
DIR/audio/SPLIT/N.flac   the degraded clip, 24 bit
DIR/parts/SPLIT-K.jsonl  rows of one chunk, written when the chunk is whole
DIR/labels.csv           all rows, in order: file, split, speaker, seconds, labels, reasons, recipe
"""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import soundfile as sf

from mtqnet.corpus import recipe as recipes
from mtqnet.corpus.pool import Pool, Sources, pools
from mtqnet.corpus.sources import SPLITS, Split
from mtqnet.errors import CorpusError
from mtqnet.labels.intrusive import LabelError, objective
from mtqnet.labels.three_signal import curves, label
from mtqnet.signal.audio import SAMPLE_RATE

CHUNK = 50
"""Clips between two savings: half a minute of work."""
MAX_ATTEMPTS = 20
"""Redraws of a clip that has no label (a stretch without speech) before the build gives up."""

TABLE = "labels.csv"
COLUMNS = (
    "file", "split", "speaker", "seconds", "s_mos", "n_mos", "g_mos", "pesq", "stoi", "sdi",
    "equivalent_q_db", "equivalent_snr_db", "recipe",
)  # fmt: skip
DECIMALS = 5

Row = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with clips done and clips in all."""


@dataclass(frozen=True)
class Order:
    """What to build."""

    sources: Sources
    clips: dict[Split, int]
    seed: int
    split_seed: int = 0
    """Seed of the split by speaker and noise file, apart from `seed`: other clips, same split."""


def build(order: Order, out: Path, *, jobs: int = 0, progress: Progress | None = None) -> Path:
    """Build what is missing of a corpus and return its table.

    `jobs` processes (0: one a core). CorpusError if `out` holds another corpus, or a pool is too small.
    """
    made = pools(order.sources, order.split_seed, [split for split, clips in order.clips.items() if clips])
    _claim(order, made, out)
    chunks = [
        (split, first, min(first + CHUNK, count))
        for split, count in order.clips.items()
        for first in range(0, count, CHUNK)
    ]
    total = sum(order.clips.values())
    missing = [chunk for chunk in chunks if not _part(out, *chunk).exists()]
    done = total - sum(stop - first for _, first, stop in missing)
    if progress:
        progress(done, total)
    with _workers(jobs) as workers:
        tasks = {
            workers.submit(_build_chunk, made[split], order.seed, split, first, stop, out): stop - first
            for split, first, stop in missing
        }
        for task in as_completed(tasks):
            task.result()
            done += tasks[task]
            if progress:
                progress(done, total)
    return _merge(chunks, out)


def make_clip(pool: Pool, split: Split, clip: int, seed: int, audio_file: Path) -> Row:
    """Draw, render, label and store one clip; its row of the table, `file` not yet set."""
    for attempt in range(MAX_ATTEMPTS):
        drawn = recipes.draw(pool, split, clip, seed, attempt)
        try:
            tracks = recipes.render(drawn)
            measures = objective(tracks.clean, tracks.mixture)
            quest = label(tracks.clean, tracks.speech, tracks.noise)
        except (LabelError, CorpusError):
            continue  # a stretch of silence, or speech that a gap swallowed: draw again
        sf.write(audio_file, tracks.mixture, SAMPLE_RATE, subtype="PCM_24")
        numbers = {k: round(v, DECIMALS) for k, v in {**asdict(quest), **asdict(measures)}.items()}
        return {
            "split": split,
            "speaker": drawn.speaker,
            "seconds": round(drawn.samples / SAMPLE_RATE, 3),
            **numbers,
            "recipe": drawn.to_json(),
        }
    raise CorpusError(f"no label for {split} clip {clip} in {MAX_ATTEMPTS} draws: is the speech silent?")


def read_table(table: Path) -> list[dict[str, str]]:
    """Rows of labels.csv (or of any label table with these columns), as text."""
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _build_chunk(pool: Pool, seed: int, split: Split, first: int, stop: int, out: Path) -> None:
    folder = out / "audio" / split
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for clip in range(first, stop):
        file = folder / f"{clip:06d}.flac"
        row = make_clip(pool, split, clip, seed, file)
        lines.append(json.dumps({"file": file.relative_to(out).as_posix(), **row}))
    _write_whole(_part(out, split, first, stop), "\n".join(lines) + "\n")


def _merge(chunks: list[tuple[Split, int, int]], out: Path) -> Path:
    table = out / TABLE
    partial = table.with_suffix(".tmp")
    with partial.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for chunk in chunks:
            writer.writerows(json.loads(line) for line in _part(out, *chunk).read_text().splitlines())
    partial.replace(table)
    return table


def _part(out: Path, split: Split, first: int, stop: int) -> Path:
    return out / "parts" / f"{split}-{first:06d}-{stop:06d}.jsonl"


def _claim(order: Order, made: dict[Split, Pool], out: Path) -> None:
    """Write down what is built here, or refuse if it is something else."""
    (out / "parts").mkdir(parents=True, exist_ok=True)
    wanted = {name: value for name, value in asdict(order).items() if name != "clips"}  # a corpus may grow
    wanted["labeller"] = asdict(curves())
    found = json.dumps({split: asdict(pool) for split, pool in made.items()}, sort_keys=True)
    wanted["recordings"] = hashlib.sha256(found.encode()).hexdigest()
    wanted["scenes"], wanted["chances"] = dict(recipes.SCENES), {k: dict(v) for k, v in recipes.CHANCES.items()}
    asked = json.dumps(wanted, default=str, indent=1, sort_keys=True) + "\n"
    record = out / "corpus.json"
    if record.exists() and record.read_text() != asked:
        raise CorpusError(f"{out} holds a corpus built with other options: name another folder or remove it")
    _write_whole(record, asked)


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text)
    partial.replace(path)


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one math thread each: two threads in each of two processes would wait for one another."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs or os.cpu_count() or 1, mp_context=context) as workers:
            yield workers
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


__all__ = ["COLUMNS", "SPLITS", "TABLE", "Order", "build", "make_clip", "read_table"]
