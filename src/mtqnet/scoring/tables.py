"""Tables of scores on disk: CSV, JSON lines and Parquet with the same columns and the same numbers.

Numbers are rounded in one place for all formats: scores to 4 decimals, scores on a logarithmic scale (`sdi_est`) to
4 significant digits, durations to milliseconds. A missing value is an empty cell in CSV and null elsewhere. Flags are
one text, separated by blanks.
"""

from __future__ import annotations

import csv
import glob
import importlib.util
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.causes import CAUSE_KEYS
from mtqnet.errors import UsageError, missing_extra
from mtqnet.scoring.scores import COLUMNS, ENDS, Cell, Scores, WindowScores
from mtqnet.targets import KEYS, TARGETS, Target

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Cell]
Rows = Iterable[Mapping[str, Any]]

DECIMALS = 4
SIGNIFICANT_DIGITS = 4
CAUSE_COLUMNS = tuple(f"cause_{key}" for key in CAUSE_KEYS)
"""Probabilities of the kinds of degradation, in a table with causes"""
NUMBERS = (*KEYS, *ENDS, "duration_s", "start_s", "end_s", *CAUSE_COLUMNS)
"""Columns of floating-point numbers. `channel` is an integer, all other columns are text."""
WINDOW_COLUMNS = (
    "file", "channel", "start_s", "end_s", *KEYS, *ENDS, "duration_s", "model", "model_sha256", "version", "flags",
    "error",
)  # fmt: skip
SUFFIXES = (".csv", ".jsonl", ".parquet")
ROW_GROUP = 4096
"""Rows of a Parquet row group"""


def cells(scores: Scores) -> Row:
    """Return the row of a recording as it is written: rounded, in the order of COLUMNS."""
    row = scores.as_row() | _score_cells(scores)
    if scores.duration_s is not None:
        row["duration_s"] = round(scores.duration_s, 3)
    return row


def _score_cells(row: Scores | WindowScores) -> Row:
    """Rounded scores and ends of their intervals."""
    cells: Row = {target.key: rounded(target, row.value(target.key)) for target in TARGETS}
    for target in TARGETS:
        interval = row.intervals.get(target.key)
        cells[f"{target.key}_low"] = None if interval is None else rounded(target, interval.low)
        cells[f"{target.key}_high"] = None if interval is None else rounded(target, interval.high)
    return cells


def rounded(target: Target, value: float | None) -> float | None:
    """Round a score as it is written."""
    if value is None:
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if target.log else round(value, DECIMALS)


def window_cells(scores: Scores) -> list[Row]:
    """Return a row per window in the order of WINDOW_COLUMNS; a single row without times if there are no scores."""
    recording: Row = {"start_s": None, "end_s": None} | cells(scores)
    rows = [
        recording | {"start_s": round(window.start_s, 3), "end_s": round(window.end_s, 3)} | _score_cells(window)
        for window in scores.windows
    ]
    return [{name: row[name] for name in WINDOW_COLUMNS} for row in rows or [recording]]


@dataclass(frozen=True)
class Layout:
    """Columns of a table and what its rows are."""

    columns: tuple[str, ...]
    rows: Callable[[Scores], list[Row]]
    """Returns the rows of one recording"""


RECORDINGS = Layout(COLUMNS, lambda scores: [cells(scores)])
"""One row per recording, or per channel of a recording"""
WINDOWS = Layout(WINDOW_COLUMNS, window_cells)
"""One row per window of each recording; `duration_s` and `flags` are those of the recording"""


def with_causes(layout: Layout) -> Layout:
    """Add the probabilities of the kinds of degradation to each row; those of a window are those of its recording."""

    def rows(scores: Scores) -> list[Row]:
        values = [scores.causes.get(key) for key in CAUSE_KEYS]
        cells = [None if value is None else round(value, DECIMALS) for value in values]
        return [row | dict(zip(CAUSE_COLUMNS, cells, strict=True)) for row in layout.rows(scores)]

    return Layout((*layout.columns, *CAUSE_COLUMNS), rows)


class Table(ABC):
    """A table that rows are added to; a context manager that closes it."""

    @abstractmethod
    def write(self, scores: Scores) -> None:
        """Add the rows of a recording."""

    def close(self, complete: bool) -> None:  # noqa: B027
        """Finish the table; `complete` is False after an exception."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)


class _LineFeeds:
    r"""Stream for csv.writer that ends lines in a line feed.

    With lineterminator="\n" csv.writer would not quote a carriage return within a cell.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        return self._stream.write(line.removesuffix("\r\n") + "\n")


def row_writer(stream: TextIO, columns: Sequence[str], suffix: str, head: bool = True) -> Callable[[Rows], None]:
    """Return a function that writes rows.

    Args:
        stream: Text stream that does not translate newlines.
        columns: Columns of CSV.
        suffix: .csv, or .jsonl for one JSON object per line.
        head: Whether the header line of CSV is written now; False for a table that has one.
    """
    if suffix == ".jsonl":
        return lambda rows: stream.writelines(
            json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows
        )
    writer = csv.DictWriter(_LineFeeds(stream), columns, lineterminator="\r\n")
    if head:
        writer.writeheader()
    return writer.writerows


class StreamTable(Table):
    """CSV on an open stream, which stays open. Rows are flushed as soon as they are written."""

    def __init__(
        self, stream: TextIO, layout: Layout = RECORDINGS, suffix: str = ".csv", head: bool = True
    ) -> None:
        self._stream, self._layout = stream, layout
        self._write = row_writer(stream, layout.columns, suffix, head)

    def write(self, scores: Scores) -> None:
        self._write(self._layout.rows(scores))
        self._stream.flush()


class FileTable(StreamTable):
    """A table in a file: CSV, JSON lines or Parquet.

    Parquet appears when it is complete. Until then its rows are JSON lines in a hidden file of the same folder
    (`work_file`), which remains after an exception.

    Args:
        path: A path that ends in .csv, .jsonl or .parquet.
        layout: Columns and rows.
        append: Whether rows are added to those that are there.
        settle: Called with the path of the rows when all are written.

    Raises:
        MissingExtraError: A Parquet file without pyarrow.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout = RECORDINGS,
        *,
        append: bool = False,
        settle: Callable[[Path], None] = lambda work: None,  # noqa: ARG005
    ) -> None:
        if path.suffix.lower() == ".parquet":
            need_parquet()
        self._path, self._settle, self._work = path, settle, work_file(path)
        stream = self._work.open("a" if append else "w", encoding="utf-8", newline="")
        super().__init__(stream, layout, self._work.suffix.lower(), head=not append)

    def close(self, complete: bool) -> None:
        self._stream.close()
        if complete:
            self._settle(self._work)
            if self._work != self._path:
                _to_parquet(self._work, self._path, self._layout)
                self._work.unlink()


def work_file(path: Path) -> Path:
    """Return the file that rows are written to: the table itself, or the JSON lines of an unfinished Parquet file."""
    return path.with_name(f".{path.name}.part.jsonl") if path.suffix.lower() == ".parquet" else path


def need_parquet() -> None:
    """Raise MissingExtraError if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("writing .parquet", "parquet")


def parquet_schema(layout: Layout) -> Any:
    """Return the Arrow schema of a layout. Types do not depend on the rows: a column may be empty."""
    import pyarrow as pa

    types = dict.fromkeys(NUMBERS, pa.float64()) | {"channel": pa.int64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in layout.columns])


def _to_parquet(lines: Path, path: Path, layout: Layout) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(layout)
    with (
        replacement(path) as unfinished,
        lines.open(encoding="utf-8", newline="") as stream,
        pq.ParquetWriter(unfinished, schema) as file,
    ):
        while group := [json.loads(line) for line in islice(stream, ROW_GROUP)]:
            file.write_table(pa.Table.from_pylist(group, schema=schema))


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file that replaces `path` when the block ends without an exception."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_output(
    path: Path | None, suffixes: Sequence[str] = SUFFIXES, inputs: Iterable[Path | None] = ()
) -> None:
    """Raise UsageError for a path that a command must not write to.

    Args:
        path: The path; None for no output.
        suffixes: Allowed endings of its name; empty: all but those of recordings.
        inputs: Files that the command reads, which must not be overwritten, under any name or link.
    """
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: the name of this output must end in {', '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the path of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist; create it first")
    if os.path.splitext(os.path.realpath(path))[1].lower() in AUDIO_SUFFIXES:  # noqa: PTH122
        raise UsageError(f"{path} is the name of a recording: choose another output")
    try:
        status = path.stat()
    except (OSError, ValueError):
        return
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):  # opening it would wait for a reader
        raise UsageError(f"{path} is a pipe or socket: give the path of a file")
    for other in inputs:
        try:
            same = other is not None and os.path.samestat(status, other.stat())
        except (OSError, ValueError):
            same = False
        if same:
            raise UsageError(f"{path} is an input of this command and would be overwritten: choose another output")


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other runs from writing the same table.

    The lock is a hidden file in the same folder that is removed at the end. It has no effect on systems without
    fcntl. Temporary files of a run that was killed are removed.

    Raises:
        UsageError: Another run is writing this table, or the folder is not writable.
    """
    file = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        if fcntl is not None:
            stack.enter_context(_locked(file, path))
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            with suppress(OSError):
                stale.unlink()
        yield


@contextmanager
def _locked(file: Path, path: Path) -> Iterator[None]:
    while True:
        try:
            handle = file.open("a")
        except OSError as error:
            raise UsageError(f"cannot write {path} ({error.strerror or error})") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another run is writing {path}: wait until it ends, or name another output"
                ) from None
            except OSError:  # a file system without locks
                yield
                return
            if not file.exists() or not os.path.samestat(os.fstat(handle.fileno()), file.stat()):
                continue  # the run that held the lock removed its file in between
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def create(path: Path, layout: Layout = RECORDINGS) -> Table:
    """Create an empty table; an existing file is replaced.

    Args:
        path: A path that ends in .csv, .jsonl or .parquet.
        layout: Columns and rows.

    Raises:
        UsageError: Another suffix, or the file cannot be written.
        MissingExtraError: The suffix is .parquet and pyarrow is not installed.
    """
    check_output(path)
    try:
        return FileTable(path, layout)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror or error})") from error
