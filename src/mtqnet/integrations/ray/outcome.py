"""What a shard came to: written into its table, so that the table alone says all that a rerun needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mtqnet.integrations.ray.plan import part
from mtqnet.integrations.ray.store import Folder
from mtqnet.scoring import tables
from mtqnet.scoring.tables import Layout, Row

KEY = b"mtqnet"
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
    """Seconds of copying over the network, of all recordings, beside each other"""
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


def write(out: Folder, layout: Layout, rows: Sequence[Row], outcome: Outcome) -> None:
    """The table of a shard, whole or not at all. Writing it again puts the same rows in the same place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = tables.parquet_schema(layout).with_metadata({KEY: outcome.as_json().encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    out.write(part(outcome.shard), sink.getvalue().to_pybytes())


def read(out: Folder, shard: int) -> Outcome:
    """The outcome of a shard that is done."""
    import pyarrow.parquet as pq

    with out.open(part(shard)) as stream:
        return Outcome.parse(pq.read_schema(stream).metadata[KEY])
