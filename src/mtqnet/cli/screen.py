"""Tables on a terminal, in colour. Imported only where one is shown: rich takes as long to load as numpy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from mtqnet.audio.flags import Flag, Level
from mtqnet.cli.console import clock
from mtqnet.scoring import tables
from mtqnet.scoring.scores import Scores, WindowScores, digits
from mtqnet.targets import TARGETS, Target

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
LEVEL_STYLES: dict[Level, str] = {"ok": "green", "caution": "yellow", "refused": "red"}


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


def show_flags(flags: Sequence[Flag]) -> None:
    """Print the table of these flags, each with its reason and what to do below it."""
    console = _screen()
    for flag in flags:
        head = Text.assemble((flag.key, "bold"), "  ", (flag.level, LEVEL_STYLES[flag.level]), f"  {flag.summary}")
        head.append(f"  ({flag.limit})" if flag.limit else "", style="dim")
        console.print(head, highlight=False)
        console.print(Padding(Text(f"{flag.reason} {flag.advice}"), (0, 0, 1, 4), expand=False), highlight=False)


def tell(text: str, style: str) -> None:
    """One line on a terminal's stderr."""
    Console(stderr=True).print(Text(text, style=style), soft_wrap=True, highlight=False)


def _screen() -> Console:
    """Stdout. A file or a pipe has no width of its own; cells must not be broken for one."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


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
        values = (_cell(target, scored) for target in shown)
        grid.add_row(name, *values, *([" ".join(row.flags)] if flagged else []))
    return grid


def _span(scored: Valued) -> str:
    """When a window is, such as "  0:10.0 to 0:20.0"; nothing for a recording."""
    return f"  {clock(scored.start_s)} to {clock(scored.end_s)}" if isinstance(scored, WindowScores) else ""


def _shortened(path: str) -> str:
    """A long path without its beginning: its end is what tells files apart."""
    return path if len(path) <= LONGEST_NAME else "..." + path[3 - LONGEST_NAME :]


def _cell(target: Target, row: Valued) -> Text:
    value = row.value(target.key)
    if value is None:
        return Text("-", style="dim")
    poor, good = (end if target.higher_is_better else -end for end in POOR_GOOD[target.key])
    height = value if target.higher_is_better else -value
    colour = "green" if height >= good else "red" if height < poor else "yellow"
    cell = Text(digits(target, value), style=colour)
    interval = row.intervals.get(target.key)
    if interval is not None and not target.log:  # on a ratio scale there is no more and less by the same amount
        cell.append(f" ±{(interval.high - interval.low) / 2:.1g}", style="dim")
    return cell


def _common_folder(files: Sequence[str]) -> str:
    """The folder that all files share, if naming it once makes the table narrower; else nothing."""
    if len(files) < 2 or len({Path(file).is_absolute() for file in files}) > 1:
        return ""
    return os.path.commonpath([Path(file).parent for file in files])
