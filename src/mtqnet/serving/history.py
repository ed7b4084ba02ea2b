"""The history of scores in a database: SQLite by default, PostgreSQL by its URL.

The tables are created if the database has none. Calls block on the database: do not use them in the event loop.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
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
DAY_MS = 86_400_000
"""Milliseconds"""
BUSY_MS = 10_000
"""Milliseconds that a writer waits for another one of SQLite"""
SQLITE = (
    "PRAGMA journal_mode=WAL",  # readers need not wait for a writer
    "PRAGMA synchronous=NORMAL",  # with WAL: a power failure may lose the last rows but does not corrupt the database
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA cache_size=-32000",  # 32 MB
)

Row = dict[str, Any]
metadata = sa.MetaData()
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite generates ids for INTEGER columns only"""

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("time_ms", sa.BigInteger, nullable=False, index=True),  # since 1970, UTC
    sa.Column("kind", sa.String(8), nullable=False),  # file or stream
    sa.Column("file", sa.String(NAME), nullable=False),
    sa.Column("source", sa.String(LABEL), nullable=False),
    sa.Column("level", sa.String(8), nullable=False),
    *(sa.Column(key, sa.Float, nullable=True) for key in KEYS),
    sa.Column("flags", sa.String(255), nullable=False),  # between blanks, one before and one after each
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("duration_s", sa.Float, nullable=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    *(sa.Index(f"ix_scores_{name}_id", name, "id") for name in ("source", "level", "model", "kind")),
    sqlite_autoincrement=True,  # the id of a deleted row is never used again
)

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column(
        "score_id", Id, sa.ForeignKey("scores.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""The bytes of a recording, stored if the request asks for it and the service allows it."""


def opened(url: str) -> sa.Engine:
    """Connect to a database and create the tables. Raises UsageError, or MissingExtraError for a driver."""
    try:
        engine = _engine(url)
        metadata.create_all(engine)
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


def _engine(url: str) -> sa.Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for line in SQLITE:
        cursor.execute(line)
    cursor.close()


class History:
    """Safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        """`engine` as returned by `opened`."""
        self._engine = engine

    def add(self, row: Scores, kind: str, source: str = "", audio: bytes | None = None) -> int:
        """Write a row and return its id. `kind`: file or stream; `audio`: the recording, if it is stored."""
        cells = score_tables.cells(row)
        values = {name: cells[name] for name in (*KEYS, "error", "duration_s", "model", "model_sha256", "version")}
        values |= {
            "time_ms": now_ms(), "kind": kind, "file": (row.file or "")[:NAME], "source": source[:LABEL],
            "level": row.level, "flags": "".join(f" {flag} " for flag in row.flags),
        }  # fmt: skip
        with self._engine.begin() as connection:
            made: int = connection.execute(sa.insert(scores).values(values).returning(scores.c.id)).scalar_one()
            if audio is not None:
                connection.execute(sa.insert(recordings).values(score_id=made, content=audio))
        return made

    def page(self, limit: int, **filters: Any) -> list[Row]:
        """Return rows from the newest to the oldest.

        Args:
            limit: Maximum number of rows.
            filters: All must match. `kind`, `source`, `model`, `level`; `flag`; `file`: a part of the name, in any
                case; `since` and `until` (exclusive): datetime; `before`: an id; `min_KEY` and `max_KEY` of a score.
        """
        kept = sa.exists().where(recordings.c.score_id == scores.c.id).label("has_audio")
        conditions = [_condition(name, value) for name, value in filters.items()]
        query = sa.select(scores, kept).where(*conditions).order_by(scores.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_row(dict(row)) for row in connection.execute(query).mappings()]

    def audio(self, row_id: int) -> bytes | None:
        """Return the recording of a row, if it was stored."""
        with self._engine.connect() as connection:
            query = sa.select(recordings.c.content).where(recordings.c.score_id == row_id)
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
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        self._engine.dispose()

    def _delete(self, condition: sa.ColumnElement[bool]) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(sa.delete(scores).where(condition)).rowcount)


def now_ms() -> int:
    """Milliseconds since 1970, UTC"""
    return time.time_ns() // 1_000_000


def _condition(name: str, value: Any) -> sa.ColumnElement[bool]:
    """`name` is that of a column, min_ or max_ with a column, or one of the names that `page` describes."""
    column: Any = scores.c.get(name.removeprefix("min_").removeprefix("max_"))
    condition: sa.ColumnElement[bool]
    match name.split("_")[0]:
        case "since":
            condition = scores.c.time_ms >= _ms(value)
        case "until":
            condition = scores.c.time_ms < _ms(value)
        case "before":
            condition = scores.c.id < value
        case "flag":
            condition = scores.c.flags.contains(f" {value} ", autoescape=True)
        case "file":
            condition = scores.c.file.icontains(value, autoescape=True)
        case "min":
            condition = column >= value
        case "max":
            condition = column <= value
        case _:
            condition = column == value
    return condition


def _ms(moment: datetime) -> int:
    """Milliseconds since 1970; without a time zone it is UTC."""
    known = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round((known - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _row(row: Row) -> Row:
    return row | {"flags": row["flags"].split(), "time": datetime.fromtimestamp(row.pop("time_ms") / 1000, UTC)}
