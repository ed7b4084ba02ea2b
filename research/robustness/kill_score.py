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
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile as sf

from mtqnet.scoring.tables import SUFFIXES
from research.robustness.soak import RECORDINGS

COPIES = 12
"""Recordings that are cut from each example"""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLS_PER_RUN = 2
"""A table is completed without a further kill after so many"""
GRACE_S = 5.0
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


def start(folder: Path, table: Path, *options: str) -> subprocess.Popen[str]:
    """Start the command in a session of its own, so that its processes can be counted."""
    command = [
        sys.executable,
        "-m",
        "mtqnet",
        "score",
        str(folder),
        "-o",
        str(table),
        "-m",
        "small",
        "--jobs",
        "2",
    ]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, *options],
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        preexec_fn=obey_interrupts,
    )


def obey_interrupts() -> None:
    """A shell lets its background jobs ignore SIGINT, and so would the command."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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


def one_table(
    folder: Path, table: Path, expected: object, number: signal.Signals, outcome: Outcome, longest_s: float
) -> None:
    """Score into a table with KILLS_PER_RUN kills within `longest_s`, complete it, and compare."""
    choice = random.Random(f"{table} {number} {outcome.tables}")
    for kill in range(KILLS_PER_RUN + 1):
        process = start(folder, table, "--resume")
        if kill == KILLS_PER_RUN:
            message = process.communicate()[1]
        else:
            time.sleep(choice.uniform(0.3, longest_s))
            if process.poll() is None:
                process.send_signal(number)
                outcome.kills += 1
            message = process.communicate()[1]
            deadline = time.monotonic() + GRACE_S
            while (left := session(process.pid)) and time.monotonic() < deadline:
                time.sleep(0.05)
            outcome.processes += len(left)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        outcome.codes[process.returncode] += 1
        outcome.tracebacks += "Traceback" in message
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
        expected, seconds = {}, 0.0
        for suffix in SUFFIXES:
            began = time.monotonic()
            start(root / "in", root / f"expected{suffix}").communicate()
            seconds = time.monotonic() - began
            expected[suffix] = content(root / f"expected{suffix}")
        while sum(outcome.kills for outcome in outcomes.values()) < kills:
            for suffix in SUFFIXES:
                for number in SIGNALS:
                    outcome = outcomes.setdefault((suffix, number.name), Outcome())
                    (root / "out").mkdir()
                    table = root / "out" / f"t{suffix}"
                    one_table(root / "in", table, expected[suffix], number, outcome, seconds)
                    shutil.rmtree(root / "out")
                    output.write_text(report(outcomes, seconds), encoding="utf-8")
    return outcomes


def report(outcomes: dict[tuple[str, str], Outcome], seconds: float) -> str:
    """Return the page of the results."""
    lines = [
        "# Kills of `mtqnet score`",
        "",
        f"Measured on {date.today()} by `make kills`. The command scores {7 * COPIES + 3} recordings with two "
        f"processes ({seconds:.0f} s undisturbed), is killed at a random moment, resumed, killed again and completed "
        "with `--resume`. The table must be that of an undisturbed run.",
        "",
        "| format | signal | kills | tables | different tables | processes left | files left | tracebacks | codes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (suffix, name), one in outcomes.items():
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(one.codes.items()))
        lines.append(
            f"| {suffix} | {name} | {one.kills} | {one.tables} | {one.different} | {one.processes} | {one.files} "
            f"| {one.tracebacks} | {codes} |"
        )
    lines += ["", "The last run of each table ends with exit code 1, because three files cannot be decoded.", ""]
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
