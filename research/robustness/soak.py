"""Mixed load on the service for a long time: memory, open files and processes must stay constant.

    python -m research.robustness.soak --minutes 30 --output docs/results/soak.md      (make soak)

Clients score valid and damaged recordings, compare, draw, stream, and read the history, with random pauses. Once per
minute the memory of the service and its processes, its open files and its processes are recorded. The report compares
the last third with the second tenth of the time; the exit code is 1 if one of them grew, or an unexpected answer came.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import soundfile as sf
from websockets.asyncio.client import connect

RECORDINGS = Path(__file__).resolve().parents[2] / "examples/recordings"
GROWTH = 1.10
"""Largest accepted ratio of memory, open files and processes at the end and at the beginning"""
EXPECTED = {200, 204, 404, 413, 422, 429}
"""Status codes that a client may get: results, refusals of damaged recordings, rows that were deleted, full queues"""


@dataclass(frozen=True)
class Sample:
    """State of the service at one time."""

    minute: float
    requests: int
    memory_mb: float
    files: int
    processes: int


def start(folder: Path) -> tuple[Popen[str], str]:
    """Start `mtqnet serve` with its history and temporary files in `folder`; return the process and its address."""
    command = [sys.executable, "-m", "mtqnet", "serve", "--port", "0"]
    settings = {"TMPDIR": str(folder), "MTQNET_DATABASE": f"sqlite:///{folder / 'h.sqlite'}"}
    process = Popen(command, stderr=PIPE, text=True, env=os.environ | settings)
    assert process.stderr is not None
    for line in process.stderr:
        if "http://" in line and "warning" not in line:
            return process, line.split()[-1]
    raise SystemExit("the service did not start")


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, int]]:
    """Run the service; yield its address and process id."""
    process, address = start(folder)
    try:
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(120)


def tree(pid: int) -> list[int]:
    """Process ids of a process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            children.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(
                int(stat.parent.name)
            )
        except OSError:
            continue
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def state(pid: int, minute: float, requests: int) -> Sample:
    """Measure a process tree."""
    pids = tree(pid)
    pages = files = 0
    for one in pids:
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
            files += len(os.listdir(f"/proc/{one}/fd"))  # noqa: PTH208 entries may vanish
        except OSError:
            continue
    return Sample(minute, requests, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files, len(pids))


def bodies(seed: int) -> list[bytes]:
    """Recordings to send: the examples, and damaged ones."""
    rng = random.Random(seed)
    valid = [path.read_bytes() for path in sorted(RECORDINGS.glob("*.flac"))]
    silence = io.BytesIO()
    sf.write(silence, np.zeros(16_000), 16_000, format="WAV")
    truncated = [body[: rng.randrange(40, len(body))] for body in valid]
    mutated = [bytes(byte ^ (rng.random() < 0.001) for byte in body) for body in valid[:2]]
    return [*valid, *truncated, *mutated, silence.getvalue(), b"", b"not audio", rng.randbytes(5000)]


async def client(url: str, until: float, seed: int, answers: Counter[str]) -> None:
    """One client of random requests."""
    rng = random.Random(seed)
    sounds = bodies(seed)
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        while time.monotonic() < until:
            kind = rng.choice(("score", "score", "score", "compare", "picture", "history", "delete", "stream"))
            if kind == "stream":
                answers[await stream(url, rng)] += 1
            else:
                try:
                    answers[f"{kind} {await request(http, kind, sounds, rng)}"] += 1
                except httpx.HTTPError as error:
                    answers[f"{kind} {type(error).__name__}"] += 1
            await asyncio.sleep(rng.uniform(0.0, 1.5))


async def request(http: httpx.AsyncClient, kind: str, sounds: list[bytes], rng: random.Random) -> int:
    """Send one request; return its status code."""
    if kind == "score":
        answer = await http.post(
            "/v1/score", content=rng.choice(sounds), params={"track": rng.choice(("true", "false"))}
        )
    elif kind == "picture":
        answer = await http.post("/v1/picture", content=rng.choice(sounds))
    elif kind == "compare":
        files = [(side, ("x.flac", rng.choice(sounds))) for side in ("a", "b")]
        answer = await http.post("/v1/compare", files=files)
    elif kind == "history":
        answer = await http.get("/v1/history", params={"limit": rng.randint(1, 100)})
    else:
        answer = await http.delete(f"/v1/history/{rng.randint(1, 500)}")
    return answer.status_code


async def stream(url: str, rng: random.Random) -> str:
    """Send 3 s of live audio and wait for the end."""
    samples = (np.random.default_rng(rng.randrange(99)).standard_normal(48_000) * 3000).astype("<i2").tobytes()
    try:
        async with connect(url.replace("http", "ws") + "/v1/stream") as socket:
            await socket.send(json.dumps({"type": "start", "rate": 16_000}))
            for at in range(0, len(samples), 3200):
                await socket.send(samples[at : at + 3200])
            await socket.send('{"type": "end"}')
            last = ""
            async for message in socket:
                last = json.loads(message)["kind"]
        return f"stream {last}"
    except Exception as error:
        return f"stream {type(error).__name__}"


async def run(minutes: float, clients: int) -> tuple[list[Sample], Counter[str]]:
    """Run the load; return the samples and the answers."""
    answers: Counter[str] = Counter()
    with TemporaryDirectory() as name, service(Path(name)) as (url, pid):
        began = time.monotonic()
        until = began + 60 * minutes
        work = [asyncio.create_task(client(url, until, seed, answers)) for seed in range(clients)]
        samples = []
        while time.monotonic() < until:
            await asyncio.sleep(min(60.0, 3 * minutes))
            samples.append(state(pid, (time.monotonic() - began) / 60, answers.total()))
            print(samples[-1], flush=True)
        await asyncio.gather(*work)
    return samples, answers


def report(samples: list[Sample], answers: Counter[str], options: argparse.Namespace) -> tuple[str, bool]:
    """Return the page, and whether everything stayed constant."""
    first = samples[len(samples) // 10 : max(len(samples) // 10 + 1, len(samples) * 2 // 10 + 1)]
    last = samples[-max(1, len(samples) // 3) :]
    rows, good = [], True
    for field in ("memory_mb", "files", "processes"):
        before, after = (median(getattr(one, field) for one in part) for part in (first, last))
        held = after <= GROWTH * before
        good &= held
        rows.append(f"| {field} | {before:.0f} | {after:.0f} | {'constant' if held else 'GREW'} |")
    unexpected = {
        name: count
        for name, count in answers.items()
        if not (name in ("stream end", "stream problem") or (name[-3:].isdigit() and int(name[-3:]) in EXPECTED))
    }
    good &= not unexpected
    table = "\n".join(f"| {name} | {count} |" for name, count in sorted(answers.items()))
    page = f"""# {options.title}

Written by `make soak` or `make load64`. {date.today().isoformat()}, {options.minutes:g} minutes, {options.clients}
clients, seed 0. Load average of the machine at the beginning and at the end: {options.load}.

| measure | begin | end | verdict |
|---|---|---|---|
{chr(10).join(rows)}

*Begin* is the median of the second tenth of the time, *end* that of the last third; up to 10 % growth is accepted.
Unexpected answers: {unexpected or "0"}.

| answer | count |
|---|---|
{table}
"""
    return page, good


def main() -> int:
    """Parse options, run, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--title", default="Soak test of the service")
    parser.add_argument("--output", type=Path, default=Path("docs/results/soak.md"))
    options = parser.parse_args()
    before = os.getloadavg()[0]
    result = asyncio.run(run(options.minutes, options.clients))
    options.load = f"{before:.1f}, {os.getloadavg()[0]:.1f}"
    page, good = report(*result, options)
    options.output.write_text(page)
    print(page)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
