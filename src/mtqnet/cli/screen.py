"""Tables on a terminal, in colour. Imported only where one is shown: rich takes as long to load as numpy."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from mtqnet.audio.flags import Flag, Level
from mtqnet.targets import TARGETS

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
    console_for_tables().print(grid)


def show_flags(flags: Sequence[Flag]) -> None:
    """Print the table of these flags, each with its reason and what to do below it."""
    console = console_for_tables()
    for flag in flags:
        head = Text.assemble((flag.key, "bold"), "  ", (flag.level, LEVEL_STYLES[flag.level]), f"  {flag.summary}")
        head.append(f"  ({flag.limit})" if flag.limit else "", style="dim")
        console.print(head, highlight=False)
        console.print(Padding(Text(f"{flag.reason} {flag.advice}"), (0, 0, 1, 4), expand=False), highlight=False)


def tell(text: str, style: str) -> None:
    """One line on a terminal's stderr."""
    Console(stderr=True).print(Text(text, style=style), soft_wrap=True, highlight=False)


def console_for_tables() -> Console:
    """Stdout. A file or a pipe has no width of its own; cells must not be broken for one."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
