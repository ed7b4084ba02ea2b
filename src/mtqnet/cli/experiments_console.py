"""`mtqnet reproduce`: runs the tables, writes their figures, pages and pictures, and says how it goes."""

from __future__ import annotations

import datetime
import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from mtqnet import __version__
from mtqnet.cli.bars import Stage, stages
from mtqnet.errors import UsageError
from mtqnet.experiments import pages, peer_table, plots, schedule, study, summary
from mtqnet.experiments.arms import SPLITS, Lab
from mtqnet.experiments.material import TESTS, Material
from mtqnet.experiments.pages import Facts
from mtqnet.experiments.study import Study, Table
from mtqnet.experiments.summary import MEAN, Summary
from mtqnet.training.prepare import Place, build_corpus


@dataclass(frozen=True)
class Options:
    """What `mtqnet reproduce` was asked for."""

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
        """Table of what the peers said of the tests"""
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
    """Those that were asked for; else all, or all that there are figures to check against.

    Raises UsageError where there are none: told now, not after hours of trainings.
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
    build_corpus(asked.base.corpus, Place(options.data, options.out, jobs=options.jobs), stage)
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
        "mtqnet",
        "reproduce",
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
