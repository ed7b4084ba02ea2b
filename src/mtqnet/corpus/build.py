"""Clips, labels, one table: on all cores, resumed where it stopped.

DIR/corpus.json                 what was asked for and found; a resumed build must ask the same, clips aside
DIR/recordings.csv              the recordings that the clips of each split may use
DIR/audio/SPLIT/FROM-TO.flac    a shard: the clips of one chunk one after the other, 16 kHz, 24 bit
DIR/parts/SPLIT-FROM-TO.jsonl   rows of that chunk, written when its shard is whole
DIR/labels.parquet              all rows, in order (table.py)
"""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile as sf

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import degradations
from mtqnet.corpus import recipe as recipes
from mtqnet.corpus.degradations.step import Samples
from mtqnet.corpus.recipe import provenance
from mtqnet.corpus.sources import SHARES, Pool, Sources, Split, pools, resolve
from mtqnet.corpus.table import RECORDINGS, TABLE, write_rows
from mtqnet.errors import CorpusError, LabelError, UsageError
from mtqnet.labels.intrusive import objective
from mtqnet.labels.speech import curves
from mtqnet.labels.three_signal import label
from mtqnet.scoring.workers import exit_with_parent

CHUNK = 50
"""Clips a shard, and between two savings: about half a minute of work and 9 MB."""
MAX_ATTEMPTS = 20
"""Redraws of a clip that has no label (a stretch without speech) before the build gives up."""
MISSING = "missing"
"""In Order.without: all kinds of processing whose tools are not installed"""
LABELS = ("s_mos", "n_mos", "g_mos", "pesq", "stoi", "sdi", "equivalent_q_db", "equivalent_snr_db")
DECIMALS = 5
"""Of labels in the table"""

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
    without: tuple[str, ...] = ()
    """Kinds of processing that are left out, because their tools are not installed; MISSING stands for all such"""
    clips_per_sentence: int | None = None
    clips_per_noise: int | None = None
    """Most clips of one recording in one split. None: 20 if the recordings of a split suffice, otherwise no limit"""


@dataclass(frozen=True)
class Chunk:
    """Clips that are built and stored together."""

    split: Split
    first: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.first:06d}-{self.stop - 1:06d}"

    @property
    def shard(self) -> str:
        """Relative to the corpus"""
        return f"audio/{self.split}/{self.name}.flac"

    def part(self, out: Path) -> Path:
        return out / "parts" / f"{self.split}-{self.name}.jsonl"


def build(order: Order, out: Path, *, jobs: int = 0, progress: Progress = lambda _done, _total: None) -> Path:
    """Build what is missing of a corpus and return the path of its table.

    `jobs` processes (0: one a core). Raises CorpusError if `out` holds another corpus or a pool is too small, and
    MissingExtraError if a tool that a clip may go through is not installed.
    """
    order, made = prepared(order)
    _claim(order, made, out)
    _sweep(out)
    chunks = [
        Chunk(split, first, min(first + CHUNK, count))
        for split, count in order.clips.items()
        for first in range(0, count, CHUNK)
    ]
    total = sum(order.clips.values())
    missing = [chunk for chunk in chunks if not chunk.part(out).exists()]
    done = total - sum(chunk.stop - chunk.first for chunk in missing)
    progress(done, total)
    with _workers(jobs) as workers:
        tasks = {workers.submit(_build_chunk, made[c.split], order.seed, c, out): c for c in missing}
        try:
            for task in as_completed(tasks):
                task.result()
                done += tasks[task].stop - tasks[task].first
                progress(done, total)
        except BaseException:  # the others in the queue would be waited for
            workers.shutdown(wait=True, cancel_futures=True)
            raise
    rows = [json.loads(line) for chunk in chunks for line in chunk.part(out).read_text().splitlines()]
    write_rows(rows, out / TABLE)
    _drop_outgrown(chunks, out)
    return out / TABLE


def prepared(order: Order) -> tuple[Order, dict[Split, Pool]]:
    """Return the order and the pool of each split, after a check that all tools for its clips are installed.

    In the order that is returned the kinds to leave out are listed by their names.

    Raises MissingExtraError if a tool is missing, UsageError for an unknown kind in `without` or if a split would
    have no held-out tool left, CorpusError if a pool is too small.
    """
    splits = [split for split, clips in order.clips.items() if clips]
    if MISSING in order.without:
        lacking = {kind for kind in degradations.STEPS if degradations.missing(kind)}
        order = replace(order, without=tuple(sorted({*order.without, *lacking} - {MISSING})))
    if unknown := set(order.without) - set(degradations.STEPS):
        raise UsageError(f"there is no kind of processing {', '.join(sorted(unknown))}: see `mtqnet corpus kinds`")
    for split in splits:
        held_out = recipes.HELD_OUT.get(split)
        if held_out and held_out <= set(order.without):
            raise UsageError(
                f"the split {split} needs one of {', '.join(sorted(held_out))}: install it, or build no such clips"
            )
    made = pools(order.sources, order.split_seed, splits)
    degradations.require(recipes.names(*splits) - set(order.without))
    made = {split: replace(pool, without=order.without) for split, pool in made.items()}
    return order, made | {
        split: _limited(made[split], split, order.clips[split], order) for split in splits if split in made
    }


def _limited(pool: Pool, split: Split, clips: int, order: Order) -> Pool:
    """Set the limits of clips per recording. Raises CorpusError if the recordings are too few for them."""
    what = f"recordings of the {split} split"
    sentences = resolve(order.clips_per_sentence, clips, len(pool.speech), f"speech {what}")
    if sentences is None and order.clips_per_noise is not None:
        sentences = -(-clips // len(pool.speech))
    if sentences is None:
        return pool
    pool = replace(pool, clips_per_sentence=sentences)
    mixed = sum(recipes.noise_files(pool, split, clip, order.seed) for clip in range(clips))
    return replace(pool, clips_per_noise=resolve(order.clips_per_noise, mixed, len(pool.noise), f"noise {what}"))


def make_clip(pool: Pool, split: Split, clip: int, seed: int) -> tuple[Row, Samples]:
    """Draw, render and label one clip: its row of the table without its place in a shard, and its samples.

    Raises CorpusError where no draw has a label.
    """
    reason = ""
    for attempt in range(MAX_ATTEMPTS):
        drawn = recipes.draw(pool, split, clip, seed, attempt)
        try:
            tracks = recipes.render(drawn)
            mixture = tracks.mixture
            labels = vars(objective(tracks.clean, mixture)) | vars(
                label(tracks.clean, tracks.speech, tracks.noise)
            )
        except LabelError as error:  # a stretch of silence, or speech that a gap swallowed: draw again
            reason = str(error)
            continue
        row = {
            "id": f"{split}/{clip:06d}",
            "samples": len(mixture),  # a recording may end a little before its index says
            "seconds": round(len(mixture) / SAMPLE_RATE, 3),
            "split": split,
            "speaker": drawn.speaker,
            "scene": drawn.scene,
            "steps": recipes.kinds(drawn.steps),
            **{name: round(labels[name], DECIMALS) for name in LABELS},
            "recipe": drawn.to_json(),
        }
        return row, mixture
    raise CorpusError(
        f"no label for {split} clip {clip} in {MAX_ATTEMPTS} draws ({reason}): is the speech silent?"
    )


def _build_chunk(pool: Pool, seed: int, chunk: Chunk, out: Path) -> None:
    shard = out / chunk.shard
    shard.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(shard)
    lines, start = [], 0
    with sf.SoundFile(partial, "w", SAMPLE_RATE, 1, "PCM_24", format="FLAC") as stream:
        for clip in range(chunk.first, chunk.stop):
            row, samples = make_clip(pool, chunk.split, clip, seed)
            stream.write(samples)
            lines.append(json.dumps({"shard": chunk.shard, "start": start, **row}))
            start += len(samples)
    partial.replace(shard)
    _write_whole(chunk.part(out), "\n".join(lines) + "\n")


def _drop_outgrown(chunks: list[Chunk], out: Path) -> None:
    """Remove the last shard of a smaller corpus, whose clips are in a longer one now."""
    for chunk in chunks:
        for shard in (out / chunk.shard).parent.glob(f"{chunk.first:06d}-*.flac"):
            if shard.stem < chunk.name:
                (out / "parts" / f"{chunk.split}-{shard.stem}.jsonl").unlink(missing_ok=True)
                shard.unlink()


def _claim(order: Order, made: dict[Split, Pool], out: Path) -> None:
    """Write down what is built here, or refuse if it is something else."""
    record = out / "corpus.json"
    if out.exists() and not record.exists() and any(out.iterdir()):
        raise CorpusError(f"{out} holds something that is no corpus: name another folder, or an empty one")
    (out / "parts").mkdir(parents=True, exist_ok=True)
    wanted = {name: value for name, value in asdict(order).items() if name != "clips"}  # a corpus may grow
    wanted["labeller"] = asdict(curves())
    wanted["limits"] = {split: [pool.clips_per_sentence, pool.clips_per_noise] for split, pool in made.items()}
    bare = {split: replace(pool, clips_per_sentence=None, clips_per_noise=None) for split, pool in made.items()}
    found = json.dumps({split: asdict(pool) for split, pool in bare.items()}, sort_keys=True)
    wanted["recordings"] = hashlib.sha256(found.encode()).hexdigest()
    wanted["scenes"] = recipes.scenes_record()
    wanted["provenance"] = provenance()
    asked = json.dumps(wanted, default=str, indent=1, sort_keys=True) + "\n"
    if record.exists() and record.read_text() != asked:
        before, now = json.loads(record.read_text()), json.loads(asked)
        differ = ", ".join(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))
        raise CorpusError(
            f"{out} holds a corpus built with other options ({differ} in corpus.json): "
            "name another folder or remove it"
        )
    _write_whole(record, asked)
    write_recordings(made, out)


def write_recordings(pools: Mapping[Split, Pool], out: Path) -> None:
    """Write the recordings of all splits; `unseen` and `unseen2` have those of `test`."""
    partial = _beside(out / RECORDINGS)
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("kind", "split", "file", "group", "language", "speakers", "seconds"))
        for split in SHARES:
            pool = pools[split]
            for kind, items in (("speech", pool.speech), ("noise", pool.noise), ("room", pool.rooms)):
                for item in items:
                    seconds = round(item.seconds, 3)
                    writer.writerow((kind, split, item.path, item.group, item.language, item.speakers, seconds))
    partial.replace(out / RECORDINGS)


def _write_whole(path: Path, text: str) -> None:
    partial = _beside(path)
    partial.write_text(text)
    partial.replace(path)


def _beside(path: Path) -> Path:
    """Where a file is written until it is whole: a place of this process alone, as a killed build may leave
    workers behind that still write."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def _sweep(out: Path) -> None:
    """Remove what a killed build left half written; nothing but what is named as `_beside` names it."""
    for folder in ("parts", "audio/*"):
        for left in out.glob(f"{folder}/*.[0-9]*.tmp"):
            left.unlink(missing_ok=True)


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one math thread each: two threads in each of two processes would wait for one another."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        context = multiprocessing.get_context("spawn")
        count = jobs or os.cpu_count() or 1
        with ProcessPoolExecutor(count, mp_context=context, initializer=exit_with_parent) as workers:
            yield workers
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
