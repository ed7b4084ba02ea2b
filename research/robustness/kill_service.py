"""Kill the service, and its idle scoring processes, under load: no acknowledged score may be lost.

python -m research.robustness.kill_service --kills 8 --output docs/results/kills_service.md
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from research.robustness.soak import RECORDINGS, start, tree

CLIENTS = 6
WORKER_KILLS = 6
"""Kills of scoring processes before the service is killed"""
SCORES_PER_KILL = 4
"""Most acknowledged scores between two kills"""
PATIENCE_S = 60.0
"""Seconds to wait for them"""
GRACE_S = 10.0
"""Seconds that processes may take to end after the service"""


@dataclass
class Record:
    """What the clients saw."""

    saved: dict[int, str] = field(default_factory=dict)
    """Names by the ids of acknowledged scores"""
    answers: Counter[str] = field(default_factory=Counter)
    stopped: bool = False


async def client(url: str, number: str, record: Record) -> None:
    """Score a recording again and again; remember what the service acknowledged."""
    sound = (RECORDINGS / "1_clean.flac").read_bytes()
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        count = 0
        while not record.stopped:
            count += 1
            name = f"{number}-{count}"
            try:
                answer = await http.post("/v1/score", content=sound, params={"name": name, "model": "small"})
            except httpx.HTTPError as error:
                record.answers[type(error).__name__] += 1
                await asyncio.sleep(0.2)
                continue
            kind = "" if answer.status_code == 200 else f" {answer.json()['type'].rpartition(':')[2]}"
            record.answers[f"{answer.status_code}{kind}"] += 1
            if answer.status_code == 200:
                record.saved[answer.json()["id"]] = name
            else:
                await asyncio.sleep(0.2)


async def one_service(url: str, pid: int, number: int, record: Record) -> tuple[int, list[int]]:
    """Kill scoring processes of a service under load, then the service.

    Returns:
        The number of kills of processes, and the ids of the processes that the service had at its end.
    """
    record.stopped = False
    clients = [asyncio.create_task(client(url, f"{number}-{one}", record)) for one in range(CLIENTS)]
    kills = 0
    for kill in range(WORKER_KILLS + 1):
        goal = len(record.saved) + random.randint(1, SCORES_PER_KILL)
        waited = time.monotonic()
        while len(record.saved) < goal and time.monotonic() < waited + PATIENCE_S:
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.uniform(0.0, 0.3))
        children = [one for one in tree(pid) if one != pid and b"spawn_main" in _command(one)]
        if kill == WORKER_KILLS:
            last = tree(pid)
            os.kill(pid, signal.SIGKILL)
        elif children:
            os.kill(random.choice(children), signal.SIGKILL)
            kills += 1
    await asyncio.sleep(0.3)
    record.stopped = True
    await asyncio.gather(*clients)
    return kills, last


def main() -> int:
    """Run the kills and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=8, help=f"kills of the service; {WORKER_KILLS} processes for each"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/results/kills_service.md"))
    options = parser.parse_args()
    random.seed(0)
    record = Record()
    left = workers = 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(options.kills):
            process, url = start(folder)
            try:
                killed, pids = asyncio.run(one_service(url, process.pid, number, record))
                workers += killed
            finally:
                process.kill()
            process.wait()
            deadline = time.monotonic() + GRACE_S
            while any(_status(pid) in "RSD" for pid in pids if _status(pid)) and time.monotonic() < deadline:
                time.sleep(0.1)
            left += sum(1 for pid in pids if _status(pid) and _status(pid) in "RSD")
            print(number, workers, len(record.saved), dict(record.answers), flush=True)
            options.output.write_text(report(record, number + 1, workers, left, None, 0))
        process, _ = start(folder)
        folders = len(list(folder.glob("mtqnet-serve-*")))
        process.terminate()
        process.wait(60)
        rows = dict(sqlite3.connect(folder / "h.sqlite").execute("SELECT id, file FROM scores"))
    lost = sum(rows.get(row) != file for row, file in record.saved.items())
    page = report(record, options.kills, workers, left, lost, folders)
    options.output.write_text(page)
    print(page)
    return 0 if lost == 0 and left == 0 and folders == 1 else 1


def report(record: Record, kills: int, workers: int, left: int, lost: int | None, folders: int) -> str:
    """Return the page of the results; `lost` is None before the end."""
    answers = ", ".join(f"{name} {count}" for name, count in sorted(record.answers.items()))
    return f"""# Kills of the service

Written by `make kills`. {date.today().isoformat()}, {kills} kills (SIGKILL) of the service and {workers} of its
processes, under {CLIENTS} clients, seed 0.

| measure | value |
|---|---|
| acknowledged scores | {len(record.saved)} |
| acknowledged scores that are not in the history | {"not counted" if lost is None else lost} |
| processes that remained {GRACE_S:g} s after a kill of the service | {left} |
| upload folders after the next start (1 is in use) | {folders} |

Answers: {answers}. *ConnectError*, *ReadError* and *RemoteProtocolError* are connections that ended because the
service was killed. *503 process_killed*: a recording whose scoring process is killed is given to a new process once;
if that one is killed too, the answer is 503 with `Retry-After`. The client sends the recording again.
"""


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
