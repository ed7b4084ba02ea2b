"""Shards of a run on a cluster: which recordings are scored together, what was done, and which files killed workers.

OUT/_plan/plan.json             the request and the number of shards; written last
OUT/_plan/shards-00000.parquet  SHARDS_A_FILE shards, one row group each: the entries of the shard
OUT/part-000000.parquet         the rows of a shard, and its outcome in the metadata of the table
OUT/_attempts/                  marks of attempts, removed at the end of a run

The plan is written once, so that a rerun uses the same shards. It is written and read piece by piece: memory does not
grow with the number of recordings. An archive is a shard of its own.

A recording that kills the process that reads it is handled by its worker (sandbox.py). If a recording takes the whole
worker with it (for example by the out-of-memory killer), no error can be recorded for it, and Ray starts another
worker that meets the same file. Therefore each attempt at a shard leaves a mark in the output folder, and from the
second attempt on each file leaves one before it is scored. A file with two such marks is not tried again.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from mtqnet.errors import UsageError
from mtqnet.integrations.ray.sources import Entry
from mtqnet.integrations.ray.store import Folder
from mtqnet.scoring import tables
from mtqnet.scoring.tables import Layout, Row

SHARDS_A_FILE = 1000
PLAN = "_plan/plan.json"


@dataclass(frozen=True)
class Request:
    """What a run's rows depend on: a rerun has to ask the same."""

    sources: tuple[str, ...]
    model_sha256: str
    version: str
    windows: bool
    shard_size: int


@dataclass(frozen=True)
class Plan:
    """The shards of a run."""

    out: Folder
    request: Request
    shards: int
    files: int
    """Entries: recordings, and archives of recordings"""

    def entries(self, shard: int) -> list[Entry]:
        """The entries of one shard."""
        import pyarrow.parquet as pq

        number, group = divmod(shard, SHARDS_A_FILE)
        with self.out.open(_plan_file(number)) as stream:
            rows = pq.ParquetFile(stream).read_row_group(group).to_pylist()
        return [Entry(**row) for row in rows]


def part(shard: int) -> str:
    """The name of a shard's table."""
    return f"part-{shard:06d}.parquet"


def plan_for(out: Folder, request: Request, found: Iterable[Entry]) -> Plan:
    """The plan of a run: the stored plan, or a new one from `found`.

    Raises UsageError where `out` contains a run with another request.
    """
    stored = stored_plan(out)
    if stored is None:
        return _new(out, request, found)
    before, now = asdict(stored.request), asdict(request)
    if before != now:
        differ = ", ".join(name for name in now if before[name] != now[name])
        raise UsageError(
            f"{out.address.shown} contains a run with another {differ}: choose another folder, or remove this one"
        )
    return stored


def stored_plan(out: Folder) -> Plan | None:
    """The plan in a folder, if it was written to its end."""
    if "plan.json" not in out.names("_plan"):
        return None
    record = json.loads(out.read(PLAN))
    request = Request(**{**record["request"], "sources": tuple(record["request"]["sources"])})
    return Plan(out, request, record["shards"], record["files"])


def _new(out: Folder, request: Request, found: Iterable[Entry]) -> Plan:
    if out.names():
        raise UsageError(f"{out.address.shown} contains other files: choose an empty folder")
    shards = files = 0
    cut = _cut(found, request.shard_size)
    while group := list(islice(cut, SHARDS_A_FILE)):
        out.write(_plan_file(shards // SHARDS_A_FILE), _plan_table(group))
        shards += len(group)
        files += sum(map(len, group))
    plan = Plan(out, request, shards, files)
    record = {"request": asdict(request), "shards": shards, "files": files}
    out.write(PLAN, (json.dumps(record, indent=1) + "\n").encode())
    return plan


def _cut(found: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """Yield shards in the order of the entries; no shard mixes recordings and an archive."""
    waiting: list[Entry] = []
    for entry in found:
        if waiting and (entry.is_archive or len(waiting) == size):
            yield waiting
            waiting = []
        if entry.is_archive:
            yield [entry]
        else:
            waiting.append(entry)
    if waiting:
        yield waiting


def _plan_table(shards: list[list[Entry]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("file", pa.string()), ("address", pa.string()), ("size", pa.int64())])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for shard in shards:
            writer.write_table(pa.Table.from_pylist([asdict(entry) for entry in shard], schema=schema))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _plan_file(number: int) -> str:
    return f"_plan/shards-{number:05d}.parquet"


METADATA_KEY = b"mtqnet"
"""Of the metadata of a shard's table"""


@dataclass(frozen=True)
class Outcome:
    """A shard that is done."""

    shard: int
    recordings: int
    failed: int
    codes: tuple[int, ...]
    """Exit codes of what kept recordings from being scored, each once"""
    audio_s: float
    size: int
    """Bytes that were read"""
    fetch_s: float
    """Seconds of copying over the network, summed over recordings, which are fetched concurrently"""
    score_s: float
    """Seconds of reading and scoring"""
    took_s: float
    """Seconds from begin to end, without writing"""
    restarts: int
    """Processes that recordings killed"""
    attempts: int
    node: str

    @classmethod
    def parse(cls, text: str | bytes) -> Outcome:
        record = json.loads(text)
        return cls(**{**record, "codes": tuple(record["codes"])})

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def write_table(out: Folder, layout: Layout, rows: Sequence[Row], outcome: Outcome) -> None:
    """The table of a shard, whole or not at all. Writing it again puts the same rows in the same place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = tables.parquet_schema(layout).with_metadata({METADATA_KEY: outcome.as_json().encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    out.write(part(outcome.shard), sink.getvalue().to_pybytes())


def read_outcome(out: Folder, shard: int) -> Outcome:
    """The outcome of a shard that is done."""
    import pyarrow.parquet as pq

    with out.open(part(shard)) as stream:
        return Outcome.parse(pq.read_schema(stream).metadata[METADATA_KEY])


ATTEMPTS = "_attempts"
CAREFUL_FROM = 1
"""Attempts that ended without rows before each file leaves a mark, which costs a fifth of the time to score it"""
MARKS = 2
"""Marks of a file after which it is assumed to kill workers"""


@dataclass
class Attempt:
    """One attempt at a shard."""

    out: Folder
    shard: int
    before: int = 0
    """Attempts that went before it"""
    refused: tuple[int, ...] = ()
    """Places of files that killed workers"""

    @property
    def careful(self) -> bool:
        return self.before >= CAREFUL_FROM

    def mark(self, place: int) -> None:
        """Record that this file is next, if an earlier attempt failed."""
        if self.careful:
            self.out.write(f"{_attempts_folder(self.shard)}/file-{place}-{uuid.uuid4().hex}", b"")

    def scored_safely(self, place: int) -> None:
        """Record that this file was scored, so that it is not assumed to kill workers."""
        if self.careful:
            self.out.write(f"{_attempts_folder(self.shard)}/scored-{place}-{uuid.uuid4().hex}", b"")


def begin_attempt(out: Folder, shard: int) -> Attempt:
    """Begin an attempt, and leave a mark of it."""
    names = [name.split("-") for name in out.names(_attempts_folder(shard))]
    out.write(f"{_attempts_folder(shard)}/attempt-{uuid.uuid4().hex}", b"")
    kinds = Counter(name[0] for name in names)
    marked = Counter(int(name[1]) for name in names if name[0] == "file")
    scored = {int(name[1]) for name in names if name[0] == "scored"}
    killers = sorted(place for place, marks in marked.items() if marks >= MARKS and place not in scored)
    return Attempt(out, shard, kinds["attempt"], tuple(killers))


def _attempts_folder(shard: int) -> str:
    return f"{ATTEMPTS}/{shard:06d}"
