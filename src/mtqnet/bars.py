"""Progress of long work on a terminal: a bar with the time left for each stage. In a log: a line at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Stage = Callable[[str, int, int], None]
"""Name of the stage, done, in all."""


@contextmanager
def stages(console: Console) -> Iterator[Stage]:
    """Bars on this console while the block lasts."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as bars:

        def stage(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)
            if done == total and not console.is_terminal:
                console.print(f"{name}: {total} done", highlight=False)

        yield stage
