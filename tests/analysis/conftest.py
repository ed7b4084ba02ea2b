"""What the tests of the toolbox share: the command line in a process of its own, and scored recordings."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="session")
def run() -> Run:
    """Calls `mtqnet` with these arguments; nothing it says is lost, and a warning is an error."""

    def call(*arguments: str | Path, **environment: str) -> Done:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "mtqnet", *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=os.environ | {"COLUMNS": "160", "NO_COLOR": "1"} | environment,
            timeout=300,
        )

    return call


@pytest.fixture(scope="session")
def examples() -> Path:
    """Seven recordings that come with the project, 3 to 5 s of speech each."""
    return Path(__file__).resolve().parents[2] / "examples" / "recordings"


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A table with the columns of its first row."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def write() -> Callable[[Path, Sequence[Mapping[str, object]]], Path]:
    return write_csv
