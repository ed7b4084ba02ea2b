"""The tables of the history. A change needs a migration in migrations/versions."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

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
