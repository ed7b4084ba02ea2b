"""Several recordings: find them in files and folders, and show the progress of scoring them.

A folder is searched for files with the suffix of an audio or video format, in it and in the folders below. A file that
cannot be decoded, a folder that cannot be read and a link that leads nowhere become a job too, whose row has the
reason: no recording is omitted silently.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.audio.reading import Channels
from mtqnet.errors import MtqnetError, NoAudioFoundError, UnreadableError, UsageError

PathLike = str | os.PathLike[str]

MEDIA_SUFFIXES = AUDIO_SUFFIXES | {
    ".3ga", ".3gpp", ".act", ".aiffc", ".alac", ".bwf", ".caff", ".dff", ".ds2", ".dsf", ".dss", ".dts",
    ".dvf", ".f4a", ".f4v", ".g711", ".g722", ".g726", ".g729", ".gsm", ".m4p", ".m4r", ".m4v", ".mp1",
    ".mpa", ".mpc", ".mpga", ".msv", ".ogv", ".ogx", ".pcm", ".qcp", ".ra", ".raw", ".rm", ".silk", ".spx",
    ".vox", ".wave",
}  # fmt: skip
"""Suffixes of files that a folder is searched for. Each of them gets a row, with scores or with a reason."""

FILES_PER_PROCESS = 64
"""Files that a process should have to score: it takes as long to start as 20 files of 5 s with the model base"""

_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_ESCAPED_BYTE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class Job:
    """A file to be scored, or a path that gets a row with an error."""

    path: Path
    problem: MtqnetError | None = None
    """The error of a path that is known not to be readable"""


def path_to_text(path: PathLike) -> str:
    r"""Write a path as text that every table can contain.

    A byte that is not UTF-8 becomes `\xNN`, two lower-case hexadecimal digits. A backslash in front of what looks like
    such an escape becomes `\x5c`, so that different paths have different texts. `text_to_path` is the inverse.

    >>> path_to_text("call.wav")
    'call.wav'
    """
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:  # a surrogate that no file name has
        name = os.fspath(path).encode("utf-8", "surrogatepass")
    text = name.decode("utf-8", "surrogateescape")
    text = _ESCAPE.sub(r"\\x5cx\1", text)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def text_to_path(text: str) -> Path:
    r"""Return the path that `path_to_text` wrote."""
    name = _ESCAPED_BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode("utf-8", "surrogatepass"))
    return Path(os.fsdecode(name))


def identity(path: PathLike) -> str:
    """Return a text that is the same for all spellings of a path: its absolute path without links."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a path that cannot exist
        return os.fspath(path)


def find(folder: PathLike) -> list[Path]:
    """Find the recordings in a folder, sorted; see `find_jobs`.

    Raises:
        NoAudioFoundError: There are none.
    """
    paths = [job.path for job in find_jobs(folder) if job.problem is None]
    if not paths:
        raise _no_audio(folder)
    return paths


def find_jobs(folder: PathLike) -> list[Job]:
    """Find what a folder contributes to a table.

    Hidden files and folders are skipped. Symbolic links are followed; each folder is searched once.

    Returns:
        Files with one of MEDIA_SUFFIXES and folders that cannot be read, sorted by path.
    """
    jobs: list[Job] = []
    visited: set[tuple[int, int]] = set()
    folders = [os.fspath(folder)]
    while folders:
        here = folders.pop()
        try:
            status = os.stat(here)  # noqa: PTH116 a Path takes longer
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            below: list[str] = []
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        below.append(entry.path)
                        continue
                    suffix = os.path.splitext(entry.name)[1].strip().lower()  # noqa: PTH122 a Path takes longer
                    if suffix in MEDIA_SUFFIXES:
                        jobs.append(Job(Path(entry.path)))
                    elif not suffix and (problem := _lost_link(entry)) is not None:
                        jobs.append(Job(Path(entry.path), problem))
            folders += sorted(below, reverse=True)
        except OSError as error:
            jobs.append(Job(Path(here), UnreadableError(f"the folder cannot be read ({error.strerror})")))
    return sorted(jobs, key=lambda job: job.path)


def expand(paths: Iterable[PathLike]) -> list[Job]:
    """List the recordings in files and folders, in the given order, each once.

    A file that is named is included whatever its suffix. A folder without recordings becomes a job with an error.

    Raises:
        UsageError: A path is empty.
        NoAudioFoundError: There is nothing but folders without recordings.
    """
    jobs: dict[str, Job] = {}
    for job in jobs_of(paths):
        jobs.setdefault(identity(job.path), job)
    problems = [job.problem for job in jobs.values()]
    if problems and all(isinstance(problem, NoAudioFoundError) for problem in problems):
        assert problems[0] is not None
        raise problems[0]
    return list(jobs.values())


def jobs_of(paths: Iterable[PathLike]) -> list[Job]:
    """List the recordings in files and folders, in the given order; a path that is given twice is listed twice.

    Raises:
        UsageError: A path is empty.
    """
    jobs: list[Job] = []
    for path in paths:
        if not os.fspath(path):
            raise UsageError("a path is empty (an unset shell variable?): name a file or a folder")
        jobs += find_jobs(path) or [Job(Path(path), _no_audio(path))] if is_folder(path) else [Job(Path(path))]
    return jobs


def is_folder(path: PathLike) -> bool:
    """Whether a path is a folder; False for a path that cannot exist."""
    return os.path.isdir(path)  # noqa: PTH112 Path.is_dir raises for a name that is too long


def worthwhile_processes(jobs: int) -> int:
    """Return the number of processes that score so many files fastest."""
    return max(1, min(cores(), jobs // FILES_PER_PROCESS))


def parse_channels(text: str) -> Channels:
    """Parse a choice of channels: mix, each, or a number from 1. Raises UsageError."""
    if text == "mix":
        return "mix"
    if text == "each":
        return "each"
    if text.isascii() and text.isdecimal() and len(text) < 4 and int(text) > 0:
        return int(text)
    raise UsageError(f"channels {text[:40]!r}: expected mix, each or the number of a channel, counted from 1")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _no_audio(folder: PathLike) -> NoAudioFoundError:
    if not os.path.lexists(folder):
        return NoAudioFoundError(f"{path_to_text(folder)} does not exist: check the path of the folder")
    return NoAudioFoundError(
        f"no recordings in {path_to_text(folder)}: files are selected by their suffix, such as .wav"
    )


def _lost_link(entry: os.DirEntry[str]) -> UnreadableError | None:
    """Describe a link that leads nowhere, and so may have been one to a folder of recordings."""
    try:
        if entry.is_symlink():
            entry.stat()
    except OSError as error:
        return UnreadableError(f"the link leads to nothing that can be read ({error.strerror})")
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


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
