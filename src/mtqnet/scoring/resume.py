"""Going on with a table that an earlier run left: what it holds is kept, the rest is added, the order is mended.

A recording is done when the table holds its rows by the same model and the same version, without an error: what
could not be scored is tried again. Of rows by window the last recording is done anew, as the run may have ended in
the midst of them. New rows are added as they come; when all are there, they are put in the order of an unbroken
run. Rows of recordings that were not asked for stay, before all others.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from mtqnet.errors import UsageError
from mtqnet.scoring import tables
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.tables import WINDOWS, CsvTable, JsonLinesTable, Layout, ParquetTable, Table

Rows = Iterable[dict[str, Any]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Wanted:
    """What the whole table is to be."""

    files: Sequence[str]
    """In order, as they stand in the column `file`"""
    model_sha256: str
    version: str
    layout: Layout


@dataclass(frozen=True)
class Reopened:
    """A table to add to."""

    table: Table
    done: frozenset[str]
    """Files that it holds"""


def reopen(path: Path, wanted: Wanted) -> Reopened:
    """Open a table for the rows that it lacks; an empty one where there is none yet.

    Raises UsageError for a path that no table can be written to, or a table with other columns.
    """
    tables.check(path)
    parquet = path.suffix.lower() == ".parquet"
    work = tables.part(path) if parquet else path
    source = work if work.exists() else path
    if not source.exists():
        return Reopened(tables.create(path, wanted.layout), frozenset())
    done: set[str] = set()
    _rewrite(work, wanted.layout, _kept(_read(source, wanted.layout), wanted, done))
    return Reopened(_open(path, wanted), frozenset(done))


class OrderedTable(Table):
    """A table that is put in order when it is complete."""

    def __init__(self, table: Table, settle: Callable[[], None]) -> None:
        self._table = table
        self._settle = settle

    def write(self, scores: Scores) -> None:
        self._table.write(scores)

    def close(self, complete: bool) -> None:
        self._table.close(complete)
        if complete:
            self._settle()


def _open(path: Path, wanted: Wanted) -> Table:
    settle = partial(_put_in_order, wanted=wanted)
    if path.suffix.lower() == ".parquet":
        return ParquetTable(path, wanted.layout, append=True, settle=settle)
    stream = path.open("a", encoding="utf-8", newline="")
    csv_like = path.suffix.lower() == ".csv"
    table = CsvTable(stream, wanted.layout, head=False) if csv_like else JsonLinesTable(stream, wanted.layout)
    return OrderedTable(table, partial(settle, path))


def _kept(rows: Rows, wanted: Wanted, done: set[str]) -> Iterator[dict[str, Any]]:
    """The rows that stay; `done` gets the files they are of, as far as they are wanted."""
    asked = frozenset(wanted.files)
    groups = ((file, list(group)) for file, group in groupby(rows, key=lambda row: str(row["file"])))
    for (file, group), last in _with_last(groups):
        if file not in asked:
            yield from group
        elif file not in done and _holds(group, wanted) and not (last and wanted.layout is WINDOWS):
            done.add(file)
            yield from group


def _with_last(items: Iterable[Item]) -> Iterator[tuple[Item, bool]]:
    """Each, and whether it is the last."""
    before: list[Item] = []
    for item in items:
        if before:
            yield before.pop(), False
        before.append(item)
    for item in before:
        yield item, True


def _holds(group: list[dict[str, Any]], wanted: Wanted) -> bool:
    same = (wanted.model_sha256, wanted.version)
    return all((row["model_sha256"], row["version"]) == same and not row["error"] for row in group)


def _put_in_order(work: Path, wanted: Wanted) -> None:
    place = {file: number for number, file in enumerate(wanted.files)}
    rows = list(_read(work, wanted.layout))
    order = [place.get(str(row["file"]), -1) for row in rows]
    if order != sorted(order):
        rows.sort(key=lambda row: place.get(str(row["file"]), -1))
        _rewrite(work, wanted.layout, rows)


def _rewrite(work: Path, layout: Layout, rows: Rows) -> None:
    """Replace a table in one step."""
    unfinished = work.with_name(f".{work.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            if work.suffix.lower() == ".csv":
                writer = tables.csv_writer(stream, layout)
                writer.writeheader()
                writer.writerows(rows)
            else:
                stream.writelines(tables.json_line(row) for row in rows)
        unfinished.replace(work)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    """Complete rows of a table; a last line that was cut short is left out."""
    read = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}[path.suffix.lower()]
    for row in read(path):
        if tuple(row) != layout.columns:
            raise UsageError(
                f"{path} has other columns than this table would have: name another output, or leave --resume out"
            )
        yield row


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    whole = _ends_a_line(path)
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:  # a letter may be cut, too
        reader = csv.reader(stream)
        head = next(reader, [])
        for cells, last in _with_last(reader):
            if len(cells) == len(head) and (whole or not last):
                yield dict(zip(head, cells, strict=True))
            elif not last:
                raise UsageError(f"{path} is not a table of scores (line {reader.line_num}): name another output")


def _ends_a_line(path: Path) -> bool:
    """Whether the last line was written to its end: only then is its last cell, or its last quote, not cut."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() == b"\n"


def _read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:  # a letter may be cut, too
        for number, line in enumerate(stream, start=1):
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path} is not JSON lines (line {number}): name another output") from error
            yield row if isinstance(row, dict) else {}


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    tables.need_parquet()
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(tables.ROW_GROUP):
        yield from batch.to_pylist()
