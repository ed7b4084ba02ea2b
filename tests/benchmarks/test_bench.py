"""The complete benchmark runs on a small model, and its page contains the figures of its rows."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is kilobytes on Linux")


@pytest.fixture(scope="module")
def output(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    options = ["--model", toy_model, "--length", "1", "--length", "2", "--rounds", "1"]
    options += ["--many", "3", "--longest", "3"]
    command = [sys.executable, BENCHMARKS / "bench.py", *options, "--work", folder / "clips", "--output", folder]
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return folder


def test_every_measurement_has_its_rows(output: Path) -> None:
    with (output / "benchmarks.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["measure"], row["scorer"], row["cores"], row["clip"]) for row in rows}
    assert len(found) == len(rows)
    ours, floor = "mtqnet toy", "decode + log-mel"
    wanted = {("clips", name, cores, clip) for name in (ours, floor) for cores in "12" for clip in ("1 s", "2 s")}
    wanted |= {("memory", name, "1", clip) for name in (ours, floor) for clip in ("1 s", "2 s", "3 s")}
    wanted |= {("same bytes", ours, cores, "3 runs") for cores in "12"} | {("same bytes", ours, "0", "any jobs")}
    wanted |= {("folder", ours, cores, "3 files") for cores in "12"}
    wanted |= {("streams", ours, "1", f"window {window} s") for window in (10, 5, 3)}
    wanted |= {("first", ours, "1", "10 s"), ("installed", ours, "0", "")}
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
    ours, floor = (rows["clips", name, "1", "1 s"] for name in ("mtqnet toy", "decode + log-mel"))
    assert float(line.split("|")[-2]) == pytest.approx(floor / ours, rel=0.01)
    gain = rows["folder", "mtqnet toy", "2", "3 files"] / rows["folder", "mtqnet toy", "1", "3 files"]
    (line,) = (line for line in page.splitlines() if line.startswith("| mtqnet toy, 2 cores"))
    assert float(line.split("|")[-2]) == pytest.approx(gain, rel=0.01)


def test_a_part_that_is_measured_again_replaces_its_rows_alone(
    output: Path, toy_model: Path, tmp_path: Path
) -> None:
    for file in output.glob("benchmarks.*"):
        shutil.copy(file, tmp_path)
    with (tmp_path / "benchmarks.csv").open("a") as stream:
        stream.write("installed,an older name,0,,5,MB,2020-01-01 00:00\n")
    command = [sys.executable, BENCHMARKS / "bench.py", "--model", toy_model, "--only", "installed"]
    command += ["--work", tmp_path / "clips", "--output", tmp_path]
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    before, after = (_rows(folder / "benchmarks.csv") for folder in (output, tmp_path))
    assert [row for row in after if row["measure"] == "installed"] == [after[-1]]
    kept = [{**row} for row in before if row["measure"] != "installed"]
    assert after[:-1] == kept


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))
