"""What people see: tables, colours, the progress bar, the one red line. The verbs of cli.py call this.

Results go to stdout, everything said on the way to stderr, so that a pipe carries results alone.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from mtqnet.errors import MtqnetError
from mtqnet.scoring import batch, tables
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores, WindowScores, digits
from mtqnet.targets import TARGETS, Target

MOMENT_S = 0.7
"""Seconds of work before a progress bar appears."""
LONGEST_NAME = 40
"""Characters of a file's name in the table; longer ones lose their beginning."""
POOR_GOOD = {
    "s_mos": (2.5, 3.5),
    "n_mos": (2.5, 3.5),
    "g_mos": (2.5, 3.5),
    "pesq_est": (2.0, 3.0),
    "stoi_est": (0.75, 0.9),
    "sdi_est": (0.3, 0.05),
}
"""Where a score turns red and where it turns green. For the eye alone: no decision rests on it."""


@dataclass(frozen=True)
class ScoreOptions:
    """What `mtqnet score` was asked for; cli.py says what each means."""

    output: Path | None = None
    model: str = "base"
    threads: int = 0
    quiet: bool = False
    table: bool = False
    """On the screen, whatever stdout is"""
    windows: bool = False

    @property
    def layout(self) -> tables.Layout:
        return tables.WINDOWS if self.windows else tables.RECORDINGS


def score_paths(paths: Sequence[Path], options: ScoreOptions) -> int:
    """Score files and folders into a table: on the screen, on stdout as CSV, or in a file.

    Returns the exit code. Raises MtqnetError when nothing could be started.
    """
    output, quiet = options.output, options.quiet
    if output is not None:
        tables.check(output)
    jobs = batch.expand(paths)
    predictor = Predictor(options.model, options.threads, track=False)
    tally = Tally()
    with _sink(options) as sink, Bar(len(jobs), hidden=quiet) as bar:
        for scores in batch.score_jobs(predictor, jobs, bar.advance):
            sink.write(scores)
            tally.add(scores)
    if not quiet and (output is not None or (tally.failed and not sys.stdout.isatty())):
        tell(tally.summary(output), style="yellow" if tally.failed else "green")
    return tally.exit_code


def show_targets() -> None:
    """Print the table of the six targets."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("column", "name", "range", "better", "unit", "standard", "says"):
        grid.add_column(heading, no_wrap=heading in ("column", "range", "better"))
    for target in TARGETS:
        span = f"{target.low:g} to {target.high:g}"
        better = "higher" if target.higher_is_better else "lower"
        grid.add_row(target.key, target.name, span, better, target.unit, target.standard, target.says)
    _screen().print(grid)


def _screen() -> Console:
    """Stdout. A file or a pipe has no width of its own; cells must not be broken for one."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def tell(text: str, style: str = "") -> None:
    """One line on stderr."""
    Console(stderr=True).print(Text(text, style=style), soft_wrap=True, highlight=False)


def tell_error(text: str) -> None:
    tell(f"error: {text}", style="bold red")


@dataclass
class Tally:
    """Counts what became of the recordings, for the summary and the exit code."""

    scored: int = 0
    failed: int = 0
    codes: set[int] = field(default_factory=set)

    def add(self, scores: Scores) -> None:
        if scores.error is None:
            self.scored += 1
            return
        self.failed += 1
        error = scores.exception
        self.codes.add(error.exit_code if isinstance(error, MtqnetError) else MtqnetError.exit_code)

    @property
    def exit_code(self) -> int:
        """0: all were scored. The kind's own code: none was, all for the same kind of reason. 1: else."""
        if not self.failed:
            return 0
        return next(iter(self.codes)) if not self.scored and len(self.codes) == 1 else 1

    def summary(self, output: Path | None) -> str:
        total = self.scored + self.failed
        where = f" -> {output}" if output is not None else ""
        reasons = f"; {self.failed} not: see the column `error`" if self.failed else ""
        return f"scored {self.scored} of {total} recording{'s' * (total != 1)}{where}{reasons}"


class Bar:
    """A progress bar on stderr with the time left; it appears after a moment and leaves nothing behind."""

    def __init__(self, total: int, hidden: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=hidden or not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=total)
        self._timer = threading.Timer(MOMENT_S, self._progress.start)
        self._timer.daemon = True

    def advance(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()  # it may be starting the bar at this very moment
        self._progress.stop()


class ScreenTable(tables.Table):
    """A table for a terminal, printed at the end, with the reasons of what was not scored below it."""

    def __init__(self, windows: bool) -> None:
        """With `windows` a row for each window."""
        self._rows: list[Scores] = []
        self._windows = windows

    def write(self, scores: Scores) -> None:
        self._rows.append(scores)

    def close(self, complete: bool) -> None:  # noqa: ARG002 what was scored is shown either way
        console = _screen()
        scored = [row for row in self._rows if row.error is None]
        if scored:
            console.print(_grid(_lines(scored, self._windows)))
        for row in self._rows:
            if row.error is not None:
                line = f"[bold red]not scored[/] {escape(row.file or '')}: {escape(row.error)}"
                console.print(line, highlight=False, soft_wrap=True)


class _PipedCsv(tables.CsvTable):
    """CSV on stdout, which is not ours to close."""

    def close(self, complete: bool) -> None:
        pass


def _sink(options: ScoreOptions) -> tables.Table:
    if options.output is not None:
        return tables.create(options.output, options.layout)
    if options.table or sys.stdout.isatty():
        return ScreenTable(options.windows)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # the same bytes on every system
    return _PipedCsv(sys.stdout, options.layout)


Valued = Scores | WindowScores


def _lines(rows: Sequence[Scores], windows: bool) -> list[tuple[Scores, Valued]]:
    """A recording and what is shown of it: itself, or each of its windows."""
    return [(row, shown) for row in rows for shown in (row.windows if windows else (row,))]


def _grid(lines: Sequence[tuple[Scores, Valued]]) -> Grid:
    rows = [row for row, _ in lines]
    folder = _common_folder([row.file or "" for row in rows])
    shown = [target for target in TARGETS if any(row.value(target.key) is not None for row in rows)]
    flagged = any(row.flags for row in rows)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column(f"file, in {escape(folder)}" if folder else "file", overflow="fold")
    for target in shown:
        grid.add_column(target.name.split()[0], justify="right", no_wrap=True)
    if flagged:
        grid.add_column("flags", style="yellow")
    for row, scored in lines:
        name = Text(_shortened(os.path.relpath(row.file or "", folder) if folder else row.file or ""))
        name.append(_span(scored), style="dim")
        values = (_cell(target, scored.value(target.key)) for target in shown)
        grid.add_row(name, *values, *([" ".join(row.flags)] if flagged else []))
    return grid


def _span(scored: Valued) -> str:
    """When a window is, such as "  0:10.0 to 0:20.0"; nothing for a recording."""
    return f"  {clock(scored.start_s)} to {clock(scored.end_s)}" if isinstance(scored, WindowScores) else ""


def clock(seconds: float) -> str:
    """Minutes and seconds, such as "1:02.5"."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def _shortened(path: str) -> str:
    """A long path without its beginning: its end is what tells files apart."""
    return path if len(path) <= LONGEST_NAME else "..." + path[3 - LONGEST_NAME :]


def _cell(target: Target, value: float | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    poor, good = (end if target.higher_is_better else -end for end in POOR_GOOD[target.key])
    height = value if target.higher_is_better else -value
    return Text(digits(target, value), style="green" if height >= good else "red" if height < poor else "yellow")


def _common_folder(files: Sequence[str]) -> str:
    """The folder that all files share, if naming it once makes the table narrower; else nothing."""
    if len(files) < 2 or len({Path(file).is_absolute() for file in files}) > 1:
        return ""
    return os.path.commonpath([Path(file).parent for file in files])
