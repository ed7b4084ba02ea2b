"""Shards: recordings that are scored together on a cluster, and the actor of Ray Data that scores them.

OUT/_plan.parquet       the entries of all shards, and in its metadata what the run was asked for
OUT/part-000000.parquet the rows of a shard, and in its metadata the outcome of the shard
OUT/_manifest.json      the outcomes of all shards, written at the end

The plan is written once, so that a rerun uses the same shards. The table of a shard is written atomically under the
number of the shard: a shard that is scored twice has one table. An archive is a shard of its own.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mtqnet.errors import MtqnetError, UsageError, first_line
from mtqnet.integrations.ray.sources import Entry, Folder, Item, recordings
from mtqnet.scoring import models, tables
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import failed
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.workers import Setting, Workers

PLAN = "_plan.parquet"
ROW_GROUP = 4096
"""Entries of the plan that a worker reads to find those of its shard"""
METADATA_KEY = b"mtqnet"
NODE_DIGITS = 12
"""Digits of the id of a node in outcomes"""


@dataclass(frozen=True)
class Plan:
    """The shards of a run."""

    out: Folder
    request: dict[str, Any]
    """What the rows depend on: a rerun must have the same request"""
    shards: int

    def entries(self, shard: int) -> list[Entry]:
        """The entries of one shard."""
        import pyarrow.parquet as pq

        with self.out.open(PLAN) as stream:
            table = pq.read_table(stream, columns=["file", "address"], filters=[("shard", "==", shard)])
        return [Entry(**row) for row in table.to_pylist()]


def part(shard: int) -> str:
    """File name of the table of a shard."""
    return f"part-{shard:06d}.parquet"


def plan_for(out: Folder, request: dict[str, Any], found: Iterable[Entry]) -> Plan:
    """Return the plan that is stored in the folder, or store a new one from `found`.

    Args:
        out: Folder of the run.
        request: What the rows depend on, values of JSON. `shard_size` is the number of recordings per shard.
        found: The entries.

    Raises:
        UsageError: The folder contains a run with another request, or other files.
    """
    names = out.names()
    if PLAN not in names:
        if names:
            raise UsageError(f"{out.address.shown} contains other files: choose an empty folder")
        _write_plan(out, request, found)
    stored = _stored_plan(out)
    if stored.request != request:
        differ = ", ".join(name for name in request if stored.request.get(name) != request[name])
        raise UsageError(
            f"{out.address.shown} contains a run with another {differ}: choose another folder, or remove this one"
        )
    return stored


def _stored_plan(out: Folder) -> Plan:
    import pyarrow.parquet as pq

    with out.open(PLAN) as stream:
        file = pq.ParquetFile(stream)
        request = json.loads(file.schema_arrow.metadata[METADATA_KEY])
        groups = file.metadata.num_row_groups
        shards = file.metadata.row_group(groups - 1).column(0).statistics.max + 1 if groups else 0
    return Plan(out, request, shards)


def _write_plan(out: Folder, request: dict[str, Any], found: Iterable[Entry]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("shard", pa.int64()), ("file", pa.string()), ("address", pa.string())],
        {METADATA_KEY: json.dumps(request).encode()},
    )
    rows = _numbered(found, request["shard_size"])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    out.write(PLAN, sink.getvalue().to_pybytes())


def _numbered(found: Iterable[Entry], size: int) -> Iterator[dict[str, Any]]:
    """Yield the entries with the numbers of their shards; no shard mixes recordings and an archive."""
    shard, count = 0, 0
    for entry in found:
        if count and (entry.is_archive or count == size):
            shard, count = shard + 1, 0
        yield {"shard": shard, **asdict(entry)}
        count = size if entry.is_archive else count + 1


@dataclass(frozen=True)
class Outcome:
    """A shard that has a table."""

    shard: int
    recordings: int
    failed: int
    audio_s: float
    score_s: float
    """Seconds of reading and scoring"""
    took_s: float
    """Seconds from begin to end, without writing"""
    node: str
    """Name of the machine, and the first NODE_DIGITS digits of Ray's id of the node"""


def write_table(out: Folder, layout: tables.Layout, scored: Iterable[Scores], outcome: Outcome) -> None:
    """Write the table of a shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = tables.parquet_schema(layout).with_metadata({METADATA_KEY: json.dumps(asdict(outcome)).encode()})
    rows = [row for scores in scored for row in layout.rows(scores)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    out.write(part(outcome.shard), sink.getvalue().to_pybytes())


def read_outcome(out: Folder, shard: int) -> Outcome:
    """The outcome of a shard that has a table."""
    import pyarrow.parquet as pq

    with out.open(part(shard)) as stream:
        return Outcome(**json.loads(pq.read_schema(stream).metadata[METADATA_KEY]))


@dataclass(frozen=True)
class ModelFiles:
    """A model for other machines: the name of a shipped model, or the files of another one."""

    name: str
    graph: bytes = b""
    record: bytes = b""

    @classmethod
    def of(cls, model: str) -> ModelFiles:
        """Raises ModelError."""
        found = models.find(model)
        if found.path.parent == models.WEIGHTS:
            return cls(found.path.stem)
        return cls(found.path.name, found.weights(), found.path.with_suffix(".json").read_bytes())

    def here(self) -> str:
        """The name or path of the model on this machine."""
        if not self.graph:
            return self.name
        path = Path(mkdtemp(prefix="mtqnet-model-")) / self.name
        path.with_suffix(".json").write_bytes(self.record)
        path.write_bytes(self.graph)
        return str(path)


class FileScorer:
    """Scores files in a separate process, which is replaced if a file makes it crash."""

    def __init__(self, model: ModelFiles) -> None:
        self._model = model.here()
        self._workers = Workers(Setting(self._model))

    def score(self, item: Item) -> Scores:
        """Score a recording; the result has the name of the recording in tables."""
        if item.problem is not None:
            return failed(models.find(self._model), item.problem, item.file)
        (scores,) = self._workers.score(Job(item.path))
        return replace(scores, file=item.file)


class ShardScorer:
    """Actor of Ray Data: scores shards into tables.

    Args:
        plan: The shards.
        model: The model.
        again: Shards that are scored although they have a table.
    """

    def __init__(self, plan: Plan, model: ModelFiles, again: frozenset[int]) -> None:
        self._plan, self._model, self._again = plan, model, again

    def __call__(self, numbers: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Score the shards of the column `shard`; an error of a shard becomes its `problem`."""
        shards = [int(number) for number in numbers["shard"]]
        outcomes, problems = [], []
        for shard in shards:
            outcome = problem = ""
            try:
                outcome = json.dumps(asdict(self._outcome(shard)))
            except Exception as error:  # Ray Data would end the run because of one request to a store that failed
                problem = ("" if isinstance(error, MtqnetError) else f"{type(error).__name__}: ") + first_line(
                    error
                )
            outcomes.append(outcome)
            problems.append(problem)
        return {"shard": shards, "outcome": outcomes, "problem": problems}

    def _outcome(self, shard: int) -> Outcome:
        """Score a shard, unless it has a table: another worker, which Ray Data took for dead, may have written it."""
        out = self._plan.out
        if shard not in self._again and out.contains(part(shard)):
            return read_outcome(out, shard)
        began, score_s, scored = time.monotonic(), 0.0, []
        for item in recordings(self._plan.entries(shard)):
            started = time.monotonic()
            scored.append(self._scorer.score(item))
            score_s += time.monotonic() - started
        outcome = Outcome(
            shard=shard,
            recordings=len(scored),
            failed=sum(scores.error is not None for scores in scored),
            audio_s=round(sum(scores.duration_s or 0.0 for scores in scored), 3),
            score_s=round(score_s, 3),
            took_s=round(time.monotonic() - began, 3),
            node=_node(),
        )
        layout = tables.WINDOWS if self._plan.request["windows"] else tables.RECORDINGS
        write_table(out, layout, scored, outcome)
        return outcome

    @cached_property
    def _scorer(self) -> FileScorer:
        return FileScorer(self._model)


def _node() -> str:
    import ray

    return f"{platform.node()} {ray.get_runtime_context().get_node_id()[:NODE_DIGITS]}"
