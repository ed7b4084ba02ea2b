"""Measure this project's models and the peers on the same clips, in one run: make bench

    python benchmarks/bench.py --peers .venv-peers/bin/python --output docs

Writes benchmarks.md, .csv and .svg. Takes about half an hour on two cores, which should have nothing else to do.
"""

from __future__ import annotations

import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

import page
from measures import Plan, Row, Scorer, all_of
from mtqnet import __version__
from mtqnet.scoring import models

FLOOR = "decode + log-mel"
DISTILLMOS_S = 60.0
"""Seconds. A clip of 60 s takes 4 GB of memory, and attention grows with the square of the length."""


def scorers(names: list[str], peers: Path | None) -> list[Scorer]:
    """Models of ours, the floor beneath them, and the peers where their Python is there."""
    here = Path(sys.executable)
    ours = [Scorer(f"mtqnet {Path(name).stem}", "mtqnet", here, ("mtqnet",), name) for name in names]
    floor = Scorer(FLOOR, "floor", here, (), longest_s=60.0)
    if peers is None:
        return [*ours, floor]
    # speechmos does not say that it needs librosa and onnxruntime.
    dnsmos = Scorer("DNSMOS (speechmos)", "dnsmos", peers, ("speechmos", "librosa", "onnxruntime", "requests"))
    distilled = Scorer("Distill-MOS", "distillmos", peers, ("distillmos", "torch"), longest_s=DISTILLMOS_S)
    return [*ours, floor, dnsmos, distilled]


def machine() -> str:
    """What it ran on, and how busy that was."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    busy = f"load {os.getloadavg()[0]:.1f} at its end" if hasattr(os, "getloadavg") else "load not known"
    return (
        f"{date.today().isoformat()}, mtqnet {__version__}, {model}, {os.cpu_count()} cores, {busy}; "
        f"Python {platform.python_version()}, onnxruntime {version('onnxruntime')}, numpy {version('numpy')}. The "
        "peers run by their own code, in an environment of their own (peers.txt), on the same clips: the example "
        "recordings, cut to length. Scorers take turns, so that what else the machine does meets all of them."
    )


def main(
    model: Annotated[
        list[str] | None, typer.Option(help="A model; again for more.", show_default="shipped")
    ] = None,
    peers: Annotated[Path | None, typer.Option(help="Python of the peers; without it ours alone.")] = None,
    length: Annotated[list[float] | None, typer.Option(help="Of clips, s.", show_default="5 8 60 3600")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of which the median is taken.")] = 7,
    many: Annotated[int, typer.Option(min=2, help="Clips of the folder.")] = 500,
    work: Annotated[Path, typer.Option(help="Folder for the clips.")] = Path("runs/benchmarks"),
    output: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("docs"),
) -> None:
    """Measure, print each figure as it comes, and write the page."""
    plan = Plan(work, rounds=rounds, many=many)
    if length:
        plan = Plan(work, tuple(length), rounds=rounds, many=many)
    rows: list[Row] = []
    for row in all_of(scorers(model or list(models.shipped()), peers), plan):
        typer.echo(f"{row.measure:12} {row.scorer:20} {row.cores} {row.clip:12} {row.value:10.4g} {row.unit}")
        rows.append(row)
    page.write(rows, machine(), output)


if __name__ == "__main__":
    typer.run(main)
