"""A real cluster on this machine: exact rows in spite of a lost node, two workers against one, the overhead."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import clips
import local_cluster
import poison
from figures import Figure
from mtqnet.integrations.ray import SHARD_SIZE

KILL_AT = 0.4
"""Share of the shards that are done when a node is killed"""
NODES = 3
SHORT_S = (1.0, 3.0)
"""Lengths of recordings in parts without timings"""
CRASH_FILE = "crash.wav"
"""File that crashes the process that reads it"""
KILL_AFTER_S = 1.0
"""Seconds from the end of a shard until its node is killed: about the middle of its next shard"""
HANDED_OUT = (100, 1100)
"""Shards without recordings to score"""
GAIN, LEAST_GAIN = "two workers against one", 1.7
OVERHEAD, MOST_OVERHEAD = "two workers, beyond the plain command", 15.0
"""In per cent"""


def demonstration(work: Path, count: int, model: str) -> Iterator[Figure]:
    """`count` short recordings in a bucket; one crashes its reader; a node is killed midway.

    Raises AssertionError where a row is not that of the plain command.
    """
    files = [*clips.many(work, count - 1, SHORT_S), work / CRASH_FILE]
    files[-1].write_bytes(poison.CRASH)
    expected = _plain(work, files, model)
    with poison.obeyed(), local_cluster.bucket() as options, local_cluster.cluster(NODES) as (cluster, nodes):
        local_cluster.upload(options, files, "calls")
        began = time.monotonic()
        outcomes = _with_a_loss(options, cluster, nodes, model, count)
        took_s = time.monotonic() - began
        rows = {row["file"].rpartition("/")[2]: row for row in _rows(options)}
        doubles = len(_rows(options)) - len(rows)
    assert not doubles and sorted(rows) == sorted(file.name for file in files), "each file has exactly one row"
    assert "SIGSEGV" in rows.pop(CRASH_FILE)["error"], "a file that ends its process has this reason"
    differ = [name for name, row in rows.items() if not _same(row, expected[name])]
    assert not differ, f"{len(differ)} rows are not those of the plain command, such as that of {differ[0]}"
    yield Figure("recordings in the bucket, of which one kills what reads it", count, "files")
    yield Figure("rows", len(rows) + 1, "rows")
    yield Figure("recordings with two rows or no row", doubles, "files")
    yield Figure("rows that are not those of the plain command, that of the one aside", len(differ), "rows")
    yield Figure("shards", len(outcomes), "shards")
    yield Figure("time, with the loss of one of three nodes", took_s, "s")


def _with_a_loss(options: str, cluster: Any, nodes: list[Any], model: str, count: int) -> list[Any]:
    from mtqnet.integrations import ray as engine
    from mtqnet.integrations.ray.shards import NODE_DIGITS

    done: list[Any] = []
    lost: list[Any] = []

    def told(one: Any, shards: int) -> None:
        done.append(one)
        if not lost and len(done) >= KILL_AT * shards:
            lost.append(next(node for node in nodes if one.node.endswith(node.node_id[:NODE_DIGITS])))
            time.sleep(KILL_AFTER_S)
            local_cluster.kill(cluster, lost[0])

    source, out = f"s3://bucket/calls?{options}", f"s3://bucket/scores?{options}"
    engine.score_sources([source], out, model, shard_size=_shard_size(count), advance=told)
    assert lost, "a node was killed"
    return done


def _shard_size(count: int) -> int:
    """That of the command, or less where it would leave a worker few shards."""
    return max(4, min(SHARD_SIZE, count // 32))


def speed(work: Path, count: int, model: str) -> Iterator[Figure]:
    """One worker, two workers, and the plain command with two processes, on the same files on disk.

    The clusters are there before the clock runs, workers and their models are not.
    """
    files = clips.many(work, count)
    one_s, _ = _of_workers(1, work, files, model)
    two_s, outcomes = _of_workers(2, work, files, model)
    began = time.monotonic()
    _plain(work, files, model)
    plain_s = time.monotonic() - began
    inside, scoring = (sum(getattr(one, name) for one in outcomes) for name in ("took_s", "score_s"))
    yield Figure("recordings on disk", count, "files")
    yield Figure("one worker", one_s, "s")
    yield Figure("two workers", two_s, "s")
    yield Figure(GAIN, one_s / two_s, "times")
    yield Figure("plain command, two processes", plain_s, "s")
    yield Figure(OVERHEAD, 100 * (two_s / plain_s - 1), "%")
    yield Figure("of a worker's time spent scoring", 100 * scoring / inside, "%")
    yield Figure("start of the workers", two_s - inside / 2, "s")
    yield Figure("a shard, without scoring", max((inside - scoring) / len(outcomes), 0.0), "s")
    yield Figure("a shard, of the driver", _hand_out_s(work, files, model), "s")
    yield Figure("a file that kills its reader", _killer_s(work, model), "s")


def missed(figures: Sequence[Figure]) -> list[str]:
    """What was promised and is not so."""
    of = {figure.measure: figure.value for figure in figures}
    return [
        *([f"{GAIN}: {of[GAIN]:.2f}, not {LEAST_GAIN}"] if of.get(GAIN, LEAST_GAIN) < LEAST_GAIN else []),
        *(
            [f"{OVERHEAD}: {of[OVERHEAD]:.1f} %, not {MOST_OVERHEAD}"]
            if of.get(OVERHEAD, 0) > MOST_OVERHEAD
            else []
        ),
    ]


def _of_workers(workers: int, work: Path, files: list[Path], model: str) -> tuple[float, list[Any]]:
    """Seconds that so many take, and the outcomes of the shards."""
    from mtqnet.integrations import ray as engine

    size = _shard_size(len(files))
    with local_cluster.cluster(workers), tempfile.TemporaryDirectory(dir=work) as out:
        began = time.monotonic()
        result = engine.score_sources([str(files[0].parent)], out, model, workers=workers, shard_size=size)
        return time.monotonic() - began, list(result.outcomes)


def _hand_out_s(work: Path, files: list[Path], model: str) -> float:
    """Of a shard's way through the driver and Ray Data: shards that are done already, many against few."""
    from mtqnet.integrations import ray as engine
    from mtqnet.integrations.ray import shards
    from mtqnet.integrations.ray.sources import Folder

    with local_cluster.cluster(2), tempfile.TemporaryDirectory(dir=work) as out:
        engine.score_sources([str(file) for file in files[:2]], out, model, shard_size=1)
        plan = shards.Plan(Folder.of(out), {"windows": False}, 2)
        took = []
        for count in HANDED_OUT:
            began = time.monotonic()
            arguments = (plan, shards.ModelFiles.of(model), frozenset[int]())
            rows = list(engine.score_shards(arguments, [0, 1] * (count // 2), 2))
            took.append(time.monotonic() - began)
            assert all(row["outcome"] for row in rows)
    return (took[1] - took[0]) / (HANDED_OUT[1] - HANDED_OUT[0])


def _killer_s(work: Path, model: str) -> float:
    """What a file that kills its reader costs: two starts of a process that scores."""
    from mtqnet.integrations.ray.shards import FileScorer, ModelFiles
    from mtqnet.integrations.ray.sources import Item

    killer = work / CRASH_FILE
    killer.write_bytes(poison.CRASH)
    good, bad = (Item(str(file), file) for file in (clips.many(work, 1)[0], killer))
    with poison.obeyed():
        scorer = FileScorer(ModelFiles.of(model))
        took = []
        for items in ([good], [good], [bad, good]):  # the first one starts the process
            began = time.monotonic()
            for item in items:
                scorer.score(item)
            took.append(time.monotonic() - began)
    return took[2] - took[1]


def _plain(work: Path, files: list[Path], model: str) -> dict[str, dict[str, str]]:
    """The rows of the plain command, by name."""
    table = work / "plain.csv"
    command = ["-m", "mtqnet", "score", "--quiet", "--jobs", "2", "--model", model, "--output", str(table)]
    paths = os.pathsep.join(filter(None, [_home(), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, *command, *map(str, files)], env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    with table.open(newline="", encoding="utf-8") as stream:
        return {Path(row["file"]).name: row for row in csv.DictReader(stream)}


def _rows(options: str) -> list[dict[str, Any]]:
    from pyarrow import fs

    store = local_cluster.store(options)
    found = store.get_file_info(fs.FileSelector("bucket/scores"))
    tables = sorted(info.path for info in found if info.base_name.startswith("part-"))
    return [row for path in tables for row in pq.read_table(path, filesystem=store).to_pylist()]


def _same(row: dict[str, Any], plain: dict[str, str]) -> bool:
    """All cells but the name of the file."""
    told = {name: "" if value is None else str(value) for name, value in row.items()}
    return {**told, "file": ""} == {**plain, "file": ""}


def _home() -> str:
    return str(Path(__file__).resolve().parents[1] / "src")
