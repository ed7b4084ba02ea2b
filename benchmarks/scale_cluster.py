"""A real cluster on this machine: exact rows in spite of a lost node, two workers against one, the overhead."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import clips
import local_cluster
import poison

KILL_AT = 0.4
"""Share of the shards that are done when a node is killed"""
NODES = 3


@dataclass(frozen=True)
class Figure:
    """One that the page shows."""

    measure: str
    value: float
    unit: str


def demonstration(work: Path, count: int, model: str) -> Iterator[Figure]:
    """`count` recordings in a bucket, one of which kills its reader; a node is killed midway.

    Raises AssertionError where a row is not that of the plain command.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [poison.folder(), _home(), os.environ.get("PYTHONPATH")])
    )
    files = [*clips.many(work, count - 1), work / "killer.wav"]
    files[-1].write_bytes(poison.POISON["crash"])
    expected = _plain(work, files, model)
    began = time.monotonic()
    with local_cluster.bucket() as options, local_cluster.cluster(NODES) as (cluster, nodes):
        local_cluster.upload(options, files, "calls")
        began = time.monotonic()
        outcomes = _with_a_loss(options, cluster, nodes, model)
        took_s = time.monotonic() - began
        rows = _rows(options)
    names = [row["file"].rpartition("/")[2] for row in rows]
    assert sorted(names) == sorted(file.name for file in files), "each file has exactly one row"
    differ = [n for n, row in zip(names, rows, strict=True) if n != files[-1].name and not _same(row, expected[n])]
    assert not differ, f"{len(differ)} rows are not those of the plain command, such as that of {differ[0]}"
    killer = rows[names.index(files[-1].name)]
    assert "SIGSEGV" in killer["error"], "the killer is told as such"
    yield Figure("recordings in the bucket", count, "files")
    yield Figure("rows", len(rows), "rows")
    yield Figure("rows that are not those of the plain command, the killer's aside", len(differ), "rows")
    yield Figure("shards that were begun again", sum(one.attempts > 1 for one in outcomes), "shards")
    yield Figure("time, with the loss of one of three nodes", took_s, "s")


def _with_a_loss(options: str, cluster: Any, nodes: list[Any], model: str) -> list[Any]:
    import mtqnet.ray
    from mtqnet.distributed.worker import SHOWN

    done: list[Any] = []
    lost: list[Any] = []

    def told(one: Any, shards: int) -> None:
        done.append(one)
        if not lost and len(done) >= KILL_AT * shards:
            lost.append(next(node for node in nodes if one.node.endswith(node.node_id[:SHOWN])))
            cluster.remove_node(lost[0], allow_graceful=False)

    source, out = f"s3://bucket/calls?{options}", f"s3://bucket/scores?{options}"
    size = 64 if len(clips_in(options)) > 1000 else 4
    mtqnet.ray.score_sources([source], out, mtqnet.ray.ScaleOptions(model, shard_size=size), told)
    assert lost, "a node was killed"
    return done


def clips_in(options: str) -> list[Any]:
    from pyarrow import fs

    found: list[Any] = local_cluster.store(options).get_file_info(fs.FileSelector("bucket/calls"))
    return found


def speed(work: Path, count: int, model: str) -> Iterator[Figure]:
    """One worker, two workers, and the plain command with two processes, on the same files on disk.

    The clusters are there before the clock runs, workers and their models are not.
    """
    files = clips.many(work, count)
    took: dict[int, float] = {}
    outcomes: list[Any] = []
    for workers in (1, 2):
        import mtqnet.ray

        with local_cluster.cluster(workers):
            size = max(4, min(64, count // 16))
            how = mtqnet.ray.ScaleOptions(model, workers=workers, shard_size=size)
            out = work / f"ray_{workers}_{os.getpid()}"
            began = time.monotonic()
            outcomes = list(mtqnet.ray.score_sources([str(files[0].parent)], str(out), how).outcomes)
            took[workers] = time.monotonic() - began
    began = time.monotonic()
    _plain(work, files, model)
    plain_s = time.monotonic() - began
    inside = sum(one.took_s for one in outcomes)
    yield Figure("recordings on disk", count, "files")
    yield Figure("one worker", took[1], "s")
    yield Figure("two workers", took[2], "s")
    yield Figure("two workers against one", took[1] / took[2], "times")
    yield Figure("plain command, two processes", plain_s, "s")
    yield Figure("two workers, beyond the plain command", 100 * (took[2] / plain_s - 1), "%")
    yield Figure("of a worker's time spent scoring", 100 * sum(one.score_s for one in outcomes) / inside, "%")
    yield Figure("start of the workers", took[2] - inside / 2, "s")
    beside = (inside - sum(one.score_s for one in outcomes)) / len(outcomes)
    yield Figure("a shard, beside scoring", max(beside, 0.0), "s")


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
