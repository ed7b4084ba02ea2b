"""The history: its tables and their migration, and writing, querying and deleting rows.

A change of the tables needs a migration in migrations/versions. Calls block on the database: do not use them in
the event loop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    exists,
    insert,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mtqnet.errors import UsageError, missing_extra
from mtqnet.scoring import tables as score_tables
from mtqnet.scoring.scores import Scores
from mtqnet.targets import KEYS

NAME = 255
"""Characters of a file's name"""
LABEL = 100
"""Characters of a source label"""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite generates ids for INTEGER columns only"""

scores = Table(
    "scores",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("time_ms", BigInteger, nullable=False),  # since 1970, UTC
    Column("kind", String(8), nullable=False),  # file or stream
    Column("file", String(NAME), nullable=False),
    Column("source", String(LABEL), nullable=False),
    Column("level", String(8), nullable=False),
    *(Column(key, Float, nullable=True) for key in KEYS),
    Column("flags", String(255), nullable=False),  # between blanks, one before and one after each
    Column("error", Text, nullable=True),
    Column("duration_s", Float, nullable=True),
    Column("model", String(100), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Index(None, "time_ms"),
    *(Index(None, name, "id") for name in ("source", "level", "model", "kind")),
    sqlite_autoincrement=True,  # the id of a deleted row is never used again
)

recordings = Table(
    "recordings",
    metadata,
    Column("score_id", Id, ForeignKey("scores.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
"""The bytes of a recording, stored if the request asks for it and the service allows it."""


MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_MS = 10_000
"""Milliseconds that a writer waits for another one of SQLite"""
SQLITE = (
    "PRAGMA journal_mode=WAL",  # readers need not wait for a writer
    "PRAGMA synchronous=NORMAL",  # with WAL: a power failure may lose the last rows but does not corrupt the database
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA cache_size=-32000",  # 32 MB
)


def opened(url: str) -> Engine:
    """An engine with the tables of this module. Raises UsageError, or MissingExtraError for a driver."""
    try:
        engine = _engine(url)
        migrate(engine)
    except ModuleNotFoundError as error:
        driver = make_url(url).drivername
        if not driver.startswith("postgresql"):
            raise UsageError(
                f"the driver of the history {driver!r} is not supported: use sqlite:///FILE or "
                "postgresql+psycopg://USER@HOST/NAME"
            ) from error
        raise missing_extra(f"a history at {driver}", "postgres") from error
    except (ArgumentError, NoSuchModuleError, SQLAlchemyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"cannot open the history ({reason}): check MTQNET_DATABASE, or set it to an empty value"
        ) from error
    return engine


def migrate(engine: Engine) -> None:
    """Migrate the tables to this version."""
    with engine.begin() as connection:
        command.upgrade(configured(connection), "head")


def configured(connection: Connection) -> Config:
    """Return the configuration of Alembic."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for line in SQLITE:
        cursor.execute(line)
    cursor.close()


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
