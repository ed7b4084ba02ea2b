"""What a cluster costs and gains, into docs/results/cluster.md and docs/results/scale: make scale

    python benchmarks/scale.py --files 5000 --timed-files 3000 --output docs

Five parts, each of which can be run alone (--part); the figures of the others are kept:
    cluster     rows are complete after the loss of a node; other load on the machine is allowed
    ddp         two processes train as one does; the same
    cost        seconds of processor; nearly the same
    speed       two workers, one, the plain command: on an idle machine, for some eight minutes on two cores
    simulation  of the figures above
Ends with exit code 1 where the speed is not what was promised.
"""

from __future__ import annotations

import csv
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

import scale_cluster
import scale_cost
import scale_ddp
import stragglers
from figures import Figure
from scale_cost import Cost

PARTS = ("cluster", "ddp", "cost", "speed", "simulation")
HOURS = 1_000_000
CALL_S = 60.0
"""Length of the recordings of a million hours"""
CORE_HOUR = 0.04
"""US dollars; about what a core of a general machine costs on demand, a third of it on the spot market"""
SIZES = (16, 64, 256, 1024, 4096)
SEEDS = 5


def main(
    part: Annotated[list[str] | None, typer.Option(help=f"{', '.join(PARTS)}; may be repeated.")] = None,
    files: Annotated[int, typer.Option(min=8, help="Recordings that are scored on the cluster.")] = 5000,
    timed_files: Annotated[int, typer.Option(min=8, help="Recordings that are scored against the clock.")] = 3000,
    model: Annotated[str, typer.Option()] = "base",
    rounds: Annotated[int, typer.Option(min=1, help="Of the cost, of which the least is taken.")] = 5,
    work: Annotated[Path, typer.Option(help="Folder for the recordings.")] = Path("runs/scale"),
    output: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("docs"),
) -> None:
    """Measure, and write tables and page."""
    wanted = part or list(PARTS)
    results = output / "results/scale"
    results.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    counts = {"cluster": f" FILES={files}", "speed": f" TIMED={timed_files}"}
    missed: list[str] = []
    for name in (name for name in PARTS if name in wanted):
        load = os.getloadavg()[0]
        rows: Sequence[Any]
        match name:
            case "cluster":
                rows = list(scale_cluster.demonstration(work, files, model))
            case "ddp":
                rows, curves = scale_ddp.measure(work)
                _write(results / "ddp_curves.csv", curves)
            case "cost":
                rows = scale_cost.measure(work, CALL_S, rounds)
            case "speed":
                rows = list(scale_cluster.speed(work, timed_files, model))
                missed = scale_cluster.missed(rows)
            case _:
                rows = simulated(results)
        _write(results / f"{name}.csv", rows)
        (results / f"{name}.txt").write_text(_stamp_of(name, load, counts))
    write_page(output / "results/cluster.md", results)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    raise typer.Exit(1 if missed else 0)


def _stamp_of(name: str, load: float, counts: Mapping[str, str]) -> str:
    """Day, machine, and the command that measures this part alone."""
    command = f"make scale PARTS={name}{counts.get(name, '')}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before"
    return f"{date.today().isoformat()}, {machine}: `{command}`\n"


def simulated(results: Path) -> list[dict[str, Any]]:
    """The run of a million hours on a thousand workers, by size of shard, mean of some seeds."""
    cost, figures = read_costs(results), read_figures(results)
    recordings = round(HOURS * 3600 / CALL_S)
    hour_s = scale_cost.hourly(cost, seconds=CALL_S)
    rows: list[dict[str, Any]] = []
    for share, count in (("all", recordings), ("a thousandth", recordings // 1000)):
        for size in SIZES:
            work = stragglers.Work(
                count, hour_s * CALL_S / 3600, size,
                shard_s=figures.get("a shard, without scoring", stragglers.Work.shard_s),
                start_s=figures.get("start of the workers", stragglers.Work.start_s),
                hand_out_s=figures.get("a shard, of the driver", stragglers.Work.hand_out_s),
                killer_s=figures.get("a file that kills its reader", stragglers.Work.killer_s),
            )  # fmt: skip
            runs = [stragglers.simulate(work, stragglers.Fleet(), seed) for seed in range(SEEDS)]
            rows.append({
                "work": share, "shard_size": size, "shards": work.shards,
                "hours": round(sum(run.took_s for run in runs) / SEEDS / 3600, 3),
                "efficiency": round(sum(run.efficiency for run in runs) / SEEDS, 4),
                "lost_nodes": round(sum(run.lost_nodes for run in runs) / SEEDS, 1),
                "lost_share": round(sum(run.lost_s / run.took_s for run in runs) / SEEDS / 1000, 6),
                "tail_s": round(sum(run.tail_s for run in runs) / SEEDS, 1),
            })  # fmt: skip
    return rows


def read_costs(results: Path) -> list[Cost]:
    rows = _read(results / "cost.csv")
    return [Cost(r["stage"], r["kind"], float(r["cpu_s"]), r["unit"], float(r["megabytes"])) for r in rows]


def read_figures(results: Path) -> dict[str, float]:
    found = [row for name in ("cluster", "speed") for row in _read(results / f"{name}.csv")]
    return {row["measure"]: float(row["value"]) for row in found}


def write_page(page: Path, results: Path) -> None:
    """Insert the measurements between the marks of the page; the text around them is kept."""
    text = page.read_text(encoding="utf-8")
    for name, lines in blocks(results).items():
        made = "\n".join([f"<!-- {name} -->", "", *lines, "", f"<!-- /{name} -->"])
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        assert found and end in rest, f"{page} has no place for {name}"
        text = before + made + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")


def blocks(results: Path) -> dict[str, list[str]]:
    """Text between the marks, by name, without parts that were not measured."""
    made: dict[str, list[str]] = {}
    costs = read_costs(results)
    if costs:
        rows = [
            (c.stage, c.kind, f"{c.cpu_s:.3g}", c.unit, "" if c.megabytes != c.megabytes else f"{c.megabytes:.0f}")
            for c in costs
        ]
        made["cost"] = [_stamp(results, "cost"), "", *_table(("stage", "of", "CPU s", "for", "MB an hour"), rows)]
        made["million"] = _million(costs)
    for name in ("cluster", "ddp", "speed"):
        figures = _read(results / f"{name}.csv")
        if figures:
            told = [(row["measure"], f"{float(row['value']):.4g}", row["unit"]) for row in figures]
            made[name] = [_stamp(results, name), "", *_table(("measure", "value", "unit"), told)]
    simulation = _read(results / "simulation.csv")
    if simulation:
        made["simulation"] = [
            _stamp(results, "simulation"),
            "",
            *_table(tuple(simulation[0]), [tuple(row.values()) for row in simulation]),
        ]
    return made


def _million(costs: Sequence[Cost]) -> list[str]:
    rows = []
    for kind in scale_cost.FORMATS:
        size = next(c.megabytes for c in costs if c.kind == kind)
        core_hours = scale_cost.hourly(costs, kind, CALL_S) * HOURS / 3600
        rows.append(
            (
                kind,
                f"{core_hours:,.0f}",
                f"{core_hours * CORE_HOUR:,.0f}",
                f"{core_hours / 1000:.1f}",
                f"{size * HOURS / 1e6:,.0f}",
            )
        )
    return _table(("recordings", "core hours", f"US$ at {CORE_HOUR}", "hours on 1,000 cores", "TB read"), rows)


def _stamp(results: Path, name: str) -> str:
    return f"Measured {(results / f'{name}.txt').read_text().strip()}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]


def _write(path: Path, rows: Sequence[Cost | Figure | dict[str, Any]]) -> None:
    records = [row if isinstance(row, dict) else asdict(row) for row in rows]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({n: f"{v:.6g}" if isinstance(v, float) else v for n, v in row.items()} for row in records)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    typer.run(main)
