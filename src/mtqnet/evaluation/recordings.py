"""Recordings with their scores: a folder or a file that is scored now, or a table that was written before.

A table of scores is refused, with its row, if a score is not a number, is NaN or infinite, or is outside the
range of the score; and if a recording has two rows with different scores. Identical rows are counted once.

Recordings of two lists are matched by path, else by as many folders of the path as both have.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import NoAudioFoundError, UsageError
from mtqnet.evaluation import ratings, tables
from mtqnet.evaluation.tables import Cells, shown
from mtqnet.scoring import batch
from mtqnet.scoring.intervals import Interval
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS, Scores
from mtqnet.scoring.tables import CAUSE_COLUMNS, SUFFIXES, WINDOW_COLUMNS
from mtqnet.targets import BY_KEY, KEYS

TOLERANCE = 1e-6
"""By which a score may exceed its range: rounding of another program"""
WINDOW = ("start_s", "end_s")
"""Columns that distinguish the rows of one recording in a table of windows"""

Progress = Callable[[str, int, int], None]
"""Name of the work, items done, items in total"""
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One recording."""

    scores: Scores
    cells: Mapping[str, str]
    """Columns of its table that are not scores; empty for a recording that was scored now"""
    part: str = ""
    """Such as " (channel 2)", if other channels of the file have rows too"""

    @property
    def file(self) -> str:
        """Path as in the table, and the channel of a file that has a row for every channel."""
        return f"{self.scores.file or ''}{self.part}"


@dataclass(frozen=True)
class Recordings:
    """A set of recordings."""

    name: str
    """Name for messages: the folder or table as it was given"""
    root: Path
    """Folder that file names are relative to"""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Decisions that the user should know, such as duplicated rows"""

    @property
    def scored(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.scores.error is None)

    @property
    def unscored(self) -> tuple[tuple[str, str], ...]:
        """File and reason of each recording without scores."""
        return tuple((row.file, row.scores.error) for row in self.rows if row.scores.error is not None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Targets that every scored recording has."""
        return tuple(key for key in KEYS if all(row.scores.value(key) is not None for row in self.scored))

    @property
    def models(self) -> frozenset[str]:
        """SHA-256 of the models that predicted these scores, where known."""
        return frozenset(row.scores.model_sha256 for row in self.scored if row.scores.model_sha256)

    def short(self, row: Row) -> str:
        """A recording's path relative to the folder of all."""
        return os.path.relpath(row.file, self.root)


def values(rows: Sequence[Row], key: str) -> NDArray[np.float64]:
    """(rows,) scores of one target, log10 of a ratio; NaN where there is none."""
    found = [row.scores.value(key) for row in rows]
    numbers = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return BY_KEY[key].compress(numbers) if BY_KEY[key].log else numbers


@dataclass(frozen=True)
class Scorer:
    """Scores recordings with a model; the model is loaded when it is needed."""

    model: str = "base"
    threads: int = 0
    progress: Progress | None = None

    def files(self, paths: Iterable[Path], name: str, root: Path) -> Recordings:
        """Score files and folders; a recording that cannot be scored gets its reason. Raises MtqnetError."""
        jobs = batch.expand(paths)
        rows = []
        for scores in Predictor(self.model, self.threads).score_jobs(jobs):
            rows.append(Row(scores, {}))
            if self.progress is not None:
                self.progress(f"scoring {name}", len(rows), len(jobs))
        return Recordings(name, root, tuple(rows))

    def open(self, source: Path, *, must_exist: bool = False) -> Recordings:
        """A folder or a recording, scored now; or a table that `mtqnet score` wrote.

        Raises UsageError with `must_exist` for a path that does not exist, which otherwise is a recording without
        scores; MtqnetError.
        """
        if must_exist and not source.exists():
            raise UsageError(f"{source} does not exist: name a folder, a recording or a table of scores")
        if is_table(source):
            return read(source)
        return self.files([source], str(source), source if source.is_dir() else source.parent)


def is_table(path: Path) -> bool:
    """Whether a path is a table of scores, by its suffix."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read(path: Path) -> Recordings:
    """Read a table of scores: .csv, .jsonl or .parquet with `file` and one or more scores; other columns are kept.

    Raises:
        UsageError: The file is not such a table, or has an invalid value; the message names row and column.
        MissingExtraError: A Parquet file without pyarrow.
    """
    cells = tables.read(path)
    if "file" not in cells.columns or not set(cells.columns) & set(KEYS):
        raise UsageError(
            f"{path} is not a table of scores: it needs the columns file and one or more of {', '.join(KEYS)}, "
            f"as `mtqnet score --output` writes them"
        )
    rows = [_row(cells, place) for place in range(len(cells))]
    channels: dict[str, set[int | None]] = defaultdict(set)
    for row in rows:
        channels[row.file].add(row.scores.channel)
    several = {file for file, numbers in channels.items() if len(numbers) > 1}
    rows = [replace(row, part=f" (channel {row.scores.channel})") if row.file in several else row for row in rows]
    rows, notes = _unique(cells, rows)
    folders = [Path(row.file).parent for row in rows]
    common = len({folder.is_absolute() for folder in folders}) == 1
    root = Path(os.path.commonpath(folders)) if common else Path()
    return Recordings(str(path), root, tuple(rows), (*cells.notes, *notes))


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key by which c2 comes before c10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def groups(recordings: Recordings, by: str, table: Path | None) -> dict[str, list[Row]]:
    """Scored recordings by the value of a column, in the order of the values.

    The column is one of their own table, or of `table`, a CSV with a column of files. Recordings that it does not
    name are omitted. Raises UsageError if there is no such column, or if it names none of them.
    """
    if table is None:
        own = {name for row in recordings.rows for name in row.cells}
        if by not in own:
            there = f"its columns are {', '.join(sorted(own))}" if own else "it contains scores only"
            raise UsageError(
                f"{recordings.name} has no column {by!r} ({there}): name a CSV file that has it with --table"
            )
        names = [row.cells.get(by, "") for row in recordings.scored]
    else:
        names = _from_table(table, by, recordings)
    found: dict[str, list[Row]] = {}
    for name, row in sorted(zip(names, recordings.scored, strict=True), key=lambda pair: natural(pair[0])):
        if name:
            found.setdefault(name, []).append(row)
    if not found:
        if table is None:
            raise UsageError(f"the column {by!r} of {recordings.name} is empty: name another column with --by")
        first = next((row.file for row in recordings.scored), "none")
        raise UsageError(
            f"{table} names none of the recordings of {recordings.name} ({first}, ...): its file names must end like "
            "the names of the recordings"
        )
    return found


def _from_table(table: Path, by: str, recordings: Recordings) -> list[str]:
    """The value of column `by` for each scored recording; empty where the table does not name it."""
    cells = ratings.read_cells(table)
    column = cells.columns[ratings.chosen(cells.columns, by, table)]
    files = cells.columns[ratings.files_of(cells, advice="Rename the column of file names to file")]
    names = [row.file for row in recordings.scored]
    found = [""] * len(names)
    for row, place in enumerate(match_or_bare(files, table.parent, names)):
        value = column[row].strip()
        if place is None:
            continue
        if found[place] and found[place] != value:
            raise cells.error(row, by, f"{files[row]} is {shown(value)} here and {shown(found[place])} before")
        found[place] = value
    return found


def _row(cells: Cells, place: int) -> Row:
    texts = {name: column[place] for name, column in cells.columns.items()}
    if not texts["file"].strip():
        raise cells.error(place, "file", "empty; every row needs the name of a recording")

    def number(name: str, low: float, high: float) -> float | None:
        """A cell as a number within a range; None if it is empty."""
        cell = texts.get(name, "").strip()
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not cell.isascii():
            raise cells.error(place, name, f"{shown(cell)} is not a finite number; score the recordings again")
        if not low - TOLERANCE <= value <= high + TOLERANCE:
            raise cells.error(
                place, name, f"{shown(cell)} is outside the range of this score, {low:g} to {high:g}"
            )
        return value

    scores: dict[str, Any] = {}
    intervals = {}
    for key, target in BY_KEY.items():
        scores[key], low, high = (number(f"{key}{end}", target.low, target.high) for end in ("", "_low", "_high"))
        if low is not None and high is not None:
            intervals[key] = Interval(low, high)
    error = texts.get("error", "").strip() or None
    if error is None and all(value is None for value in scores.values()):
        error = "no score in the table"
    channel = number("channel", 1, math.inf)
    about: dict[str, Any] = {name: texts.get(name, "") for name in ("file", "model", "model_sha256", "version")}
    made = Scores(
        **scores, **about, intervals=intervals, channel=None if channel is None else int(channel),
        duration_s=number("duration_s", 0.0, math.inf), flags=tuple(texts.get("flags", "").split()), error=error,
    )  # fmt: skip
    own = {*COLUMNS, *WINDOW_COLUMNS, *CAUSE_COLUMNS}
    return Row(made, {name: text.strip() for name, text in texts.items() if name not in own})


def _unique(cells: Cells, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Rows without repetitions, and a note about them. Raises UsageError if two rows of a recording differ."""
    windows = [cells.columns[name] for name in WINDOW if name in cells.columns]
    first: dict[tuple[str, ...], int] = {}
    for place, row in enumerate(rows):
        before = first.setdefault((ratings.recording_key(row.file), *(column[place] for column in windows)), place)
        if row != rows[before]:
            raise cells.error(
                place, "file", f"{shown(row.file)} has other scores in {cells.where(before)}: keep one of the rows"
            )
    repeated = sorted(set(range(len(rows))) - set(first.values()))
    notes = [ratings.duplicates(cells, repeated)] if repeated else []
    return [rows[place] for place in first.values()], [f"{cells.path}: {note}" for note in notes]


def match(names: Sequence[str], root: Path, files: Sequence[str]) -> list[int | None]:
    """Return the index in `files` of each name; None if there is none, or more than one.

    A name is a path relative to `root`, or a URL.

    First the same file on disk; else the file whose last folders and name agree as far as both have them, whatever
    the suffix: "wb/a.flac" matches "scored/wb/a.wav", and not "fb/a.wav".
    """
    on_disk = {os.path.realpath(file): place for place, file in enumerate(files)}
    tails: dict[str, list[tuple[Parts, int]]] = defaultdict(list)
    for place, file in enumerate(files):
        tails[parts(file)[-1]].append((parts(file), place))
    found: list[int | None] = []
    for name in names:
        here = on_disk.get(os.path.realpath(root / local(name)))
        found.append(here if here is not None else _only(parts(name), tails))
    return found


def match_or_bare(names: Sequence[str], root: Path, files: Sequence[str]) -> list[int | None]:
    """`match`; if it finds nothing at all, by file names only: tables often name folders that no longer exist."""
    found = match(names, root, files)
    if any(place is not None for place in found):
        return found
    return match([parts(name)[-1] for name in names], root, files)


def locate(names: Sequence[str], root: Path) -> list[Path]:
    """Paths of the recordings of a table: relative to `root`, with a suffix of audio, else anywhere below `root`.

    A name that is not found stays as written, so that scoring reports it as missing.
    """
    plain = [_beside(root, name) for name in names]
    if all(path is not None for path in plain):
        return [path for path in plain if path is not None]
    try:
        below = [str(path) for path in batch.find(root)] if root.is_dir() else []
    except NoAudioFoundError:
        below = []
    places = match_or_bare(names, root, below)
    searched = [Path(below[place]) if place is not None else None for place in places]
    return [path or other or root / local(name) for path, other, name in zip(plain, searched, names, strict=True)]


def local(name: str) -> str:
    """A name without the host of a URL: "https://host/a/b.wav" -> "a/b.wav"."""
    return unquote(urlsplit(name).path).lstrip("/") if "://" in name else name


def parts(name: str) -> Parts:
    """Folders and stem, without "." and "..": "../wb/a.flac" -> ("wb", "a"). Backslashes separate folders, too."""
    path = PurePath(local(name).replace("\\", "/"))
    suffix = path.suffix if path.suffix.lower() in AUDIO_SUFFIXES else ""
    stem = path.name.removesuffix(suffix)
    return (*(part for part in path.parent.parts if part not in (".", "..", "/")), stem)


def _only(wanted: Parts, tails: dict[str, list[tuple[Parts, int]]]) -> int | None:
    agreeing = []
    for known, place in tails.get(wanted[-1], []):
        common = min(len(wanted), len(known))
        if wanted[-common:] == known[-common:]:
            agreeing.append(place)
    return agreeing[0] if len(agreeing) == 1 else None


def _beside(root: Path, name: str) -> Path | None:
    """The file that is called so below `root`, also without its suffix."""
    written = root / local(name)
    candidates = (written, *(written.with_name(written.name + suffix) for suffix in sorted(AUDIO_SUFFIXES)))
    try:
        return next((path for path in candidates if path.is_file()), None)
    except (OSError, ValueError):  # too long, or a NUL character
        return None
