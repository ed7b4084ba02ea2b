"""The real server in a process of its own, as the tests of the service talk to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

POSTGRES = "MTQNET_TEST_POSTGRES"
"""Environment variable: the URL of a PostgreSQL database of these tests, whose tables they drop"""
STARTS_S = 120
"""Seconds; a busy machine takes half of it"""


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[str]
    lines: list[str]
    """Its output on stderr"""
    folder: Path
    """Where its temporary files are"""

    @property
    def live(self) -> str:
        return f"{self.url.replace('http', 'ws')}/v1/stream"

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, **options)  # type: ignore[arg-type]

    def temporary(self) -> list[Path]:
        """Files of requests that were not removed."""
        return list(self.folder.glob("mtqnet-serve-*/uploads/*"))


@contextmanager
def server(folder: Path, *options: str | Path, **settings: object) -> Iterator[Server]:
    """`mtqnet serve` with these options, and settings as MTQNET_... variables; a warning is an error."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    told = {f"MTQNET_{name.upper()}": str(value) for name, value in settings.items()}
    told.setdefault("MTQNET_DATABASE", f"sqlite:///{folder / 'history.sqlite'}")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "mtqnet", "serve", "--port", "0", *map(str, options)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | told | {"TMPDIR": str(temporary)},
    )
    lines: list[str] = []
    started = threading.Event()
    reader = threading.Thread(target=_read, args=(process, lines, started), daemon=True)
    reader.start()
    try:
        assert started.wait(STARTS_S), "".join(lines)
        found = re.search(r"listens at (\S+)", "".join(lines))
        assert found is not None, "".join(lines)
        yield Server(found[1], process, lines, temporary)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            reader.join(10)
            assert process.stderr is not None
            process.stderr.close()


@contextmanager
def usual_server(folder: Path, toy_model: Path) -> Iterator[Server]:
    """`base` and a toy, a limit of 3 MB and 60 s, audio kept on demand."""
    with server(
        folder, "--model", "base", "--model", toy_model, workers=2, max_body_mb=3, max_duration_s=60,
        keep_audio=True, stream_idle_s=3,
    ) as running:  # fmt: skip
        yield running


def empty_database(kind: str, folder: Path) -> str:
    """URL of a database without tables; skips where there is no PostgreSQL."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'history.sqlite'}"
    url = os.environ.get(POSTGRES)
    if not url:
        pytest.skip(f"no PostgreSQL: {POSTGRES} is not set")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS recordings, scores"))
    engine.dispose()
    return url


def _read(process: subprocess.Popen[str], lines: list[str], started: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if "listens at" in line:
            started.set()
    started.set()
