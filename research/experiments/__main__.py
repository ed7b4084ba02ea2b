"""Run the paper's experiments: tables of configurations, each with several seeds, with intervals and paired tests.

    python -m research.experiments --table training --data ../shared/data
    python -m research.experiments --table training --data ../shared/data --results again --check docs/results

training: MPL compared with training from scratch and knowledge transfer. loss: Huber compared with other losses.
models: MTQ-Net compared with simple models and existing predictors. labels: how many clips need S/N/G labels.
levers: which hyperparameters make pseudo labels useful. recipe: the effect of each part of the shipped recipe.
Without --table, all six are run.

Each table writes TABLE.csv, TABLE.summary.csv, TABLE.md and pictures into --results. An interrupted run is
resumed; configurations that two tables share are run once. Needs mtqnet[train] and the tools of the corpus; the
table `models` also needs `make peers`.
"""

from __future__ import annotations

import datetime
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as RichTable

from mtqnet import __version__
from mtqnet.cli.terminal import Stage, reported_errors, stages
from mtqnet.errors import UsageError
from mtqnet.training.data import RunPaths, build_corpus
from research.experiments import pages, peer_table, plots, schedule, study, summary
from research.experiments.arms import SPLITS, Lab
from research.experiments.material import TESTS, Material
from research.experiments.pages import Facts
from research.experiments.study import Study, Table
from research.experiments.summary import MEAN, Summary


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    tables: tuple[str, ...]
    seeds: int
    configs: Path
    data: Path
    out: Path
    results: Path
    peers: Path
    check: Path | None
    jobs: int

    @property
    def peers_said(self) -> Path:
        """Table of the peers' scores of the tests"""
        return self.results / peer_table.NAME


def reproduce(options: Options) -> bool:
    """Run and write all tables; whether all figures lie within the intervals of `check`. Raises MtqnetError."""
    if unknown := [name for name in options.tables if name not in study.TABLES]:
        raise UsageError(f"no table {unknown[0]!r}: there are {', '.join(study.TABLES)}")
    asked = study.load(options.configs, tables(options))
    console = Console(stderr=True)
    with stages(console) as stage:
        lab = _lab(options, asked, stage)
        at = schedule.PeersAt(options.peers, options.peers_said)
        schedule.score_peers(lab, asked, at, options.jobs, stage)

        def told(name: str, seed: int, seconds: float) -> None:
            console.print(f"{name}, seed {seed}: {seconds:.0f} s", highlight=False)

        schedule.run_all(lab, asked, options.seeds, options.jobs, stage, told, options.peers)
    within = [_write(lab, table, options, console) for table in asked.tables.values()]
    return all(within)


def tables(options: Options) -> tuple[str, ...]:
    """The requested tables; by default all, or all that have figures to compare with.

    Raises UsageError where there are none, before hours of training.
    """
    if options.check is None:
        return options.tables or study.TABLES
    there = tuple(name for name in study.TABLES if summary.file(options.check, name).exists())
    missing = [summary.file(options.check, name) for name in options.tables or study.TABLES if name not in there]
    if missing and (options.tables or not there):
        raise UsageError(
            f"no {missing[0]} to check against: --check names a folder of results, such as docs/results"
        )
    return options.tables or there


def _lab(options: Options, asked: Study, stage: Stage) -> Lab:
    corpus = options.out / "corpus"
    build_corpus(asked.base.corpus, RunPaths(options.data, options.out, jobs=options.jobs), stage)
    material = Material(corpus, options.data, options.out / "features")
    return Lab(asked.base, material, options.out, material.digest())


def _write(lab: Lab, table: Table, options: Options, console: Console) -> bool:
    said = options.peers_said
    results = {name: schedule.results(lab, arm, options.seeds, said) for name, arm in table.arms.items()}
    tests = {split: lab.material.test(split) for split in SPLITS}
    made = summary.summarise(table, results, tests)
    summary.write(made, options.results, table.name)
    page = pages.page(table, made, _facts(lab, table, options))
    (options.results / f"{table.name}.md").write_text(page)
    train = len(lab.material.test("train").clips)
    labelled = {name: arm.labelled or train for name, arm in table.arms.items()}
    plots.draw(table, made, results, tests, labelled, options.results)
    Console().print(_overview(table, made))
    console.print(f"written: {options.results / table.name}.md, .csv, .summary.csv, .svg", highlight=False)
    return options.check is None or _compare(made, summary.file(options.check, table.name), console)


def _facts(lab: Lab, table: Table, options: Options) -> Facts:
    clips = {split: len(lab.material.test(split).clips) for split in ("train", *SPLITS)}
    minutes = schedule.seconds(lab, table, options.seeds) / 60
    words = [
        "python",
        "-m",
        "research.experiments",
        "--table",
        table.name,
        "--seeds",
        str(options.seeds),
        "--data",
        str(options.data),
    ]
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return Facts(clips, options.seeds, minutes, shlex.join(words), today, __version__)


def _overview(table: Table, made: Summary) -> RichTable:
    """Mean LCC of each arm, for a terminal."""
    shown = RichTable(
        "arm", *(pages.SAYS[test] for test in TESTS[:-1]), title=f"{table.title}: mean LCC over S, N, G"
    )
    for arm in table.arms:
        rows = [made.arm(arm, test, MEAN) for test in TESTS[:-1]]
        shown.add_row(arm, *(f"{row.lcc.mean:.3f} ± {row.lcc.half:.3f}" if row else "" for row in rows))
    return shown


def _compare(made: Summary, committed: Path, console: Console) -> bool:
    compared, outside = summary.departures(made, committed)
    for found in outside:
        place = f"{found.arm}, {found.target}, {found.split}"
        console.print(f"outside: {place}: LCC {found.now:.4f}, was {found.low:.4f} to {found.high:.4f}")
    console.print(f"{compared - len(outside)} of {compared} figures within the intervals of {committed}")
    return not outside


def main(
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="training, labels, models, loss, levers or recipe; may be repeated.", show_default="all"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings of each configuration.")] = 5,
    data: Annotated[Path, typer.Option(help="Folder of the sources that the configuration names.")] = Path(),
    out: Annotated[Path, typer.Option(help="Folder for corpus, features and runs.")] = Path("runs/reproduce"),
    results: Annotated[Path, typer.Option(help="Folder for tables and pictures.")] = Path("docs/results"),
    configs: Annotated[Path, typer.Option(help="Folder of base.toml and the tables.")] = Path("configs/reproduce"),
    peers: Annotated[
        Path, typer.Option(help="Python interpreter with speechmos and distillmos; see `make peers`.")
    ] = Path(".venv-peers/bin/python"),
    check: Annotated[
        Path | None,
        typer.Option(
            help="Folder of earlier results: exit with 1 if a figure is outside its interval. Without --table: all "
            "tables in it."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Number of processes; 0: one per core.")] = 0,
) -> None:
    """Run the paper's experiments."""
    options = Options(tuple(table or ()), seeds, configs, data, out, results, peers, check, jobs)
    with reported_errors():
        within = reproduce(options)
    raise typer.Exit(0 if within else 1)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(help=__doc__)(main)

if __name__ == "__main__":
    app(prog_name="python -m research.experiments")
