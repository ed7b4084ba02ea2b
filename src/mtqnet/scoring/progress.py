"""Progress of scoring: a bar on a terminal, an element in a notebook, lines in a pipe."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

DELAY_S = 0.7
"""Seconds of work before the progress is shown on a terminal or in a notebook"""
LINE_S = 10.0
"""Seconds between two lines in a pipe, and before the first one"""
UPDATE_S = 0.25
"""Seconds between two updates in a notebook"""

Advance = Callable[[float], None]
"""Called with the number of recordings, also fractions, that were scored since the last call"""


def increments(advance: Advance) -> Callable[[float], None]:
    """Return a function that takes the fraction of a recording that is scored and calls `advance` with the increase."""
    done = 0.0

    def tell(part: float) -> None:
        nonlocal done
        advance(part - done)
        done = part

    return tell


class Meter:
    """Shows how many recordings are scored, and the remaining time. Its methods may be called by several threads.

    Args:
        total: Number of recordings.
        shown: Whether anything is shown.
    """

    def __init__(self, total: int, shown: bool = True) -> None:
        self._total, self._shown = total, shown
        self._done = self._audio_s = 0.0
        self._lock = threading.Lock()
        self._began = self._last = time.monotonic()
        self._update: Callable[[], None] | None = None
        self._close: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._began = self._last = time.monotonic()
        if not self._shown:
            return self
        if _in_notebook():
            self._update = self._notebook()
        elif sys.stderr is not None and sys.stderr.isatty():
            self._update, self._close = self._bar()
        else:
            self._update = self._line
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._update = None
        self._close()

    def recordings(self, count: float) -> None:
        """Count recordings, or fractions of them."""
        with self._lock:
            self._done += count
            if self._update is not None:
                self._update()

    def audio(self, seconds: float) -> None:
        """Count seconds of audio."""
        with self._lock:
            self._audio_s += seconds

    @property
    def text(self) -> str:
        """Describe the progress, such as "scored 120 of 5000 (2 %), about 3 min left"."""
        now = time.monotonic()
        left = (now - self._began) * (self._total / self._done - 1) if self._done > 0 else None
        ending = "" if left is None else f", about {duration(left)} left"
        return (
            f"scored {int(self._done)} of {self._total} ({100 * self._done / max(1, self._total):.0f} %){ending}"
        )

    def _line(self) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_S and sys.stderr is not None:
            self._last = now
            print(self.text, file=sys.stderr, flush=True)

    def _notebook(self) -> Callable[[], None]:
        from IPython.display import HTML, display

        handle: Any = None

        def update() -> None:
            nonlocal handle
            now = time.monotonic()
            finished = self._done > self._total - 1e-6
            if now - self._began < DELAY_S or (now - self._last < UPDATE_S and not finished):
                return
            self._last = now
            shown = HTML(f"<progress max='{self._total}' value='{self._done:.2f}'></progress> {self.text}")
            if handle is None:
                handle = display(shown, display_id=True)
            else:
                handle.update(shown)

        return update

    def _bar(self) -> tuple[Callable[[], None], Callable[[], None]]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        speed = TextColumn("{task.fields[speed]}")
        columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), speed)
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        task = bar.add_task("", total=self._total, speed="")
        timer = threading.Timer(DELAY_S, bar.start)
        timer.daemon = True
        timer.start()

        def update() -> None:
            rate = self._audio_s / max(time.monotonic() - self._began, 1e-3)
            speed = f"{rate:,.0f} s of audio per second" if rate else ""
            bar.update(task, completed=self._done, speed=speed)

        def close() -> None:
            timer.cancel()
            timer.join()  # it may be starting the bar at this moment
            bar.stop()

        return update, close


def duration(seconds: float) -> str:
    """Format a time for people, such as "40 s", "3 min" or "2 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _in_notebook() -> bool:
    """Whether this runs in a kernel of Jupyter."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return type(shell).__name__ == "ZMQInteractiveShell"
