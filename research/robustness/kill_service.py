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
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from research.robustness.soak import RECORDINGS, start, tree

CLIENTS = 12


async def client(url: str, number: int, until: float, saved: dict[int, str], answers: Counter[str]) -> None:
    """Score a recording again and again; remember what the service acknowledged."""
    sound = (RECORDINGS / "1_clean.flac").read_bytes()
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        count = 0
        while time.monotonic() < until:
            count += 1
            name = f"{number}-{count}-{until}"
            try:
                answer = await http.post("/v1/score", content=sound, params={"name": name})
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1
                await asyncio.sleep(0.2)
                continue
            answers[str(answer.status_code)] += 1
            if answer.status_code == 200:
                saved[answer.json()["id"]] = name
            else:
                await asyncio.sleep(0.2)


async def round_of(
    url: str, pid: int, seconds: float, whole: bool, saved: dict[int, str], answers: Counter[str]
) -> None:
    """Load for some seconds, then kill the service (`whole`) or one of its scoring processes, then load again."""

    async def kill() -> None:
        await asyncio.sleep(seconds)
        children = [one for one in tree(pid) if one != pid]
        os.kill(pid if whole else random.choice(children), signal.SIGKILL)

    until = time.monotonic() + seconds + (0.5 if whole else 3.0)
    await asyncio.gather(kill(), *(client(url, number, until, saved, answers) for number in range(CLIENTS)))


def main() -> int:
    """Run the kills and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=8, help="kills of the service, and as many of scoring processes"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/results/kills_service.md"))
    options = parser.parse_args()
    random.seed(0)
    saved: dict[int, str] = {}
    answers: Counter[str] = Counter()
    left = 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(2 * options.kills):
            process, url = start(folder)
            pids = tree(process.pid)
            asyncio.run(round_of(url, process.pid, random.uniform(2, 6), number % 2 == 0, saved, answers))
            process.kill()
            process.wait()
            time.sleep(2)
            left += sum(1 for pid in pids if "R" in _status(pid) or "S" in _status(pid))
        process, _ = start(folder)
        folders = len(list(folder.glob("mtqnet-serve-*")))
        process.terminate()
        process.wait(60)
        rows = dict(sqlite3.connect(folder / "h.sqlite").execute("SELECT id, file FROM scores"))
    lost = sum(rows.get(row) != file for row, file in saved.items())
    good = lost == 0 and left == 0 and folders == 1
    page = f"""# Kills of the service

Written by `make kills`. {date.today().isoformat()}, {options.kills} kills (SIGKILL) of the service and {options.kills}
of one of its processes, under {CLIENTS} clients, seed 0.

| measure | value |
|---|---|
| acknowledged scores | {len(saved)} |
| acknowledged scores that are not in the history | {lost} |
| processes that remained 2 s after a kill of the service | {left} |
| upload folders after the next start (1 is in use) | {folders} |

Answers: {", ".join(f"{name} {count}" for name, count in sorted(answers.items()))}. Connection errors occur at the
moment in which the service was killed.
"""
    options.output.write_text(page)
    print(page)
    return 0 if good else 1


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
