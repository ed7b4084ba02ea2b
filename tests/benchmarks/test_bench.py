"""The benchmark runs from end to end on a small model, and its page says what its rows say."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is kilobytes on Linux")


@pytest.fixture(scope="module")
def output(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    options = ["--model", toy_model, "--length", "1", "--length", "2", "--rounds", "1", "--many", "3"]
    command = [sys.executable, BENCHMARKS / "bench.py", *options, "--work", folder / "clips", "--output", folder]
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return folder


def test_every_measurement_has_its_rows(output: Path) -> None:
    with (output / "benchmarks.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["measure"], row["scorer"], row["cores"], row["clip"]) for row in rows}
    assert len(found) == len(rows)
    ours, floor = "mtqnet toy", "decode + log-mel"
    wanted = {("speed", name, cores, clip) for name in (ours, floor) for cores in "12" for clip in ("1 s", "2 s")}
    wanted |= {("memory", name, "1", clip) for name in (ours, floor) for clip in ("1 s", "2 s")}
    wanted |= {("folder", ours, cores, "3 files") for cores in "12"}
    wanted |= {("stream", ours, "1", f"window {window} s") for window in (10, 5, 3)}
    wanted |= {("first score", ours, "1", "10 s"), ("installed", ours, "0", "")}
    assert found == wanted
    assert all(float(row["value"]) > 0 for row in rows)


def test_the_page_has_the_figures_and_their_ratios(output: Path) -> None:
    with (output / "benchmarks.csv").open(newline="") as stream:
        rows = {
            (r["measure"], r["scorer"], r["cores"], r["clip"]): float(r["value"]) for r in csv.DictReader(stream)
        }
    page = (output / "benchmarks.md").read_text()
    assert (output / "benchmarks.svg").stat().st_size > 1_000
    line = next(
        line for line in page.splitlines() if line.startswith("| mtqnet toy | decode + log-mel | time per")
    )
    ours, floor = (rows["speed", name, "1", "1 s"] for name in ("mtqnet toy", "decode + log-mel"))
    assert float(line.split("|")[-2]) == pytest.approx(floor / ours, rel=0.01)
    gain = rows["folder", "mtqnet toy", "2", "3 files"] / rows["folder", "mtqnet toy", "1", "3 files"]
    (line,) = (line for line in page.splitlines() if line.startswith("| mtqnet toy, 2 cores"))
    assert float(line.split("|")[-2]) == pytest.approx(gain, rel=0.01)
