"""Recordings with their scores: a folder or a file that is scored now, or a table that was scored before."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError, missing_extra
from mtqnet.evaluation import label_tables, matching
from mtqnet.scoring import batch, tables
from mtqnet.scoring.intervals import Interval
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS, ENDS, Scores
from mtqnet.targets import BY_KEY, KEYS

Progress = Callable[[str, int, int], None]
"""Name of the work, done, in all"""


@dataclass(frozen=True)
class Row:
    """One recording."""

    scores: Scores
    cells: Mapping[str, str]
    """Columns of its table that are no scores; empty for a recording that was scored now"""

    @property
    def file(self) -> str:
        return self.scores.file or ""


@dataclass(frozen=True)
class Recordings:
    """A set of them."""

    name: str
    """What people call it: the folder or table as it was given"""
    root: Path
    """Folder that names are told from"""
    rows: tuple[Row, ...]

    @property
    def scored(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.scores.error is None)

    @property
    def unscored(self) -> tuple[tuple[str, str], ...]:
        """File and reason of each that has no score."""
        return tuple((row.file, row.scores.error) for row in self.rows if row.scores.error is not None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Targets that every scored recording has."""
        return tuple(key for key in KEYS if all(row.scores.value(key) is not None for row in self.scored))

    def short(self, row: Row) -> str:
        """A recording's path from the folder of all."""
        return os.path.relpath(row.file, self.root)


def values(rows: Sequence[Row], key: str) -> NDArray[np.float64]:
    """(rows,) scores of one target, log10 where it is a ratio; NaN where there is none."""
    found = [row.scores.value(key) for row in rows]
    numbers = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return BY_KEY[key].compress(numbers) if BY_KEY[key].log else numbers


@dataclass(frozen=True)
class Scorer:
    """How recordings are scored, once that is needed."""

    model: str = "base"
    threads: int = 0
    progress: Progress | None = None

    def files(self, paths: Iterable[Path], name: str, root: Path) -> Recordings:
        """Score files and folders; one that cannot be scored keeps its reason. Raises MtqnetError."""
        jobs = batch.expand(paths)
        rows = []
        for scores in batch.score_jobs(Predictor(self.model, self.threads), jobs):
            rows.append(Row(scores, {}))
            if self.progress is not None:
                self.progress(f"scoring {name}", len(rows), len(jobs))
        return Recordings(name, root, tuple(rows))

    def open(self, source: Path) -> Recordings:
        """A folder or a recording, scored now; or a table that `mtqnet score` wrote. Raises MtqnetError."""
        if is_table(source):
            return read(source)
        return self.files([source], str(source), source if source.is_dir() else source.parent)


def is_table(path: Path) -> bool:
    """Whether a path is a table of scores, by its suffix."""
    return path.suffix.lower() in tables.SUFFIXES and not path.is_dir()


def read(path: Path) -> Recordings:
    """A table of scores: .csv, .jsonl or .parquet with `file` and one or more scores; further columns are kept.

    Raises UsageError for what is no such table, MissingExtraError for .parquet without pyarrow.
    """
    records = _records(path)
    columns = set(records[0]) if records else set()
    if "file" not in columns or not columns & set(KEYS):
        raise UsageError(
            f"{path} is no table of scores: it needs the columns file and one or more of {', '.join(KEYS)}, "
            f"as `mtqnet score --output` writes them"
        )
    rows = tuple(_row(record, path) for record in records)
    folders = [Path(row.file).parent for row in rows]
    alike = len({folder.is_absolute() for folder in folders}) == 1
    return Recordings(str(path), Path(os.path.commonpath(folders)) if alike else Path(), rows)


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts names as people do: c2 before c10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def groups(recordings: Recordings, by: str, table: Path | None) -> dict[str, list[Row]]:
    """Scored recordings by what a column says of them, in order of the names.

    The column is one of their own table, or of `table`, a CSV with a column of files. Recordings it does not name
    are left out. Raises UsageError where there is no such column, or where it knows none of them.
    """
    if table is None:
        own = {name for row in recordings.rows for name in row.cells}
        if by not in own:
            there = f"there are {', '.join(sorted(own))}" if own else "it holds scores alone"
            raise UsageError(
                f"{recordings.name} has no column {by!r} ({there}): name a CSV that has it with --table"
            )
        told = [row.cells.get(by, "") for row in recordings.scored]
    else:
        told = _told_by(table, by, recordings)
    found: dict[str, list[Row]] = {}
    for name, row in sorted(zip(told, recordings.scored, strict=True), key=lambda pair: natural(pair[0])):
        if name:
            found.setdefault(name, []).append(row)
    if not found:
        raise UsageError(f"no recording of {recordings.name} is named in {table or by}: are these the same files?")
    return found


def _told_by(table: Path, by: str, recordings: Recordings) -> list[str]:
    """What the column `by` of a CSV says of each scored recording; nothing where it does not name it."""
    cells = label_tables.read_cells(table)
    told, files = label_tables.column(cells, by, table), cells[label_tables.files_of(cells, table)]
    names = [row.file for row in recordings.scored]
    found = [""] * len(names)
    for place, said in zip(matching.match_or_bare(files, table.parent, names), told, strict=True):
        if place is not None:
            found[place] = said
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise missing_extra("reading .parquet", "parquet") from error
    try:
        if path.suffix.lower() == ".parquet":
            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return rows
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix.lower() == ".csv":
                return list(csv.DictReader(stream))
            return [json.loads(line) for line in stream if line.strip()]
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror or error}): check the path") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}): score the recordings again") from error


def _row(record: Mapping[str, Any], path: Path) -> Row:
    texts = {name: "" if value is None else str(value) for name, value in record.items() if name is not None}
    try:
        scores: dict[str, Any] = {key: float(texts[key]) if texts.get(key) else None for key in KEYS}
        ends = {name: float(texts[name]) for name in ENDS if texts.get(name)}
        duration = float(texts["duration_s"]) if texts.get("duration_s") else None
    except ValueError as error:
        raise UsageError(f"{path}, {texts.get('file')}: {error}") from error
    error_text = texts.get("error") or None
    if error_text is None and all(value is None for value in scores.values()):
        error_text = "no score in the table"
    told: dict[str, Any] = {name: texts.get(name, "") for name in ("file", "model", "model_sha256", "version")}
    both = [key for key in KEYS if {f"{key}_low", f"{key}_high"} <= set(ends)]
    intervals = {key: Interval(ends[f"{key}_low"], ends[f"{key}_high"]) for key in both}
    made = Scores(
        **scores,
        **told,
        intervals=intervals,
        duration_s=duration,
        flags=tuple(texts.get("flags", "").split()),
        error=error_text,
    )
    own = {*COLUMNS, *tables.WINDOW_COLUMNS}
    return Row(made, {name: text for name, text in texts.items() if name not in own})
