"""`mtqnet score --explain`: what the scores and the flags mean."""

from __future__ import annotations

from rich.padding import Padding
from rich.text import Text

from mtqnet.audio.flags import FLAGS, Level
from mtqnet.cli.terminal import grid, output_console
from mtqnet.targets import TARGETS

LEVEL_STYLES: dict[Level, str] = {"ok": "green", "caution": "yellow", "refused": "red"}


def explain() -> None:
    """Print the table of the six scores, and each flag with its reason and what to do."""
    console = output_console(pipe_width=200)
    table = grid(("column", "name", "range", "better", "unit", "standard", "meaning"))
    for column in table.columns[3:]:
        column.no_wrap = False
    for target in TARGETS:
        span = f"{target.low:g} to {target.high:g}"
        better = "higher" if target.higher_is_better else "lower"
        table.add_row(target.key, target.name, span, better, target.unit, target.standard, target.says)
    console.print(table)
    console.print(
        "Flags. ok: for information only. caution: interpret the scores with care. refused: not scored.\n"
    )
    for flag in FLAGS:
        head = Text.assemble((flag.key, "bold"), "  ", (flag.level, LEVEL_STYLES[flag.level]), f"  {flag.summary}")
        head.append(f"  ({flag.limit})" if flag.limit else "", style="dim")
        console.print(head, highlight=False)
        console.print(Padding(Text(f"{flag.reason} {flag.advice}"), (0, 0, 1, 4), expand=False), highlight=False)
