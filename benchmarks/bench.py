"""Measure this project's models and the peers on the same clips, in one run: make bench

    python benchmarks/bench.py --peers .venv-peers/bin/python --output docs
    python benchmarks/bench.py --peers .venv-peers/bin/python --output docs --only memory,folder

Writes benchmarks.md, .csv and .svg, and states for each target whether it is met. Takes about a quarter of an hour on
two idle cores. With --only, the other figures are those in benchmarks.csv.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

import measures
import page
from bars import BASE, DISTILLMOS, DNSMOS, FLOOR, SMALL, bars, cells
from folders import folder
from measures import Plan, Row, Scorer
from mtqnet import __version__
from mtqnet.scoring import models

MEASURES: dict[str, Callable[[Sequence[Scorer], Plan], Iterator[Row]]] = {
    "clips": measures.speed,
    "memory": measures.memory,
    "first": measures.first_score,
    "folder": folder,
    "streams": measures.streams,
    "installed": measures.installed,
}
BESIDE = {"folder": ("same bytes",)}
"""What comes with a measure"""
DISTILLMOS_S = 60.0
"""Seconds. A clip of 60 s takes 4 GB of memory, and attention grows with the square of the length."""


def scorers(names: list[str], peers: Path | None) -> list[Scorer]:
    """Models of ours, the floor beneath them, and the peers where their Python is there."""
    here = Path(sys.executable)
    ours = [Scorer(f"mtqnet {Path(name).stem}", "mtqnet", here, ("mtqnet",), name) for name in names]
    floor = Scorer(FLOOR, "floor", here, (), longest_s=60.0)
    if peers is None:
        return [*ours, floor]
    # speechmos does not declare its dependencies librosa and onnxruntime.
    dnsmos = Scorer(DNSMOS, "dnsmos", peers, ("speechmos", "librosa", "onnxruntime", "requests"))
    distilled = Scorer(DISTILLMOS, "distillmos", peers, ("distillmos", "torch"), longest_s=DISTILLMOS_S)
    return [*ours, floor, dnsmos, distilled]


def machine() -> str:
    """What it runs on."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return (
        f"mtqnet {__version__}, {model}, {os.cpu_count()} cores; Python {platform.python_version()}, onnxruntime "
        f"{version('onnxruntime')}, numpy {version('numpy')}. DNSMOS (package speechmos) and Distill-MOS run with "
        "their own code in a separate environment (`peers.txt`). All models score the same clips, which are example "
        "recordings cut to the stated length, in turn, so that other load of the machine affects all of them."
    )


def now() -> str:
    """Return the time and the load of the machine."""
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{datetime.now():%Y-%m-%d %H:%M}{busy}"


def chosen(only: str) -> list[str]:
    """Names of measures from a list with commas; all for an empty one."""
    names = [name.strip() for name in only.split(",") if name.strip()] or list(MEASURES)
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise typer.BadParameter(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    return names


def main(
    model: Annotated[
        list[str] | None, typer.Option(help="A model; again for more.", show_default="shipped")
    ] = None,
    peers: Annotated[Path | None, typer.Option(help="Python of the peers; without it ours alone.")] = None,
    only: Annotated[str, typer.Option(help=f"Of {','.join(MEASURES)}.", show_default="all")] = "",
    length: Annotated[
        list[float] | None, typer.Option(help="Of clips, s.", show_default="5 6 8 10 60 3600")
    ] = None,
    longest: Annotated[float, typer.Option(help="Of the clip for memory, s.")] = Plan.longest_s,
    rounds: Annotated[int, typer.Option(min=1, help="Of which the median is taken.")] = 7,
    many: Annotated[int, typer.Option(min=2, help="Clips of the folder.")] = 500,
    work: Annotated[Path, typer.Option(help="Folder for the clips.")] = Path("runs/benchmarks"),
    output: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("docs"),
) -> None:
    """Measure, print each figure as it comes, write the page, and print each bar's verdict."""
    plan = Plan(work, tuple(length) if length else Plan.lengths_s, longest, rounds=rounds, many=many)
    entrants = scorers(model or list(models.shipped()), peers)
    rows = page.read(output)
    for name in chosen(only):
        began = now()
        rows = [row for row in rows if row.measure not in (name, *BESIDE.get(name, ()))]
        for row in MEASURES[name](entrants, plan):
            typer.echo(f"{row.measure:12} {row.scorer:20} {row.cores} {row.clip:12} {row.value:10.4g} {row.unit}")
            rows.append(replace(row, run=began))
        page.write(rows, machine(), output)  # after each, so that a run that is cut short is not lost
    for bar in bars(rows):
        says, figure, limit, verdict = cells(bar)
        typer.echo(f"{verdict:13} {says}: {figure or '-'} ({limit})")
    for name in (BASE, SMALL):
        if all(row.scorer != name for row in rows):
            typer.echo(f"No figures of {name}: it is not shipped with this version, nor named by --model.")


if __name__ == "__main__":
    typer.run(main)
