"""What `mtqnet score` shows on a terminal: a table, or a line per second of live audio."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from mtqnet.causes import clock
from mtqnet.cli.terminal import output_console
from mtqnet.scoring import tables
from mtqnet.scoring.scores import Results, Scores, WindowScores, digits, spoken
from mtqnet.targets import TARGETS, Target

TABLE_WIDTH = 200
"""Characters of a line of the table in a file or a pipe"""
INTERVALS_WIDTH = 100
"""Columns of the terminal from which scores are printed with their intervals"""
FILE_WIDTH = 16
"""Columns that the names of files have at least"""
NO_CAUSE = "no kind of degradation was found."
MAX_NAME = 40
"""Characters of a file name; of a longer one the end is shown"""
POOR_GOOD = {target.key: (2.5, 3.5) for target in TARGETS} | {
    "pesq_est": (2.0, 3.0),
    "stoi_est": (0.75, 0.9),
    "sdi_est": (0.3, 0.05),
}
"""Scores below the first value are red, from the second value on green. They have no other effect."""

Valued = Scores | WindowScores


class TerminalTable(tables.Table):
    """A table that is printed at the end, followed by the reasons of recordings that were not scored.

    Args:
        windows: Whether there is a row for each window.
        causes: Whether a sentence per recording describes the causes of low quality.
    """

    def __init__(self, windows: bool, causes: bool = False) -> None:
        self._rows: list[Scores] = []
        self._windows, self._causes = windows, causes

    def write(self, scores: Scores) -> None:
        """Keep a row until the end."""
        self._rows.append(scores)

    def close(self, complete: bool) -> None:  # noqa: ARG002 the rows are printed in either case
        """Print the table."""
        console = output_console(TABLE_WIDTH)
        scored = [row for row in self._rows if row.error is None]
        if scored:
            console.print(_grid(scored, self._windows, console.encoding, console.width >= INTERVALS_WIDTH))
        for row in (*(scored if self._causes else ()), *(row for row in self._rows if row.error is not None)):
            text = Text("" if row.error is None else "not scored ", style="bold red")
            text.append(
                printable(f"{_name(row, row.file or '')}: {row.error or row.cause or NO_CAUSE}"),
                "not bold default",
            )
            console.print(text, highlight=False, soft_wrap=True)


class LiveLines(tables.Table):
    """One line per second on a terminal."""

    def write(self, scores: Scores) -> None:
        """Print the scores of the last window."""
        (window,) = scores.windows
        values = ((target, scores.value(target.key)) for target in TARGETS)
        text = "  ".join(spoken(target, value) for target, value in values if value is not None)
        flags = f"  ({', '.join(scores.flags)})" if scores.flags else ""
        print(f"{clock(window.end_s):>9}  {scores.error or text + flags}", flush=True)


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey, by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _grid(rows: Sequence[Scores], windows: bool, encoding: str, intervals: bool) -> Grid:
    folder = _common_folder([row.file or "" for row in rows])
    shown = [target for target in TARGETS if any(row.value(target.key) is not None for row in rows)]
    flagged = any(row.flags for row in rows)
    plus_minus = "±" if encoding.lower().startswith("utf") else "+-"
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column(
        f"file, in {escape(printable(folder))}" if folder else "file", overflow="fold", min_width=FILE_WIDTH
    )
    for target in shown:
        grid.add_column(target.name.split()[0], justify="right", no_wrap=True)
    if flagged:
        grid.add_column("flags", style="yellow")
    lines: list[tuple[Scores, Valued]] = [
        (row, one) for row in rows for one in (row.windows if windows else (row,))
    ]
    for row, scored in lines:
        file = os.path.relpath(row.file or "", folder) if folder else row.file or ""
        name = Text(_shortened(printable(_name(row, file))))
        name.append(_span(scored), style="dim")
        values = (_cell(target, scored, plus_minus if intervals else "") for target in shown)
        grid.add_row(name, *values, *([" ".join(row.flags)] if flagged else []))
    if len(rows) > 1 and not windows:
        grid.add_section()
        means = Results(tuple(rows)).mean()
        values = (Text(digits(target, means[target.key]), style="bold") for target in shown)
        grid.add_row(Text(f"mean of {len(rows)}", style="bold"), *values)
    return grid


def _name(row: Scores, file: str) -> str:
    return file if row.channel is None else f"{file} channel {row.channel}"


def _span(scored: Valued) -> str:
    """Times of a window, such as "  0:10.0 to 0:20.0"."""
    return f"  {clock(scored.start_s)} to {clock(scored.end_s)}" if isinstance(scored, WindowScores) else ""


def _shortened(path: str) -> str:
    """Remove the beginning of a long path."""
    return path if len(path) <= MAX_NAME else "..." + path[3 - MAX_NAME :]


def _cell(target: Target, row: Valued, plus_minus: str) -> Text:
    value = row.value(target.key)
    if value is None:
        return Text("-", style="dim")
    poor, good = (end if target.higher_is_better else -end for end in POOR_GOOD[target.key])
    height = value if target.higher_is_better else -value
    colour = "green" if height >= good else "red" if height < poor else "yellow"
    cell = Text(digits(target, value), style=colour)
    interval = row.intervals.get(target.key)
    if plus_minus and interval is not None and not target.log:  # on a logarithmic scale it is not symmetric
        cell.append(f" {plus_minus}{digits(target, (interval.high - interval.low) / 2)}", style="dim")
    return cell


def _common_folder(files: Sequence[str]) -> str:
    """The folder that all files share, if naming it once makes the table narrower; else an empty text."""
    if len(files) < 2 or len({Path(file).is_absolute() for file in files}) > 1:
        return ""
    return os.path.commonpath([Path(file).parent for file in files])
