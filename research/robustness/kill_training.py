"""Kill `mtqnet corpus build`, `train` and `finetune` at random moments and repeat them until they finish.

python -m research.robustness.kill_training --kills 20 --output docs/results/kills_training.md

Inputs are tiny: generated voices and noises, networks of a few hundred weights. The result must be that of an
undisturbed run: every file of the corpus, and the exported model, byte for byte.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf

from mtqnet.audio.resampling import resample
from research.robustness.kill_score import DELAY_S, GRACE_S, obey_interrupts, session, wait_for_changes
from research.robustness.soak import RECORDINGS

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KILLS_PER_RUN = 8
"""A run is completed without a further kill after so many"""
VOICES, NOISES, CLIPS = 48, 24, 12
SEED = 1
WITHOUT = (
    "missing",
    "DeepFilterNet",
    "ConvTasNet",
    "UlUnas",
    "LyraV2",
    "OpusNeural",
    "NeuralVocoder",
    "NeuralEnhancer",
)
"""Kinds of processing that are omitted: those without their tool, and those that take seconds to load"""
CONFIG = f"""
name = "tiny"
seed = 3
[corpus]
speech = ["speech"]
noise = ["noise"]
train = {CLIPS}
validation = 6
test = 4
unseen = 2
seed = {SEED}
without = [{", ".join(f'"{kind}"' for kind in WITHOUT)}]
[network]
front_ends = ["logmel"]
conv_channels = [2, 3]
time_strides = [4, 2]
band_strides = [4, 4]
lstm = 6
dense = 7
[teacher]
epochs = 6
batch = 8
[student]
epochs = 6
batch = 8
"""


@dataclass(frozen=True)
class Case:
    """A command that is killed."""

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    """Files and folders that it writes, relative to the folder of the run"""
    compared: tuple[str, ...]
    """Patterns of the files that are compared with those of an undisturbed run"""


CASES = (
    Case(
        "corpus build",
        ("corpus", "build", "--speech", "speech", "--noise", "noise", "--out", "corpus", "--clips", f"train={CLIPS}",
         "--clips", "validation=6", "--clips", "test=4", "--clips", "unseen=2", "--seed", str(SEED), "--jobs", "2",
         *(word for kind in WITHOUT for word in ("--without", kind))),
        ("corpus",),
        ("corpus/**/*",),
    ),
    Case(
        "train",
        ("train", "tiny.toml", "--data", ".", "--out", "run", "--corpus", "shared"),
        ("run",),
        ("run/model/*.onnx", "run/model/*.safetensors"),
    ),
    Case(
        "finetune",
        ("finetune", "ratings.csv", "--model", "small", "--by", "speaker", "--out", "mine", "--epochs", "3",
         "--force"),
        ("mine", "mine.work"),
        ("mine/*.onnx", "mine/*.safetensors"),
    ),
)  # fmt: skip


@dataclass
class Outcome:
    """Counts of one command."""

    changes: int
    """Changes of the files of an undisturbed run"""
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    different: int = 0
    processes: int = 0
    """Processes that were still there GRACE_S after a kill"""
    tracebacks: int = 0
    failed: int = 0
    """Completing runs with another exit code than 0"""


def make_material(folder: Path) -> None:
    """Write voices, noises, a configuration, and ratings."""
    speech, rate = sf.read(RECORDINGS / "1_clean.flac", dtype="float32")
    choice = np.random.default_rng(0)
    (folder / "speech").mkdir()
    (folder / "noise").mkdir()
    rows = []
    for number in range(VOICES):
        voice = resample(speech, rate, rate * choice.uniform(0.8, 1.25))
        voice = np.roll(voice, int(choice.integers(len(voice))))[: 4 * rate]
        name = f"speech/voice{number:02}.flac"
        sf.write(folder / name, voice, rate)
        if number < 20:
            rows.append({"file": name, "speaker": f"s{number // 2}", "g_mos": round(1.5 + 0.15 * number, 2)})
    for number in range(NOISES):
        noise = np.cumsum(choice.standard_normal(4 * rate)) if number % 2 else choice.standard_normal(4 * rate)
        noise -= np.convolve(noise, np.full(400, 1 / 400), "same")
        sf.write(folder / f"noise/noise{number:02}.flac", 0.1 * noise / np.abs(noise).max(), rate)
    (folder / "tiny.toml").write_text(CONFIG)
    with (folder / "ratings.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


ERRORS = "stderr.txt"


def start(folder: Path, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that its processes can be counted; messages go to ERRORS."""
    with (folder / ERRORS).open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "mtqnet", *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            preexec_fn=obey_interrupts,
        )


def digests(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Return the digests of the files that are compared."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    timed = (path for path in paths if path.suffix != ".time")  # durations of the build
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in timed}


def remove(folder: Path, names: tuple[str, ...]) -> None:
    """Remove the outputs of a command."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def undisturbed(folder: Path, case: Case) -> tuple[Outcome, dict[str, str]]:
    """Run a command without kills."""
    process = start(folder, case.arguments)
    changes = wait_for_changes(process, lambda: [folder / name for name in case.outputs], None)
    if process.wait():
        message = (folder / ERRORS).read_text(errors="replace")
        raise SystemExit(f"{case.name} ended with {process.returncode}: {message[-2000:]}")
    return Outcome(changes), digests(folder, case.compared)


def one_run(folder: Path, case: Case, outcome: Outcome, expected: dict[str, str], choice: random.Random) -> None:
    """Kill a command KILLS_PER_RUN times, complete it, and compare."""
    remove(folder, case.outputs)
    for kill in range(KILLS_PER_RUN + 1):
        process = start(folder, case.arguments)
        if kill < KILLS_PER_RUN:
            number = SIGNALS[kill % len(SIGNALS)]
            # Files change less often the more of them are there: the range of the random number shrinks.
            most = choice.randint(0, outcome.changes) // (kill + 1)
            wait_for_changes(process, lambda: [folder / name for name in case.outputs], most)
            time.sleep(choice.uniform(0.0, 5 * DELAY_S))
            if process.poll() is None:
                process.send_signal(number)
                outcome.kills[number.name] += 1
            else:  # it ended before the kill: begin again
                remove(folder, case.outputs)
        process.wait()
        message = (folder / ERRORS).read_text(errors="replace")
        traceback = "Traceback" in message and "/mtqnet/" in message
        outcome.tracebacks += traceback
        if traceback:
            print(message[-3000:], flush=True)
        if kill == KILLS_PER_RUN:
            outcome.failed += process.returncode != 0
            if process.returncode:
                print(case.name, process.returncode, message[-3000:], flush=True)
        deadline = time.monotonic() + GRACE_S
        while (left := session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        outcome.processes += len(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    outcome.runs += 1
    result = digests(folder, case.compared)
    outcome.different += result != expected
    for name in sorted(set(result) | set(expected)):
        if result.get(name) != expected.get(name):
            print("different:", case.name, name, flush=True)


def report(outcomes: dict[str, Outcome]) -> str:
    """Return the page of the results."""
    lines = [
        "# Kills of corpus building, training and fine-tuning",
        "",
        f"Measured on {date.today()} by `make kills`. Each command is killed up to {KILLS_PER_RUN} times, after a "
        f"random number of changes of its files, by {', '.join(number.name for number in SIGNALS)} in turn, repeated "
        "each time, and then completed. The files of the corpus, and the exported model, must be those of an "
        "undisturbed run, byte for byte.",
        "",
        "| command | kills | completed runs | different results | failed | processes left | tracebacks |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in outcomes.items():
        lines.append(
            f"| {name} | {one.kills.total()} | {one.runs} | {one.different} | {one.failed} "
            f"| {one.processes} | {one.tracebacks} |"
        )
    return "\n".join([*lines, ""])


def run(kills: int, output: Path, say: Callable[[str], None] = print) -> dict[str, Outcome]:
    """Kill every command at least `kills` times; write the page after each run."""
    outcomes: dict[str, Outcome] = {}
    expected: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_material(folder)
        for case in CASES:
            outcomes[case.name], expected[case.name] = undisturbed(folder, case)
            say(f"{case.name}: {outcomes[case.name].changes} changes, {len(expected[case.name])} files")
            if case.name == "corpus build":
                shutil.copytree(folder / "corpus", folder / "shared")
        choice = random.Random(0)
        while open_cases := [case for case in CASES if outcomes[case.name].kills.total() < kills]:
            for case in open_cases:
                one_run(folder, case, outcomes[case.name], expected[case.name], choice)
                output.write_text(report(outcomes), encoding="utf-8")
                say(f"{case.name}: {outcomes[case.name]}")
    return outcomes


def main() -> None:
    """Run, write the page, and exit with 1 if a result differed or something was left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="kills of each command")
    parser.add_argument("--output", type=Path, default=Path("docs/results/kills_training.md"))
    options = parser.parse_args()
    outcomes = run(options.kills, options.output)
    print(options.output.read_text(encoding="utf-8"))
    sys.exit(1 if any(o.different + o.failed + o.processes + o.tracebacks for o in outcomes.values()) else 0)


if __name__ == "__main__":
    main()
