"""Which files are scored together: shards, written down once, so that a rerun is of the very same shards.

OUT/_plan/plan.json             what was asked for, and how many shards there are; written last
OUT/_plan/shards-00000.parquet  SHARDS_A_FILE shards, a row group each: the entries of the shard
OUT/part-000000.parquet         the rows of a shard, when all of them are there

An archive is a shard of its own. The plan is written and read piece by piece: memory does not grow with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from mtqnet.errors import UsageError
from mtqnet.integrations.ray.sources import Entry
from mtqnet.integrations.ray.store import Folder

SHARDS_A_FILE = 1000
PLAN = "_plan/plan.json"


@dataclass(frozen=True)
class Asked:
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
    asked: Asked
    shards: int
    files: int
    """Entries: recordings, and archives of recordings"""

    def entries(self, shard: int) -> list[Entry]:
        """The entries of one shard."""
        import pyarrow.parquet as pq

        number, group = divmod(shard, SHARDS_A_FILE)
        with self.out.open(_file(number)) as stream:
            rows = pq.ParquetFile(stream).read_row_group(group).to_pylist()
        return [Entry(**row) for row in rows]


def part(shard: int) -> str:
    """The name of a shard's table."""
    return f"part-{shard:06d}.parquet"


def made(out: Folder, asked: Asked, found: Iterable[Entry]) -> Plan:
    """The plan of a run: the one that is there, or a new one of the entries found.

    Raises UsageError where `out` holds a run that asked something else.
    """
    stored = stored_plan(out)
    if stored is None:
        return _new(out, asked, found)
    before, now = asdict(stored.asked), asdict(asked)
    if before != now:
        differ = ", ".join(name for name in now if before[name] != now[name])
        raise UsageError(f"{out.address.shown} holds a run with other {differ}: name another folder, or remove it")
    return stored


def stored_plan(out: Folder) -> Plan | None:
    """The plan in a folder, if it was written to its end."""
    if "plan.json" not in out.names("_plan"):
        return None
    record = json.loads(out.read(PLAN))
    asked = Asked(**{**record["asked"], "sources": tuple(record["asked"]["sources"])})
    return Plan(out, asked, record["shards"], record["files"])


def _new(out: Folder, asked: Asked, found: Iterable[Entry]) -> Plan:
    if out.names():
        raise UsageError(f"{out.address.shown} holds something that is no run of this kind: name an empty folder")
    shards = files = 0
    cut = _cut(found, asked.shard_size)
    while group := list(islice(cut, SHARDS_A_FILE)):
        out.write(_file(shards // SHARDS_A_FILE), _table(group))
        shards += len(group)
        files += sum(map(len, group))
    plan = Plan(out, asked, shards, files)
    record = {"asked": asdict(asked), "shards": shards, "files": files}
    out.write(PLAN, (json.dumps(record, indent=1) + "\n").encode())
    return plan


def _cut(found: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """Shards in the order of what was found; none mixes recordings and an archive."""
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


def _table(shards: list[list[Entry]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("file", pa.string()), ("address", pa.string()), ("size", pa.int64())])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for shard in shards:
            writer.write_table(pa.Table.from_pylist([asdict(entry) for entry in shard], schema=schema))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _file(number: int) -> str:
    return f"_plan/shards-{number:05d}.parquet"
