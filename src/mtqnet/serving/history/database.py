"""Open the database of the history and migrate its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mtqnet.errors import UsageError, missing_extra

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
    """An engine whose tables are those of tables.py. Raises UsageError, or MissingExtraError for a driver."""
    try:
        engine = _engine(url)
        migrate(engine)
    except ModuleNotFoundError as error:
        raise missing_extra(f"a history at {make_url(url).drivername}", "postgres") from error
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
