"""Read tables of other programs: CSV and other delimited text, JSON lines and Parquet.

Rules for text: UTF-8, or UTF-16 with a byte order mark, else Windows-1252. Fields are separated by comma, semicolon or
tab: the one that is most frequent in the header line, or the one that a first line such as `sep=;` names. Blank lines
are skipped. Columns without a name are dropped if all their cells are empty.

Everything else is an error with its row: a cell of more than 131,072 characters, a quotation mark that is not
closed, a NUL character, a row with more cells than the header, a last row that was cut off.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtqnet.errors import UsageError, missing_extra

LARGEST_BYTES = 1 << 30
"""A larger table is refused; 1 GiB is about five million rows of scores"""
TITLE_LINES = 10
"""Lines above the header that are skipped, such as the title of a spreadsheet"""
LONGEST_SHOWN = 60
"""Characters of a cell that an error message repeats"""

Row = list[str]


@dataclass(frozen=True)
class Cells:
    """A table as text."""

    path: Path
    columns: Mapping[str, tuple[str, ...]]
    """(rows,) cells of each column"""
    lines: tuple[int, ...] = ()
    """(rows,) line of each row in a text file; empty for other formats"""
    notes: tuple[str, ...] = ()
    """What was decided while the table was read, one sentence each"""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def where(self, place: int) -> str:
        """A row in words: "row 5 (line 6)", counted from 1 without the header."""
        return f"row {place + 1} (line {self.lines[place]})" if self.lines else f"row {place + 1}"

    def error(self, place: int, column: str, problem: str) -> UsageError:
        """An error about one cell."""
        return UsageError(f"{self.path}, {self.where(place)}, column {column!r}: {problem}")


def shown(cell: str) -> str:
    """A cell for an error message, shortened."""
    return repr(cell if len(cell) <= LONGEST_SHOWN else f"{cell[:LONGEST_SHOWN]}...")


def read(path: Path, is_header: Callable[[Row], bool] | None = None) -> Cells:
    """Read a table: .jsonl and .parquet by their suffix, everything else as delimited text.

    Args:
        path: The file.
        is_header: Whether a line of text is the header. Up to TITLE_LINES lines above it are skipped; if there is
            no such line, the first line is the header.

    Raises:
        UsageError: The file is not such a table; the message names the row.
        MissingExtraError: A Parquet file without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _of_records(path, _parquet(path))
    text = _decoded(path, read_bytes(path, "table"))
    return _of_records(path, _json_lines(text, path)) if suffix == ".jsonl" else _delimited(path, text, is_header)


def read_bytes(path: Path, kind: str) -> bytes:
    """Read a regular file of acceptable size; `kind` is its name in messages. Raises UsageError."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{path} is a folder, not a {kind}: name a file")
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is not a regular file: write the {kind} to a file first")
        if found.st_size > LARGEST_BYTES:
            raise UsageError(
                f"{path} has {found.st_size:,} bytes, the limit is {LARGEST_BYTES:,}: split the {kind}"
            )
        return path.read_bytes()
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {path} ({getattr(error, 'strerror', None) or error}): check the path"
        ) from error


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """Read a TOML file; a message about its syntax has the line and a correct example. Raises UsageError."""
    content = read_bytes(path, "TOML file")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        problem, _, place = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", place)
        where = f"{path}, line {line[1]}" if line else f"{path}, at the end"
        raise UsageError(f"{where}: not valid TOML ({problem}); correct is, for example, {example}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not valid UTF-8 text: save it as UTF-8") from error
    except RecursionError as error:
        raise UsageError(
            f"{path}: not valid TOML (nested too deeply); correct is, for example, {example}"
        ) from error


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UsageError(f"{path} is a spreadsheet or ZIP file, not text: save it as CSV")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise UsageError(
                f"{path} is damaged: it is not valid UTF-16 text ({error.reason}); save it as CSV again"
            ) from error
        text = content.decode("cp1252", "replace")
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise UsageError(
            f"{path}, line {line}: a NUL character; the file is damaged or is not text: save the table as CSV again"
        )
    return text


def _delimited(path: Path, text: str, is_header: Callable[[Row], bool] | None) -> Cells:
    first, _, rest = text.partition("\n")
    named = re.fullmatch(r"\ufeff?\"?sep=(.)\"?[\s;,]*", first.strip("\r"), flags=re.IGNORECASE)
    if named:
        text = rest
    rows, lines = _rows(path, text, named[1] if named else _separator(text, is_header), 1 if named else 0)
    if not rows:
        raise UsageError(f"{path} is empty: expected a header line and one line per recording")
    head = next((n for n, row in enumerate(rows[: TITLE_LINES + 1]) if is_header and is_header(row)), 0)
    if any(sum(bool(cell.strip()) for cell in row) > 1 for row in rows[:head]):
        head = 0  # a row of data that happens to look like a header
    notes = (f"{head} line{'s' * (head > 1)} above the header skipped",) if head else ()
    header, body, lines = [name.strip() for name in rows[head]], rows[head + 1 :], lines[head + 1 :]
    for row, line in zip(body, lines, strict=True):
        if any(cell.strip() for cell in row[len(header) :]):
            raise UsageError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)} columns; put a cell that "
                "contains the separator in quotation marks"
            )
    if body and len(body[-1]) < len(header) and not text.endswith(("\n", "\r")):
        raise UsageError(
            f"{path}, line {lines[-1]}: the last row is cut off after {len(body[-1])} cells; complete or delete it"
        )
    filled = [row + [""] * (len(header) - len(row)) for row in body]
    columns: dict[str, tuple[str, ...]] = {}
    for place, name in enumerate(header):
        cells = tuple(row[place] for row in filled)
        if not name and not any(cell.strip() for cell in cells):
            continue
        name = name or f"column {place + 1}"
        if name in columns:
            raise UsageError(f"{path} has two columns named {shown(name)}: rename one")
        columns[name] = cells
    return Cells(path, columns, tuple(lines), notes)


def _separator(text: str, is_header: Callable[[Row], bool] | None) -> str:
    """The most frequent separator of the header line, or of the first line if no header is found."""
    lines = io.StringIO(text).readlines()[: TITLE_LINES + 1] or [""]
    for line in lines if is_header else ():
        best = max(",;\t", key=line.count)
        if is_header and is_header([cell.strip().strip('"') for cell in line.rstrip("\r\n").split(best)]):
            return best
    return max(",;\t", key=lines[0].count)


def _rows(path: Path, text: str, separator: str, skipped: int) -> tuple[list[Row], list[int]]:
    """Rows that are not blank, and the line that each begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines, begin = [], [], 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(begin + skipped)
            begin = reader.line_num + 1
    except csv.Error as error:
        long = "field larger than field limit" in str(error)
        problem = "a cell has more than 131,072 characters" if long else f"not a valid table ({error})"
        raise UsageError(f"{path}, line {begin + skipped}: {problem}; save the table as CSV again") from error
    return rows, lines


def _json_lines(text: str, path: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise UsageError(
                f"{path}, line {number}: damaged, not a JSON object ({problem}); correct or delete the line"
            ) from error
        if not isinstance(record, dict):
            raise UsageError(f"{path}, line {number}: damaged, expected a JSON object per line")
        records.append(record)
    return records


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise missing_extra("reading .parquet", "parquet") from error
    content = io.BytesIO(read_bytes(path, "table"))
    try:
        records: list[dict[str, Any]] = pq.ParquetFile(content).read().to_pylist()
    except Exception as error:  # pyarrow raises many kinds of exceptions for damaged files
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(f"{path} is damaged or is not a Parquet file ({reason}): write it again") from error
    return records


def _of_records(path: Path, records: Sequence[Mapping[str, Any]]) -> Cells:
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: tuple(_text(record.get(name)) for record in records) for name in names}
    for name, cells in columns.items():
        for place, cell in enumerate(cells):
            try:  # whether it can be a file name; the bytes of undecodable names are kept as surrogates
                valid = b"\x00" not in os.fsencode(cell)
            except UnicodeEncodeError:
                valid = False
            if not valid:
                raise Cells(path, columns).error(
                    place, name, "a NUL character or an invalid surrogate; correct it"
                )
    return Cells(path, columns)


def _text(value: object) -> str:
    """A value as text; a number as it is written in CSV."""
    return "" if value is None else value if isinstance(value, str) else str(value)[: 1 << 17]
