"""Write, query and delete rows of the history. Calls block on the database: do not use them in the event loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, exists, insert, select, text

from mtqnet.scoring import tables as score_tables
from mtqnet.scoring.scores import Scores
from mtqnet.serving.history.database import LABEL, NAME, recordings, scores
from mtqnet.targets import KEYS

DAY_MS = 86_400_000
"""Milliseconds"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One row to write."""

    scores: Scores
    kind: str
    """file or stream"""
    source: str = ""
    audio: bytes | None = None
    """Recording to store, if the request asks for it"""


@dataclass(frozen=True)
class Filters:
    """Conditions for rows; None: no condition."""

    since_ms: int | None = None
    until_ms: int | None = None
    """Exclusive"""
    kind: str | None = None
    source: str | None = None
    model: str | None = None
    level: str | None = None
    flag: str | None = None
    file: str | None = None
    """A part of the name, in any case"""
    least: dict[str, float] = field(default_factory=dict)
    """By target: no lower score"""
    most: dict[str, float] = field(default_factory=dict)
    before: int | None = None
    """Id that the rows come before: the page that follows"""


class History:
    """Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        """`engine` as returned by database.opened."""
        self._engine = engine

    def add(self, entry: Entry) -> int:
        """Write a row and return its id."""
        with self._engine.begin() as connection:
            made: int = connection.execute(
                insert(scores).values(_cells(entry)).returning(scores.c.id)
            ).scalar_one()
            if entry.audio is not None:
                connection.execute(insert(recordings).values(score_id=made, content=entry.audio))
        return made

    def page(self, filters: Filters, limit: int) -> list[Row]:
        """Rows from the newest to the oldest, at most `limit`."""
        kept = exists().where(recordings.c.score_id == scores.c.id).label("has_audio")
        query = select(scores, kept).where(*_conditions(filters)).order_by(scores.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_row(dict(row)) for row in connection.execute(query).mappings()]

    def audio(self, row_id: int) -> bytes | None:
        """Return the recording of a row, if it was stored."""
        with self._engine.connect() as connection:
            query = select(recordings.c.content).where(recordings.c.score_id == row_id)
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        return found

    def remove(self, row_id: int) -> bool:
        """Delete a row and its recording; return whether it existed."""
        return self._delete(scores.c.id == row_id) > 0

    def prune(self, days: float) -> int:
        """Delete rows older than `days`; return their number."""
        return self._delete(scores.c.time_ms < now_ms() - round(days * DAY_MS))

    def check(self) -> None:
        """Raise where the database does not answer."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        self._engine.dispose()

    def _delete(self, condition: ColumnElement[bool]) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(delete(scores).where(condition)).rowcount)


def now_ms() -> int:
    """Milliseconds since 1970, UTC"""
    return time.time_ns() // 1_000_000


def _cells(entry: Entry) -> Row:
    cells = score_tables.cells(entry.scores)
    named = {
        name: cells[name] for name in (*KEYS, "error", "duration_s", "model", "model_sha256", "version")
    }  # fmt: skip
    return named | {
        "time_ms": now_ms(),
        "kind": entry.kind,
        "file": (entry.scores.file or "")[:NAME],
        "source": entry.source[:LABEL],
        "level": entry.scores.level,
        "flags": "".join(f" {flag} " for flag in entry.scores.flags),
    }


def _row(row: Row) -> Row:
    return row | {"flags": row["flags"].split()}


def _conditions(asked: Filters) -> list[ColumnElement[bool]]:
    c = scores.c
    conditions: list[ColumnElement[bool]] = []
    if asked.since_ms is not None:
        conditions.append(c.time_ms >= asked.since_ms)
    if asked.until_ms is not None:
        conditions.append(c.time_ms < asked.until_ms)
    for name in ("kind", "source", "model", "level"):
        if (value := getattr(asked, name)) is not None:
            conditions.append(c[name] == value)
    if asked.flag is not None:
        conditions.append(c.flags.contains(f" {asked.flag} ", autoescape=True))
    if asked.file is not None:
        conditions.append(c.file.icontains(asked.file, autoescape=True))
    conditions += [c[key] >= value for key, value in asked.least.items()]
    conditions += [c[key] <= value for key, value in asked.most.items()]
    if asked.before is not None:
        conditions.append(c.id < asked.before)
    return conditions
