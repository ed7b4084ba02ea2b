"""The tables of the history, and access to its database. A change needs a migration in migrations/versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    Column,
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
    event,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mtqnet.errors import UsageError, missing_extra
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
