"""Tables of scores on disk: one small writer per format, all with the same columns and the same numbers.

Rounding, once for all formats: scores to 4 decimals (a MOS means less than its second), scores on a ratio
scale (`sdi_est`) to 4 figures, durations to milliseconds. A missing value is an empty cell in CSV and null
elsewhere; flags are one text, separated by blanks.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from mtqnet.errors import UsageError, missing_extra
from mtqnet.scoring.scores import COLUMNS, ENDS, Cell, Scores, WindowScores
from mtqnet.targets import KEYS, TARGETS, Target

Row = dict[str, Cell]

DECIMALS = 4
FIGURES = 4
NUMBERS = (*KEYS, *ENDS, "duration_s", "start_s", "end_s")
"""Columns that hold numbers; all others hold text."""
WINDOW_COLUMNS = (
    "file", "start_s", "end_s", *KEYS, *ENDS, "duration_s", "model", "model_sha256", "version", "flags", "error",
)  # fmt: skip
ROW_GROUP = 4096
"""Rows that a Parquet writer keeps before it writes them."""


def cells(scores: Scores) -> Row:
    """A row as it is written: rounded, in the order of COLUMNS."""
    row = scores.as_row() | _scored(scores)
    if scores.duration_s is not None:
        row["duration_s"] = round(scores.duration_s, 3)
    return row


def _scored(row: Scores | WindowScores) -> Row:
    """Scores and the ends of their intervals, as they are written."""
    made: Row = {target.key: rounded(target, row.value(target.key)) for target in TARGETS}
    for target in TARGETS:
        interval = row.intervals.get(target.key)
        ends = (None, None) if interval is None else (interval.low, interval.high)
        made |= {f"{target.key}_{end}": rounded(target, at) for end, at in zip(("low", "high"), ends, strict=True)}
    return made


def rounded(target: Target, value: float | None) -> float | None:
    """A score as it is written."""
    if value is None:
        return None
    return float(f"{value:.{FIGURES}g}") if target.log else round(value, DECIMALS)


def window_cells(scores: Scores) -> list[Row]:
    """A row per window, in the order of WINDOW_COLUMNS; one without times where there is no score."""
    whole: Row = {"start_s": None, "end_s": None} | cells(scores)
    rows = [whole | _of_window(window) for window in scores.windows] or [whole]
    return [{name: row[name] for name in WINDOW_COLUMNS} for row in rows]


def _of_window(window: WindowScores) -> Row:
    times: Row = {"start_s": round(window.start_s, 3), "end_s": round(window.end_s, 3)}
    return times | _scored(window)


@dataclass(frozen=True)
class Layout:
    """What a row of a table stands for, and its columns."""

    columns: tuple[str, ...]
    rows: Callable[[Scores], list[Row]]
    """The rows of one recording"""


RECORDINGS = Layout(COLUMNS, lambda scores: [cells(scores)])
"""A row for each recording."""
WINDOWS = Layout(WINDOW_COLUMNS, window_cells)
"""A row for each window of each recording; `duration_s` and `flags` are the recording's."""


class Table(ABC):
    """A table that takes rows as they come; a context manager, closed at its end."""

    @abstractmethod
    def write(self, scores: Scores) -> None: ...

    @abstractmethod
    def close(self, complete: bool) -> None:
        """Finish; `complete` is False when an exception cut the work short."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)


class _Lines:
    """Ends the lines of csv's writer in a newline alone. Told so itself, it would not quote a carriage return."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        return self._stream.write(line.removesuffix("\r\n") + "\n")


def csv_writer(stream: TextIO, layout: Layout) -> csv.DictWriter[str]:
    """Of rows; `stream` must not translate newlines."""
    return csv.DictWriter(_Lines(stream), layout.columns, lineterminator="\r\n")


class CsvTable(Table):
    """Comma-separated, one header line. The rows of a recording are on disk as soon as they are written."""

    def __init__(self, stream: TextIO, layout: Layout = RECORDINGS, *, head: bool = True) -> None:
        """`stream` must not translate newlines. Without `head` it has its header line already."""
        self._stream = stream
        self._layout = layout
        self._writer = csv_writer(stream, layout)
        if head:
            self._writer.writeheader()

    def write(self, scores: Scores) -> None:
        self._writer.writerows(self._layout.rows(scores))
        self._stream.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002 rows are worth keeping either way
        self._stream.close()


class JsonLinesTable(Table):
    """One JSON object a line. The rows of a recording are on disk as soon as they are written."""

    def __init__(self, stream: TextIO, layout: Layout = RECORDINGS) -> None:
        self._stream = stream
        self._layout = layout

    def write(self, scores: Scores) -> None:
        self._stream.writelines(json_line(row) for row in self._layout.rows(scores))
        self._stream.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002 rows are worth keeping either way
        self._stream.close()


def json_line(row: Row) -> str:
    """A row as JsonLinesTable writes it."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


class ParquetTable(Table):
    """Parquet, in row groups. The file appears when it is complete, and not at all otherwise.

    Until then its rows are JSON lines beside it (`part`), which stay when the work is cut short. Needs the extra
    `parquet` (MissingExtraError).
    """

    def __init__(
        self,
        path: Path,
        layout: Layout = RECORDINGS,
        *,
        append: bool = False,
        settle: Callable[[Path], None] = lambda part: None,  # noqa: ARG005
    ) -> None:
        """With `append`, to the rows that its part holds already. `settle` gets the part when it is complete."""
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
    """Where the rows of an unfinished Parquet file are kept, as JSON lines."""
    return path.with_name(f".{path.name}.part.jsonl")


def need_parquet() -> None:
    """Raise MissingExtraError where Parquet cannot be written."""
    if importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("writing .parquet", "parquet")


def parquet_schema(layout: Layout) -> Any:
    """Of a Parquet file; typed here and not from the rows: nothing but errors must not change it."""
    import pyarrow as pa

    types = {name: pa.float64() if name in NUMBERS else pa.string() for name in layout.columns}
    return pa.schema(list(types.items()))


def _to_parquet(lines: Path, path: Path, layout: Layout) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(layout)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with lines.open(encoding="utf-8", newline="") as stream, pq.ParquetWriter(unfinished, schema) as file:
            while group := [json.loads(line) for line in islice(stream, ROW_GROUP)]:
                file.write_table(pa.Table.from_pylist(group, schema=schema))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


SUFFIXES = (".csv", ".jsonl", ".parquet")


def check(path: Path) -> None:
    """Raise UsageError for a path that no table can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: tables end in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def create(path: Path, layout: Layout = RECORDINGS) -> Table:
    """An empty table; a file that is already there is replaced. The suffix says the format.

    Raises UsageError for other suffixes or a path that cannot be written, MissingExtraError for .parquet
    without pyarrow.
    """
    check(path)
    try:
        if path.suffix.lower() == ".parquet":
            return ParquetTable(path, layout)
        stream = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror or error})") from error
    return CsvTable(stream, layout) if path.suffix.lower() == ".csv" else JsonLinesTable(stream, layout)
