"""Tables of scores on disk: one small writer per format, all with the same columns and the same numbers.

Rounding, once for all formats: scores to 4 decimals (a MOS means less than its second), scores on a ratio
scale (`sdi_est`) to 4 figures, durations to milliseconds. A missing value is an empty cell in CSV and null
elsewhere; flags are one text, separated by blanks.
"""

from __future__ import annotations

import csv
import json
import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from mtqnet.errors import UsageError, missing_extra
from mtqnet.scoring.scores import COLUMNS, ENDS, Cell, Scores
from mtqnet.targets import TARGETS

DECIMALS = 4
FIGURES = 4
NUMBERS = (*(target.key for target in TARGETS), *ENDS, "duration_s")
"""Columns that hold numbers; all others hold text."""
ROW_GROUP = 4096
"""Rows that a Parquet writer keeps before it writes them."""


def cells(scores: Scores) -> dict[str, Cell]:
    """A row as it is written: rounded, in the order of COLUMNS."""
    row = scores.as_row()
    for target in TARGETS:
        for name in (target.key, f"{target.key}_low", f"{target.key}_high"):
            value = row[name]
            if isinstance(value, float):
                row[name] = float(f"{value:.{FIGURES}g}") if target.log else round(value, DECIMALS)
    if scores.duration_s is not None:
        row["duration_s"] = round(scores.duration_s, 3)
    return row


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


class CsvTable(Table):
    """Comma-separated, one header line. Every row is on disk as soon as it is written."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` must not translate newlines."""
        self._stream = stream
        self._writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def write(self, scores: Scores) -> None:
        self._writer.writerow(cells(scores))
        self._stream.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002 rows are worth keeping either way
        self._stream.close()


class JsonLinesTable(Table):
    """One JSON object a line. Every row is on disk as soon as it is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, scores: Scores) -> None:
        self._stream.write(json.dumps(cells(scores), ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002 rows are worth keeping either way
        self._stream.close()


class ParquetTable(Table):
    """Parquet, in row groups. The file appears when it is complete, and not at all otherwise.

    Needs the extra `parquet` (MissingExtraError).
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise missing_extra("writing .parquet", "parquet") from error
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        # Typed here and not from the rows: a group of nothing but errors must not change the schema.
        types = {name: pa.float64() if name in NUMBERS else pa.string() for name in COLUMNS}
        self._schema = pa.schema(list(types.items()))
        self._make = pa.Table.from_pylist
        self._file = pq.ParquetWriter(self._part, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, scores: Scores) -> None:
        self._rows.append(cells(scores))
        if len(self._rows) >= ROW_GROUP:
            self._flush()

    def close(self, complete: bool) -> None:
        try:
            if complete:
                self._flush()
            self._file.close()
            if complete:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(self._make(self._rows, schema=self._schema))
            self._rows = []


SUFFIXES = (".csv", ".jsonl", ".parquet")


def check(path: Path) -> None:
    """Raise UsageError for a path that no table can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: tables end in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def create(path: Path) -> Table:
    """An empty table; a file that is already there is replaced. The suffix says the format.

    Raises UsageError for other suffixes or a path that cannot be written, MissingExtraError for .parquet
    without pyarrow.
    """
    check(path)
    try:
        if path.suffix.lower() == ".parquet":
            return ParquetTable(path)
        stream = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror or error})") from error
    return CsvTable(stream) if path.suffix.lower() == ".csv" else JsonLinesTable(stream)
