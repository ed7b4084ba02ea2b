"""Kill `mtqnet score` at random moments and resume it: the table must be that of an undisturbed run.

python -m research.robustness.kill_score --kills 24 --output docs/results/kills_score.md
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile as sf

from mtqnet.scoring.tables import SUFFIXES
from research.robustness.soak import RECORDINGS

COPIES = 2
"""Recordings that are cut from each example"""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KILLS_PER_RUN = 6
"""A table is completed without a further kill after so many"""
ERRORS = "stderr.txt"
POLL_S = 0.05
DELAY_S = 0.2
"""Most seconds between the change that a kill waits for, and the kill"""
GRACE_S = 20.0
"""Seconds that processes may take to end after their parent"""


@dataclass
class Outcome:
    """Counts of one format and signal."""

    kills: int = 0
    tables: int = 0
    different: int = 0
    processes: int = 0
    """Processes that were still there GRACE_S after a kill"""
    files: int = 0
    """Temporary files that were still there when the table was complete"""
    tracebacks: int = 0
    codes: Counter[int] = field(default_factory=Counter)


def make_recordings(folder: Path) -> None:
    """Write recordings of different length, and three files that cannot be decoded."""
    folder.mkdir()
    for path in sorted(RECORDINGS.glob("*.flac")):
        samples, rate = sf.read(path, dtype="float32")
        for number in range(COPIES):
            sf.write(folder / f"{path.stem}_{number:02}.wav", samples[: rate + number * rate // 4], rate)
    for number in range(3):
        (folder / f"damaged_{number}.wav").write_bytes(b"RIFFxxxx")


def start(folder: Path, table: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, so that its processes can be counted; messages go to ERRORS."""
    command = [sys.executable, "-m", "mtqnet", "score", str(folder), "-o", str(table), "-m", "small"]
    with (table.parent / ERRORS).open("wb") as errors:
        return subprocess.Popen(
            [*command, *options],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            preexec_fn=obey_interrupts,
        )


def obey_interrupts() -> None:
    """A shell lets its background jobs ignore SIGINT, and `nohup` SIGHUP; so would the command."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def states(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return size and modification time of each file in these files and folders."""
    found = []
    for path in paths:
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            with suppress(OSError):
                status = file.stat()
                found.append((str(file), status.st_size, status.st_mtime_ns))
    return sorted(found)


def wait_for_changes(
    process: subprocess.Popen[bytes], paths: Callable[[], Iterable[Path]], most: int | None
) -> int:
    """Wait until the files of a process changed so many times, or it ended; return the number of changes.

    A kill after a number of changes, unlike one after a time, hits the work of a process also on a busy machine.
    """
    before, changes = states(paths()), 0
    while process.poll() is None and (most is None or changes < most):
        time.sleep(POLL_S)
        now = states(paths())
        changes += now != before
        before = now
    return changes


def content(table: Path) -> object:
    """Return the rows of a Parquet file, whose bytes depend on row groups, or the bytes of another table."""
    if table.suffix != ".parquet":
        return table.read_bytes()
    import pyarrow.parquet as pq

    return pq.read_table(table).to_pylist()


def session(number: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def output_of(table: Path) -> list[Path]:
    """Return the files of a table: itself, and hidden ones next to it."""
    return [path for path in table.parent.iterdir() if table.name in path.name]


def one_table(
    folder: Path, table: Path, expected: object, number: signal.Signals, outcome: Outcome, most: int
) -> None:
    """Score into a table with KILLS_PER_RUN kills after up to `most` changes, complete it, and compare."""
    choice = random.Random(f"{table} {number} {outcome.tables}")
    jobs = str(1 + outcome.tables % 2)  # a copy of the command, or two new interpreters
    for kill in range(KILLS_PER_RUN + 1):
        process = start(folder, table, "--resume", "--jobs", jobs)
        if kill < KILLS_PER_RUN:
            wait_for_changes(process, lambda: output_of(table), choice.randint(0, most) // (kill + 1))
            time.sleep(choice.uniform(0.0, DELAY_S))
            if process.poll() is None:
                process.send_signal(number)
                outcome.kills += 1
        process.wait()
        deadline = time.monotonic() + GRACE_S
        while (left := session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        outcome.processes += len(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        message = (table.parent / ERRORS).read_text(errors="replace")
        if "Traceback" in message or process.returncode not in (0, 1, 130, 143, -number):
            print(kill, number.name, process.returncode, message[-2000:], flush=True)
        outcome.codes[process.returncode] += 1
        # A traceback without a file of the package is that of an interpreter that was still starting.
        outcome.tracebacks += "Traceback" in message and "/mtqnet/" in message
    outcome.tables += 1
    outcome.different += not table.exists() or content(table) != expected
    rest = {path.name for path in table.parent.glob(f".{table.name}*")} - {f".{table.name}.sources.jsonl"}
    outcome.files += len(rest)


def run(kills: int, output: Path) -> dict[tuple[str, str], Outcome]:
    """Kill runs of every format with every signal, at least `kills` times in all; write the page after each table."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    with TemporaryDirectory() as name:
        root = Path(name)
        make_recordings(root / "in")
        expected, most = {}, {}
        (root / "expected").mkdir()
        for suffix in SUFFIXES:
            table = root / "expected" / f"t{suffix}"
            process = start(root / "in", table)
            most[suffix] = wait_for_changes(process, partial(output_of, table), None)
            expected[suffix] = content(table)
        while sum(outcome.kills for outcome in outcomes.values()) < kills:
            for suffix in SUFFIXES:
                for number in SIGNALS:
                    outcome = outcomes.setdefault((suffix, number.name), Outcome())
                    (root / "out").mkdir()
                    table = root / "out" / f"t{suffix}"
                    one_table(root / "in", table, expected[suffix], number, outcome, most[suffix])
                    shutil.rmtree(root / "out")
                    output.write_text(report(outcomes), encoding="utf-8")
    return outcomes


def report(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """Return the page of the results."""
    lines = [
        "# Kills of `mtqnet score`",
        "",
        f"Measured on {date.today()} by `make kills`. The command scores {7 * COPIES + 3} recordings with one or two "
        f"processes, is killed after a random number of changes of its files, resumed and killed again up to "
        f"{KILLS_PER_RUN} times, and completed with `--resume`. The table must be that of an undisturbed run. Kills: "
        f"{sum(one.kills for one in outcomes.values())}.",
        "",
        "| format | signal | kills | tables | different tables | processes left | files left | tracebacks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (suffix, name), one in outcomes.items():
        lines.append(
            f"| {suffix} | {name} | {one.kills} | {one.tables} | {one.different} | {one.processes} | {one.files} "
            f"| {one.tracebacks} |"
        )
    lines += [
        "",
        "Exit codes: a run that is killed ends by its signal, or with 130 (SIGINT) or 143 (SIGTERM). A run that ends "
        "by itself ends with 1, because three files cannot be decoded; so does a Python interpreter that is "
        "interrupted by SIGINT while it starts.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run, write the page, and exit with 1 if a row was lost or something was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path("docs/results/kills_score.md"))
    options = parser.parse_args()
    outcomes = run(options.kills, options.output)
    print(options.output.read_text(encoding="utf-8"))
    faults = sum(o.different + o.processes + o.files + o.tracebacks for o in outcomes.values())
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
