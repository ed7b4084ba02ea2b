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
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from mtqnet.causes import CAUSE_KEYS
from mtqnet.errors import UsageError, missing_extra
from mtqnet.scoring.scores import COLUMNS, ENDS, Cell, Scores, WindowScores
from mtqnet.targets import KEYS, TARGETS, Target

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Cell]

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
    rows = [recording | _window_cells(window) for window in scores.windows] or [recording]
    return [{name: row[name] for name in WINDOW_COLUMNS} for row in rows]


def _window_cells(window: WindowScores) -> Row:
    times: Row = {"start_s": round(window.start_s, 3), "end_s": round(window.end_s, 3)}
    return times | _score_cells(window)


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

    @abstractmethod
    def close(self, complete: bool) -> None:
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


def csv_writer(stream: TextIO, layout: Layout) -> csv.DictWriter[str]:
    """Return a writer of rows; `stream` must not translate newlines."""
    return csv.DictWriter(_LineFeeds(stream), layout.columns, lineterminator="\r\n")


class CsvTable(Table):
    """CSV with one header line. Rows are flushed as soon as they are written.

    Args:
        stream: Text stream that does not translate newlines.
        layout: Columns and rows.
        head: Whether the header line is written; False for a table that has one.
    """

    def __init__(self, stream: TextIO, layout: Layout = RECORDINGS, *, head: bool = True) -> None:
        self._stream = stream
        self._layout = layout
        self._writer = csv_writer(stream, layout)
        if head:
            self._writer.writeheader()

    def write(self, scores: Scores) -> None:
        self._writer.writerows(self._layout.rows(scores))
        self._stream.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002 rows are kept in either case
        self._stream.close()


class JsonLinesTable(Table):
    """One JSON object per line. Rows are flushed as soon as they are written."""

    def __init__(self, stream: TextIO, layout: Layout = RECORDINGS) -> None:
        self._stream = stream
        self._layout = layout

    def write(self, scores: Scores) -> None:
        self._stream.writelines(json_line(row) for row in self._layout.rows(scores))
        self._stream.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002 rows are kept in either case
        self._stream.close()


def json_line(row: Row) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


class ParquetTable(Table):
    """Parquet in row groups. The file appears when it is complete.

    Until then its rows are JSON lines in a hidden file of the same folder (`part`), which remains after an exception.

    Args:
        path: Path of the Parquet file.
        layout: Columns and rows.
        append: Whether rows are added to those in `part`.
        settle: Called with the path of `part` when all rows are in it.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout = RECORDINGS,
        *,
        append: bool = False,
        settle: Callable[[Path], None] = lambda part: None,  # noqa: ARG005
    ) -> None:
        need_parquet()
        self._settle = settle
        self._path = path
        self._layout = layout
        self.part = part(path)
        stream = self.part.open("a" if append else "w", encoding="utf-8", newline="")
        self._rows = JsonLinesTable(stream, layout)

    def write(self, scores: Scores) -> None:
        self._rows.write(scores)

    def close(self, complete: bool) -> None:
        self._rows.close(complete)
        if complete:
            self._settle(self.part)
            _to_parquet(self.part, self._path, self._layout)
            self.part.unlink()


def part(path: Path) -> Path:
    """Return the path of the JSON lines of an unfinished Parquet file."""
    return path.with_name(f".{path.name}.part.jsonl")


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


def check(path: Path) -> None:
    """Raise UsageError for a path to which no table can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the name of a table ends in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the path of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    check_no_pipe(path)


def check_no_pipe(path: Path) -> None:
    """Raise UsageError for a named pipe or a socket: opening it would wait for a reader."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is a pipe or socket: give the path of a file")


def check_not_input(output: Path, inputs: Iterable[Path]) -> None:
    """Raise UsageError if writing to `output` would overwrite one of the input files, under any name or link."""
    try:
        status = output.stat()
    except (OSError, ValueError):
        return
    for path in inputs:
        try:
            other = path.stat()
        except (OSError, ValueError):
            continue
        if (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino):
            raise UsageError(f"{output} is an input: writing the output there would overwrite it")


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
    check(path)
    try:
        if path.suffix.lower() == ".parquet":
            return ParquetTable(path, layout)
        stream = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror or error})") from error
    return CsvTable(stream, layout) if path.suffix.lower() == ".csv" else JsonLinesTable(stream, layout)
