"""One server for all tests that leave it as it is; tests that need other settings start their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running import Server, server

POSTGRES = "MTQNET_TEST_POSTGRES"
"""Environment variable: the URL of an empty PostgreSQL database for these tests"""


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Iterator[Server]:
    """`base` and a toy, a limit of 3 MB and 60 s, audio kept on demand."""
    folder = tmp_path_factory.mktemp("serving")
    with server(
        folder, "--model", "base", "--model", toy_model, "--workers", "2", max_body_mb=3, max_duration_s=60,
        keep_audio=True, stream_idle_s=3,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def client(serving: Server) -> Iterator[httpx.Client]:
    with serving.client() as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.sqlite'}"
    url = os.environ.get(POSTGRES)
    if not url:
        pytest.skip(f"no PostgreSQL: {POSTGRES} is not set")
    _empty(url)
    return url


def _empty(url: str) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS recordings, scores, alembic_version"))
    engine.dispose()
