"""Progress of long work on a terminal: a bar with the time left for each stage. In a log: a line at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

MOMENT_S = 0.7
"""Seconds of work before the bar of scoring appears."""

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


@contextmanager
def scoring(total: int) -> Iterator[Callable[[float], None]]:
    """A bar of recordings on stderr, with the time left and how many times faster than the audio it goes.

    Gives what has to be called after each, with its seconds of audio. It appears after a moment and leaves nothing
    behind.
    """
    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), speed)
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("", total=total, speed="")
    began, heard_s = time.monotonic(), 0.0

    def advance(seconds: float) -> None:
        nonlocal heard_s
        heard_s += seconds
        rate = heard_s / max(time.monotonic() - began, 1e-3)
        progress.update(task, advance=1, speed=f"{rate:,.0f} s of audio a second")

    timer = threading.Timer(MOMENT_S, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield advance
    finally:
        timer.cancel()
        timer.join()  # it may be starting the bar at this very moment
        progress.stop()
