"""Run the coverage-guided fuzzer on every target: `python -m research.fuzz --seconds 300` (make fuzz).

The page lists how many inputs were tried. An input that fails ends the run of its target and is stored in the folder.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

from research.fuzz.inputs import TARGETS


def main() -> int:
    """Run the targets one after the other and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300, help="time for each target")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/fuzz.md"))
    options = parser.parse_args()
    lines, failed = [], 0
    for name in TARGETS:
        folder = options.folder / name
        command = [sys.executable, "-m", "research.fuzz.coverage", name, str(options.seconds), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        found = re.search(r"Done (\d+) runs? in (\d+) second", done.stderr + done.stdout)
        edges = re.findall(r"cov: (\d+)", done.stderr + done.stdout)
        runs, seconds = found.groups() if found else ("?", "?")
        failed += done.returncode != 0
        outcome = "no failure" if done.returncode == 0 else f"failed, see {folder}"
        lines.append(f"| {name} | {runs} | {seconds} s | {edges[-1] if edges else '?'} | {outcome} |")
        print(lines[-1], done.stderr[-1500:] if done.returncode else "", flush=True)
    page = [
        "# Fuzzing",
        "",
        f"Written by `make fuzz` on {date.today()}. Coverage-guided (atheris), from small valid inputs. *Audio*: "
        "reading and analysis. *Table*: tables of ratings and of scores. *Record*: the JSON file of a model, "
        "which states its targets, features and calibration, and its ONNX graph. "
        "*Messages*: the WebSocket of the service. The tests call the same functions with mutated inputs (hypothesis).",
        "",
        "| target | inputs | time | covered branches | outcome |",
        "|---|---|---|---|---|",
        *lines,
        "",
    ]
    options.output.write_text("\n".join(page), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
