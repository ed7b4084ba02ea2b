"""The figures of a table: one for each run, and means with intervals and differences for each arm.

FOLDER/TABLE.csv           arm, split, target, seed, clips, lcc, srcc, mse
FOLDER/TABLE.summary.csv   arm, split, target, lcc with its interval; a row for each arm it is compared with:
                           less that arm, with its interval, and p
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.evaluation import seeds as figures
from mtqnet.evaluation.seeds import Array, Difference, Interval, Resampled
from mtqnet.targets import BY_KEY, QUEST, TARGETS, Target
from research.experiments.arms import SPLITS, Result
from research.experiments.material import RATED, Test
from research.experiments.study import Table

MEAN = "mean"
"""In place of a target: the mean over S-, N- and G-MOS"""
DECIMALS = 4


@dataclass(frozen=True)
class RunRow:
    """One seed, one target, one split. `mse` is None where truth is on another scale."""

    arm: str
    split: str
    target: str
    seed: str
    clips: int
    lcc: float
    srcc: float
    mse: float | None


@dataclass(frozen=True)
class ArmRow:
    """One arm, one target (or their mean), one split; all of LCC."""

    arm: str
    split: str
    target: str
    lcc: Interval
    less: Mapping[str, Difference]
    """By the arm that it is compared with, where that has such a target"""


@dataclass(frozen=True)
class Summary:
    """All figures of a table."""

    runs: list[RunRow]
    arms: list[ArmRow]

    def arm(self, arm: str, split: str, target: str) -> ArmRow | None:
        return next((r for r in self.arms if (r.arm, r.split, r.target) == (arm, split, target)), None)

    def over_seeds(self, arm: str, split: str, target: str) -> list[RunRow]:
        return [row for row in self.runs if (row.arm, row.split, row.target) == (arm, split, target)]


def summarise(table: Table, results: Mapping[str, Sequence[Result]], tests: Mapping[str, Test]) -> Summary:
    """Figures of a table. `results` contains those of each arm, a seed each."""
    runs = [row for arm in table.arms for row in _runs(arm, results[arm], tests)]
    arms = [row for split in SPLITS for row in _arms(table, split, results, tests[split])]
    return Summary(runs, arms)


def write(summary: Summary, folder: Path, name: str) -> None:
    """Both files."""
    folder.mkdir(parents=True, exist_ok=True)
    _csv(folder / f"{name}.csv", [f.name for f in fields(RunRow)], (_told(asdict(r)) for r in summary.runs))
    columns = ("arm", "split", "target", "lcc", "low", "high", "against", "less", "less_low", "less_high", "p")
    _csv(file(folder, name), columns, (_told(flat) for row in summary.arms for flat in _flat(row)))


def file(folder: Path, name: str) -> Path:
    """Where the means, intervals and differences of a table are."""
    return folder / f"{name}.summary.csv"


@dataclass(frozen=True)
class Departure:
    """A figure outside the interval of the one that was committed."""

    arm: str
    split: str
    target: str
    now: float
    low: float
    high: float


def departures(summary: Summary, committed: Path) -> tuple[int, list[Departure]]:
    """How many figures of a committed TABLE.summary.csv were compared, and which of today's lie outside."""
    now = {(row.arm, row.split, row.target): row.lcc.mean for row in summary.arms}
    with committed.open(newline="") as stream:
        told = {(row["arm"], row["split"], row["target"]): row for row in csv.DictReader(stream)}
    rows = {place: row for place, row in told.items() if place in now}
    outside = []
    for place, row in rows.items():
        ends = float(row["low"]), float(row["high"])
        if not ends[0] <= now[place] <= ends[1]:
            outside.append(Departure(*place, now[place], *ends))
    return len(rows), outside


def _runs(arm: str, results: Sequence[Result], tests: Mapping[str, Test]) -> Iterable[RunRow]:
    for split, test in tests.items():
        is_mos = _is_mos(split)
        for number, result in enumerate(results, start=1):
            for key, score in result.scores.get(split, {}).items():
                if key not in test.truth:
                    continue
                found = figures.measure(BY_KEY[key], test.truth[key], score, is_mos)
                seed = str(number) if len(results) > 1 else "all"
                mse = found.mse if is_mos else None
                clips = int(np.count_nonzero(~np.isnan(score)))
                yield RunRow(arm, split, key, seed, clips, found.lcc, found.srcc, mse)


def _arms(table: Table, split: str, results: Mapping[str, Sequence[Result]], test: Test) -> Iterable[ArmRow]:
    for label, targets in (*((t.key, (t,)) for t in TARGETS), (MEAN, QUEST)):
        lcc = partial(figures.mean_lcc, targets, test.truth, is_mos=_is_mos(split))
        made = {
            arm: _Figure(runs, figures.scored(targets, runs), lcc(runs))
            for arm, found in results.items()
            if (runs := _said(targets, test, split, found))
        }
        for arm, figure in made.items():
            others = [other for other in table.against(arm) if other in made]
            less = {other: _less(figure, made[other], lcc) for other in others}
            yield ArmRow(arm, split, label, figures.interval(figure.lcc), less)


@dataclass(frozen=True)
class _Figure:
    """LCC of one arm, on the clips that it scores, (clips,)."""

    runs: list[Mapping[str, Array]]
    clips: NDArray[np.bool_]
    lcc: Resampled


def _said(
    targets: Sequence[Target], test: Test, split: str, results: Sequence[Result]
) -> list[Mapping[str, Array]]:
    """Scores of each run; none where the arm lacks one of the targets, or the test has no truth for it."""
    runs = [result.scores.get(split, {}) for result in results]
    return runs if all(t.key in test.truth and t.key in run for t in targets for run in runs) else []


def _less(one: _Figure, other: _Figure, lcc: Callable[..., Resampled]) -> Difference:
    """One arm less another, on the clips that both score: peers score a part of them."""
    pair = (
        own.lcc if (own.clips <= beside.clips).all() else lcc(own.runs, clips=beside.clips)
        for own, beside in ((one, other), (other, one))
    )
    return figures.difference(*pair)


def _is_mos(split: str) -> bool:
    return split not in RATED or RATED[split].is_mos


def _flat(row: ArmRow) -> list[dict[str, Any]]:
    """A line for each arm that it is compared with, or one."""
    lines: Sequence[tuple[str, Difference | None]] = list(row.less.items()) or [("none", None)]
    place = {"arm": row.arm, "split": row.split, "target": row.target}
    figure = {"lcc": row.lcc.mean, "low": row.lcc.low, "high": row.lcc.high}
    return [
        place | figure | {
            "against": against, "less": less.mean if less else None, "less_low": less.low if less else None,
            "less_high": less.high if less else None, "p": less.p if less else None,
        }
        for against, less in lines
    ]  # fmt: skip


def _told(row: Mapping[str, Any]) -> list[str]:
    """Cells as text; `n/a` where there is no figure, so that no cell is empty."""
    return [_cell(value) for value in row.values()]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return f"{np.round(value, DECIMALS):.{DECIMALS}f}" if isinstance(value, float) else str(value)


def _csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    partial = path.with_suffix(".tmp")
    with partial.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)
