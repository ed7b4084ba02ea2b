"""Complete a table that an earlier run left unfinished.

A recording is done if the table has its rows by the same model, version and choice of channels, without an error, and
its file has not changed since. Recordings with an error are tried again. New rows are appended; when all are written,
the table is sorted into the order of an uninterrupted run. Rows of recordings that were not requested stay, in front
of the others.

Size and times of each scored file are in `SourceLog`, a hidden file next to the table. The time of the last change of
its status shows a file that was replaced by one of the same size and modification time. For a table without a log, a
file counts as changed if it is newer than the table. Paths are compared as absolute paths without links,
so that two spellings of a path are one recording.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self, TypeVar

from mtqnet.audio.reading import Channels
from mtqnet.errors import UsageError
from mtqnet.scoring import tables
from mtqnet.scoring.batch import identity, path_to_text, text_to_path
from mtqnet.scoring.tables import FileTable, Layout, Table

Rows = Iterable[dict[str, Any]]
Item = TypeVar("Item")
State = tuple[int, int, int]
"""Size of a file in bytes, and the times of its last modification and of its last change of status in nanoseconds"""


@dataclass(frozen=True)
class Wanted:
    """The table that the run is to produce."""

    paths: Sequence[Path]
    """Recordings in order"""
    model_sha256: str
    version: str
    layout: Layout
    channels: Channels = "mix"


def state(path: Path) -> State | None:
    """Return size and times of a file; None if there is no such file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class SourceLog:
    """Size and times of the files in a table when they were scored, as JSON lines in a hidden file.

    Args:
        table: Path of the table.
        empty: Whether entries of an earlier run are discarded.
        channels: Channels that this run scores.

    Raises:
        UsageError: The folder cannot be written.
    """

    def __init__(self, table: Path, *, empty: bool, channels: Channels = "mix") -> None:
        self.path = table.with_name(f".{table.name}.sources.jsonl")
        self._channels = str(channels)
        self._entries: dict[str, tuple[State, str]] = {} if empty else dict(self._read())
        try:
            with tables.replacement(self.path) as unfinished, unfinished.open("w", encoding="utf-8") as stream:
                stream.writelines(self._line(file, *entry) for file, entry in self._entries.items())
            self._stream = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {table} ({error.strerror or error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: Path) -> State | None:
        """Return the state of a file when it was scored; None if it is not known."""
        return self._entries.get(path_to_text(identity(path)), (None, ""))[0]

    def every_channel(self, path: Path) -> bool:
        """Whether the rows of a file are those of all its channels, as far as known."""
        return self._entries.get(path_to_text(identity(path)), (None, ""))[1] == "each"

    def add(self, path: Path, entry: State | None) -> None:
        """Record the state that a file had before it was scored. Call this before its rows are written."""
        if entry is not None:
            self._stream.write(self._line(path_to_text(identity(path)), entry, self._channels))
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @staticmethod
    def _line(file: str, entry: State, channels: str) -> str:
        numbers = dict(zip(("size", "modified_ns", "changed_ns"), entry, strict=True))
        return json.dumps({"file": file, **numbers, "channels": channels}) + "\n"

    def _read(self) -> Iterator[tuple[str, tuple[State, str]]]:
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                numbers = [int(entry[name]) for name in ("size", "modified_ns", "changed_ns")]
                yield str(entry["file"]), ((numbers[0], numbers[1], numbers[2]), str(entry.get("channels", "")))
            except (
                ValueError,
                TypeError,
                KeyError,
                OverflowError,
                RecursionError,
            ):  # a line that was cut by a kill
                continue


def reopen(path: Path, wanted: Wanted, log: SourceLog) -> tuple[Table, Set[Path]]:
    """Open a table for the rows that it lacks; create it if there is none.

    Args:
        path: Path of the table.
        wanted: The table that is to be produced.
        log: States of the files when they were scored.

    Returns:
        The table, and the recordings whose rows it has.

    Raises:
        UsageError: The path cannot be written, or the file there is not a table with the same columns.
    """
    tables.check_output(path)
    work = tables.work_file(path)
    source = work if work.exists() else path
    if not source.exists():
        return tables.create(path, wanted.layout), frozenset()
    done: set[Path] = set()
    kept = _kept(_read(source, wanted.layout), wanted, log, source.stat().st_mtime_ns, done)
    _rewrite(work, wanted.layout, kept)
    table = FileTable(path, wanted.layout, append=True, settle=lambda work: _sort(work, wanted))
    return table, done


def _kept(
    rows: Rows, wanted: Wanted, log: SourceLog, table_modified_ns: int, done: set[Path]
) -> Iterator[dict[str, Any]]:
    """Yield the rows that stay, with paths spelled as requested, and add their recordings to `done`."""
    several_rows = "start_s" in wanted.layout.columns or wanted.channels == "each"

    def right(row: dict[str, Any]) -> bool:
        channel, asked = row["channel"], wanted.channels
        same = bool(channel) if asked == "each" else not channel if asked == "mix" else str(channel) == str(asked)
        model = (row["model_sha256"], row["version"]) == (wanted.model_sha256, wanted.version)
        return same and model and not row["error"]

    def changed(path: Path) -> bool:
        now, scored = state(path), log.get(path)
        if now is None:  # a file that no longer exists keeps its row
            return False
        return now[1] > table_modified_ns if scored is None else now != scored

    requested = {identity(path): path for path in wanted.paths}
    groups = ((file, list(group)) for file, group in groupby(rows, key=lambda row: str(row["file"])))
    for (file, group), last in _with_last(groups):
        path = requested.get(identity(text_to_path(file)))
        if path is None:
            yield from group
            continue
        if path in done or changed(path) or not all(map(right, group)):
            continue
        if last and several_rows:  # the run may have ended between the rows of the last recording
            continue
        if wanted.channels == "each" and not log.every_channel(path):  # perhaps one of several channels
            continue
        done.add(path)
        yield from ({**row, "file": path_to_text(path)} for row in group)


def _with_last(items: Iterable[Item]) -> Iterator[tuple[Item, bool]]:
    """Yield each item, and whether it is the last."""
    before: list[Item] = []
    for item in items:
        if before:
            yield before.pop(), False
        before.append(item)
    for item in before:
        yield item, True


def _sort(work: Path, wanted: Wanted) -> None:
    position = {path_to_text(path): index for index, path in enumerate(wanted.paths)}
    rows = list(_read(work, wanted.layout))
    order = [position.get(str(row["file"]), -1) for row in rows]
    if order != sorted(order):
        rows.sort(key=lambda row: position.get(str(row["file"]), -1))
        _rewrite(work, wanted.layout, rows)


def _rewrite(work: Path, layout: Layout, rows: Rows) -> None:
    """Replace a table in one step."""
    with tables.replacement(work) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        tables.row_writer(stream, layout.columns, work.suffix.lower())(rows)


def _read(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    """Yield the complete rows of a table; a last line that was cut short is skipped."""
    read = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}[path.suffix.lower()]
    yield from read(path, layout)


def _check_columns(path: Path, found: tuple[str, ...], layout: Layout) -> None:
    if found == layout.columns:
        return
    if not {"file", "error"} <= set(found):
        raise _not_a_table(path, "it has no columns file and error")
    raise UsageError(f"{path} has other columns than this run writes: name another output, or omit --resume")


def _not_a_table(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is not a table of scores ({why}): name another output")


def _has_line(path: Path, start: str) -> bool:
    """Whether the first line of a file is complete. Raises UsageError if it was cut short and is not from a table."""
    with path.open("rb") as file:
        text = file.readline().decode("utf-8", errors="replace")
    if not text.endswith("\n") and not text.startswith(start) and not start.startswith(text):
        raise _not_a_table(path, "line 1")
    return text.endswith("\n")


def _read_csv(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    if not _has_line(path, ",".join(layout.columns)):
        return
    complete = _ends_a_line(path)
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:  # the last character may be cut, too
        reader = csv.reader(stream)
        usual = csv.field_size_limit(sys.maxsize)  # of the whole process: other readers rely on the usual limit
        try:
            head = next(reader, [])
            _check_columns(path, tuple(head), layout)
            for cells, last in _with_last(reader):
                if len(cells) == len(head) and (complete or not last):
                    yield dict(zip(head, cells, strict=True))
                elif not last:
                    raise _not_a_table(path, f"line {reader.line_num}")
        except csv.Error as error:
            raise _not_a_table(path, f"line {reader.line_num}: {error}") from error
        finally:
            csv.field_size_limit(usual)


def _ends_a_line(path: Path) -> bool:
    """Whether the last line is complete, so that its last cell was not cut."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() == b"\n"


def _read_json_lines(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    if not _has_line(path, f'{{"{layout.columns[0]}":'):
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:  # the last character may be cut, too
        for number, line in enumerate(stream, start=1):
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _not_a_table(path, f"line {number}") from error
            found = row if isinstance(row, dict) else {}
            _check_columns(path, tuple(found), layout)
            yield found


def _read_parquet(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    tables.need_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        _check_columns(path, tuple(table.schema_arrow.names), layout)
        for batch in table.iter_batches(tables.ROW_GROUP):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _not_a_table(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
