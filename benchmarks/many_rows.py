"""`make history`: how long every filter of a large history takes, into docs/results/history.md."""

from __future__ import annotations

import argparse
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import delete, insert

from mtqnet.serving.history import History, now_ms, opened, scores
from mtqnet.targets import KEYS
from verdicts import Bar, write

ROWS = 100_000
REPEATS = 7
"""Of each filter; the median is reported"""
SEED = 1
MOST_MS = 50.0
"""For any filter, by SQLite"""


def made_up(now: int) -> list[dict[str, Any]]:
    """Rows in order of their time, one a minute until `now` (ms)."""
    rng = random.Random(SEED)
    return [
        {
            "time_ms": now - (ROWS - number) * 60_000, "kind": rng.choice(["file", "stream"]),
            "file": f"call-{number}.wav", "source": f"site-{rng.randrange(50)}",
            "level": rng.choice(["ok", "caution"]), "flags": rng.choice(["", " clipped ", " short  dc "]),
            "error": None, "duration_s": 5.0, "model": "base", "model_sha256": "a" * 64, "version": "0",
            **{key: rng.uniform(1, 4.6) for key in KEYS},
        }
        for number in range(ROWS)
    ]  # fmt: skip


def filters(now: int) -> dict[str, dict[str, Any]]:
    """Each filter alone, with many, few and no matching rows; and all together."""
    at_least = {f"min_{key}": 1.0 for key in KEYS}
    at_most = {f"max_{key}": 4.6 for key in KEYS}

    def time(ms: int) -> datetime:
        return datetime.fromtimestamp(ms / 1000, UTC)

    return {
        "none": {}, "since": {"since": time(now - 3_600_000)}, "until": {"until": time(now - ROWS * 59_000)},
        "kind": {"kind": "file"}, "source": {"source": "site-3"}, "source, unknown": {"source": "no"},
        "model, unknown": {"model": "no"}, "level, never": {"level": "refused"}, "flag": {"flag": "clipped"},
        "flag, never": {"flag": "music_only"}, "name": {"file": "call-77"}, "name, never": {"file": "zzz"},
        "at least, rare": {"min_g_mos": 4.599}, "at least, never": {"min_g_mos": 5},
        "at most": {f"max_{key}": 1.2 for key in KEYS}, "last page": {"before": 50},
        "all at once": {
            "since": time(0), "until": time(now), "kind": "file", "model": "base", "level": "ok", "flag": "dc",
            "file": "zzz", **at_least, **at_most,
        },
    }  # fmt: skip


def measured(url: str | None) -> tuple[list[str], list[Bar]]:
    """A table of the filters and their times, in SQLite or in the empty database at `url`."""
    now = now_ms()
    with TemporaryDirectory() as name:
        engine = opened(url or f"sqlite:///{name}/history.sqlite")
        with engine.begin() as connection:
            connection.execute(delete(scores))
            connection.execute(insert(scores), made_up(now))
        history = History(engine)
        lines = [
            f"| {ROWS} rows, {engine.dialect.name}, filter | median, ms | of it this process's CPU, ms | rows |",
            "|---|---|---|---|",
        ]
        slowest = 0.0
        for label, asked in filters(now).items():
            times, busy = [], []
            for _ in range(REPEATS):
                started, busy_before = time.perf_counter(), time.process_time()
                found = history.page(101, **asked)
                times.append(1000 * (time.perf_counter() - started))
                busy.append(1000 * (time.process_time() - busy_before))
            slowest = max(slowest, float(np.median(times)))
            lines.append(f"| {label} | {np.median(times):.1f} | {np.median(busy):.1f} | {len(found)} |")
        history.close()
    return lines, [Bar(f"slowest filter, {engine.dialect.name}, ms", slowest, MOST_MS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="URL of an empty database, in addition to SQLite")
    parser.add_argument("--output", type=Path, default=Path("docs/results/history.md"))
    options = parser.parse_args()
    parts = [measured(None), *([measured(options.database)] if options.database else [])]
    about = (
        f"Rows are generated with seed {SEED}. A page of 101 rows is requested; medians of {REPEATS}. On a busy "
        "machine, the CPU column is the time that SQLite, which runs in this process, would take alone."
    )
    sys.exit(0 if write(options.output, "A large history", about, parts) else 1)


if __name__ == "__main__":
    main()
