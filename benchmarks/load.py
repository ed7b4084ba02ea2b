"""`make load`: the service under load, into docs/results/service.md, on an idle machine.

Two parts: many clients that score files, next to the command line on the same files in the same run; and many live
streams at once. Each starts the real server process. Ends with a verdict: code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import numpy as np
import soundfile as sf
from websockets.asyncio.client import connect

from verdicts import Bar, write

if TYPE_CHECKING:
    from collections.abc import Iterator

COPIES = 60
"""Of each recording, for the command line: enough that its start does not count"""
SAMPLE_RATE = 16_000
CHUNK_S = 0.02
"""Seconds, as telephony sends"""
SETTLED_S = 12.0
"""Seconds until the windows of a stream are full"""
LEAST_SHARE = 0.8
"""Of the command line's throughput"""
MOST_GROWTH = 1.1
"""Memory of the last third over that of the first: no leak"""
MOST_LATE_S = 1.0
"""Seconds from the last sample of a row to its coming: a row is due each second, so later ones pile up"""


@dataclass(frozen=True)
class Served:
    url: str
    pid: int


@contextmanager
def server(folder: Path, **settings: object) -> Iterator[Served]:
    told = {f"MTQNET_{name.upper()}": str(value) for name, value in settings.items()}
    told["MTQNET_DATABASE"] = f"sqlite:///{folder / 'h.sqlite'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mtqnet", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | told,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "listens at" in line:
            yield Served(line.split()[-1], process.pid)
            break
    else:
        raise SystemExit("the service did not start")
    process.terminate()
    process.wait()


def memory_mb(pid: int) -> float:
    """Resident MB of a process and its children, from /proc."""
    pids = [pid]
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parts = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(parts[1]) in pids:
            pids.append(int(status.parent.name))
    pages = 0
    for one in pids:
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class Tally:
    """What clients saw."""

    scored: int = 0
    busy: int = 0
    audio_s: float = 0.0
    others: int = 0


async def client(url: str, bodies: list[bytes], until: float, tally: Tally, seed: int) -> None:
    rng = random.Random(seed)
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        while time.monotonic() < until:
            answer = await http.post("/v1/score", content=rng.choice(bodies))
            if answer.status_code == 200:
                tally.scored += 1
                tally.audio_s += answer.json()["duration_s"]
            elif answer.status_code == 429:
                tally.busy += 1
                await asyncio.sleep(float(answer.headers["retry-after"]) * rng.uniform(0.5, 1))
            else:
                tally.others += 1
                print(answer.status_code, answer.text, file=sys.stderr)


async def many_clients(
    served: Served, files: list[Path], clients: int, seconds: float
) -> tuple[Tally, list[float]]:
    bodies = [file.read_bytes() for file in files]
    warm = Tally()
    await asyncio.gather(*(client(served.url, bodies, time.monotonic() + 3, warm, seed) for seed in range(4)))
    tally, memory = Tally(), [memory_mb(served.pid)]
    until = time.monotonic() + seconds
    work = [asyncio.create_task(client(served.url, bodies, until, tally, seed)) for seed in range(clients)]
    while time.monotonic() < until:
        await asyncio.sleep(min(5, seconds / 4))
        memory.append(memory_mb(served.pid))
    await asyncio.gather(*work)
    return tally, memory


def files_part(files: list[Path], options: argparse.Namespace) -> tuple[list[str], list[Bar]]:
    model, clients, seconds, count = options.model, options.clients, options.seconds, options.copies
    with TemporaryDirectory() as name:
        folder = Path(name)
        copies = folder / "copies"
        copies.mkdir()
        for file in files:
            for copy in range(count):
                shutil.copy(file, copies / f"{file.stem}-{copy}{file.suffix}")
        audio_s = count * sum(sf.info(str(file)).duration for file in files)
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "mtqnet", "score", "--quiet", "--model", model, "--jobs", str(os.cpu_count()),
             "-o", folder / "out.csv", copies],
            check=True,
        )  # fmt: skip
        command = audio_s / (time.monotonic() - started)
        with server(folder, models=model) as served:
            started = time.monotonic()
            tally, memory = asyncio.run(many_clients(served, files, clients, seconds))
            service = tally.audio_s / (time.monotonic() - started)
    third = max(1, len(memory) // 3)
    first, last = (float(np.mean(part)) for part in (memory[:third], memory[-third:]))
    lines = [
        f"| {clients} clients, {seconds:g} s, model {model} | |",
        "|---|---|",
        f"| scored | {tally.scored} recordings, {tally.audio_s:.0f} s of audio |",
        f"| answered 429 | {tally.busy} |",
        f"| other errors | {tally.others} |",
        f"| audio a second, service | {service:.0f} s |",
        f"| audio a second, `mtqnet score --jobs {os.cpu_count()}` on the same recordings | {command:.0f} s |",
        f"| service over command line | {service / command:.2f} |",
        f"| memory of all its processes, first and last third | {first:.0f} and {last:.0f} MB |",
    ]
    return lines, [
        Bar("answers that are neither scores nor 429", tally.others, 0),
        Bar("throughput over the command line's", service / command, LEAST_SHARE, more_is_better=True),
        Bar("memory, last third over first", last / first, MOST_GROWTH),
    ]


async def one_stream(url: str, samples: bytes, model: str, seconds: float, seed: int) -> tuple[list[float], int]:
    """Seconds from the last sample of each row to its coming, and how many rows came."""
    await asyncio.sleep(random.Random(seed).random())  # so that rows are not due all at once
    late: list[float] = []
    async with connect(url.replace("http", "ws") + "/v1/stream", max_queue=None) as socket:
        start = {"type": "start", "rate": SAMPLE_RATE, "model": model, "source": "load"}
        await socket.send(json.dumps(start))
        await socket.recv()
        began = time.monotonic()

        async def listen() -> None:
            async for message in socket:
                told = json.loads(message)
                if told["kind"] == "scores":
                    late.append(time.monotonic() - began - told["end_s"])

        listener = asyncio.create_task(listen())
        size = round(CHUNK_S * SAMPLE_RATE) * 2
        for number in range(round(seconds / CHUNK_S)):
            at = (number * size) % (len(samples) - size)
            await socket.send(samples[at : at + size])
            await asyncio.sleep(max(0.0, began + (number + 1) * CHUNK_S - time.monotonic()))
        await socket.send('{"type": "end"}')
        await listener
    return late, len(late)


def streams_part(file: Path, options: argparse.Namespace) -> tuple[list[str], list[Bar]]:
    streams, seconds = options.streams, options.stream_seconds
    model = options.stream_model or options.model
    sound, _ = sf.read(file, dtype="int16")

    async def all_streams(url: str) -> list[tuple[list[float], int]]:
        return await asyncio.gather(
            *(one_stream(url, sound.tobytes(), model, seconds, seed) for seed in range(streams))
        )

    with TemporaryDirectory() as name, server(Path(name), models=model, streams=streams) as served:
        told = asyncio.run(all_streams(served.url))
    settled = [row for late, _ in told for row in late[round(SETTLED_S) :]] or [
        row for late, _ in told for row in late
    ]
    ends = [late[-1] if late else float("inf") for late, _ in told]
    rows, due = sum(rows for _, rows in told), streams * round(seconds)
    lines = [
        f"| {streams} live streams, {seconds:g} s, model {model} | |",
        "|---|---|",
        f"| rows | {rows} of {due} |",
        f"| from a row's last sample to its coming, median | {np.median(settled):.2f} s |",
        f"| 95 % | {np.quantile(settled, 0.95):.2f} s |",
        f"| the latest | {max(settled):.2f} s |",
        f"| the last row of each stream, the latest | {max(ends):.2f} s |",
    ]
    return lines, [
        Bar("rows that never came", due - rows, 0),
        Bar("live row, 95 % come within s", float(np.quantile(settled, 0.95)), MOST_LATE_S),
        Bar("last row of each stream, latest, s", max(ends), MOST_LATE_S),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--stream-seconds", type=float, default=60)
    parser.add_argument("--model", default="base", help="of the clients")
    parser.add_argument("--stream-model", help="of the streams; the same when left out")
    parser.add_argument("--copies", type=int, default=COPIES, help="of each recording, for the command line")
    parser.add_argument("--recordings", type=Path, default=Path("examples/recordings"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/service.md"))
    options = parser.parse_args()
    files = sorted(options.recordings.glob("*.flac"))
    parts = [files_part(files, options), streams_part(files[0], options)]
    title = "The service under load"
    about = (
        "Clients, service and command line share the cores. Recordings are those of `examples/recordings`; "
        "client number n draws them with seed n."
    )
    kept = write(options.output, title, about, parts)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
