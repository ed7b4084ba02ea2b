"""Tables of ratings. `evaluate`, `compare`, `gate`, `finetune` and `train` read them with this module alone.

**Columns.** A column is recognised by its name, without regard to case, blanks and punctuation ("S-MOS" is
"s_mos"). First the names in COLUMNS are looked for, in their order; if none is found, the words of DECORATION are
removed from the table's names ("3QUEST S", "sig_mos_condition") and the search is repeated. Options have
priority: `--column file=NAME`, `--column s_mos=SIG`. Formats that were read from their makers' files or code: P.835
results of the P.808 toolkit (MOS_SIG, std_sig, n, 95%CI_sig, file_url, condition_name), the NISQA corpus
(filepath_deg, mos, mos_std, votes, con; its noi, col, dis and loud are other dimensions and are ignored),
VoiceMOS lists (sysA-uttB.wav,3.5 without a header: the system is the condition; 2024 track 3:
systems,SIG,BAK,OVR). Assumptions, because no real file was available: CHiME UDASE lists (SIG, BAK, OVRL) and
3QUEST exports (S-MOS-LQO, N-MOS-LQO, G-MOS-LQO, with the band as last letter or word: n, w or s). If a table has
one score in several bands, each row may have a value in one band only, and a column `band` is added.

**Numbers.** Decimal point or decimal comma. Empty cells and the words in NOTHING are no rating. Ratings of S, N
and G are on the scale 1 to 5: the CODES 0, -1, 99 and so on mean "no rating" and are reported; any other value
outside is an error with its row. If most values are outside 1 to 5 and all are in 0 to 100 (MUSHRA), the ratings
are on another scale (`same_scale` is False). There a 0 or a 99 is a rating, because it cannot be distinguished
from one.

**Rows.** One row per recording, or one row per vote. Identical rows are duplicates: they are reported and counted
once. Several different rows of a recording are averaged (weighted by their votes, if the table has them) and
counted. If most recordings have several rows and no other column distinguishes them (a table of file and vote),
identical rows are different votes and are all counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import tables
from mtqnet.evaluation.tables import Cells, shown
from mtqnet.targets import BY_KEY, KEYS, QUEST, TARGETS

FILE = (
    "filepath_deg", "file", "file_path", "filepath", "path", "wav_path", "filename_deg", "file_name", "filename",
    "file_url", "url", "wav", "audio", "clip", "sample", "sample_id", "stimulus", "recording", "systems",
    "measurement", "measurement_number", "measurement_no",
)  # fmt: skip
CONDITION = ("condition", "con", "condition_name", "system", "system_id", "condition_id")
VOTES = ("votes", "n", "n_votes", "num_votes", "n_listeners", "n_votes_condition", "number_of_votes")
COLUMNS: Mapping[str, tuple[str, ...]] = {target.key: (target.label,) for target in TARGETS} | {
    "s_mos": ("s_mos", "smos", "mos_sig", "sig_mos", "sig", "mos_s", "s"),
    "n_mos": ("n_mos", "nmos", "mos_bak", "bak_mos", "bak", "mos_n", "3quest_n"),
    "g_mos": (
        "g_mos", "gmos", "mos_ovrl", "ovrl_mos", "ovrl", "mos_ovr", "ovr_mos", "ovr", "overall", "mos_g", "g",
        "mos", "mushra", "acr",
    ),
    "pesq_est": ("pesq", "pesq_wb", "wb_pesq"),
}  # fmt: skip
"""Names of the true value of each target, as words joined by _, best first."""
DEVIATION = ("{stem}_std", "std_{stem}", "{name}_std", "std_{name}")
HALF = ("{stem}_ci95", "ci95_{stem}", "95_ci_{stem}", "{name}_ci95", "{name}_ci", "{stem}_ci", "95_ci_{name}")
"""Names of standard deviation and half interval: `name` is the rating's own, `stem` the same without "mos"."""
DECORATION = frozenset(
    "3quest p835 mean average avg score rating value condition lqo lqs nb wb swb fb".split()  # noqa: SIM905
)
BANDS = ("n", "w", "s")
"""Band of a 3QUEST score: narrowband, wideband, super-wideband; the suffix of LQO"""
BAND = "band"
"""Column that is added to a table with scores of several bands"""
NOTHING = frozenset(("", "nan", "na", "n/a", "n.a.", "#n/a", "#nv", "none", "null", "missing", "-", "."))
MOS_SPAN = (1.0, 5.0)
"""Of ITU-T P.800 and P.835"""
OTHER_SPAN = (0.0, 100.0)
"""Of MUSHRA and other continuous scales"""
SPANS: Mapping[str, tuple[float, float]] = {target.key: (target.low, target.high) for target in TARGETS} | {
    "pesq_est": (1.0, 4.65),
    "stoi_est": (-0.999, 1.0),
    "sdi_est": (0.0, 50.0),
}
"""Values that PESQ (P.862.1 and P.862.2), STOI and SDI can take"""
CODES = frozenset((0.0, -1.0, -9.0, -99.0, -999.0, 99.0, 999.0, 9999.0))
"""Numbers that mean "no rating" where they are outside the scale"""

VOICEMOS = re.compile(r"(?P<system>[^/\\]+)-[^/\\-]+$")
"""system-utterance.wav"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ratings:
    """Ratings of one target. Arrays are (recordings,), NaN where the table has no value."""

    column: str
    mean: Array
    deviation: Array
    """Standard deviation of the votes"""
    half: Array
    """Half width of the 95 % interval, where the table gives it"""
    votes: Array
    """Number of votes"""
    same_scale: bool
    """Whether ratings and scores have the same unit, so that their difference is meaningful"""


@dataclass(frozen=True)
class RatingTable:
    """A table of ratings with one entry per recording."""

    path: Path
    files: tuple[str, ...]
    """Recordings as the table names them, each once"""
    ratings: Mapping[str, Ratings]
    """By key of the target; only those that the table has"""
    votes: Array
    """(recordings,) largest number of votes over the targets; NaN where unknown"""
    condition: str
    """Column that names the condition; empty if there is none"""
    cells: Cells
    """The table as text, with one row per recording, per vote or per session"""
    members: tuple[tuple[int, ...], ...]
    """(recordings,) rows of each recording"""
    notes: tuple[str, ...] = ()
    """Decisions that the user should know, one sentence each: duplicates, votes, codes, scale"""

    def column(self, name: str) -> tuple[str, ...]:
        """Return the (recordings,) cells of a column.

        Raises:
            UsageError: There is no such column, or the rows of one recording differ in it.
        """
        found = chosen(self.cells.columns, name, self.path)
        column = [cell.strip() for cell in self.cells.columns[found]]
        for file, rows in zip(self.files, self.members, strict=True):
            if len(different := list(dict.fromkeys(column[row] for row in rows))) > 1:
                raise UsageError(
                    f"{self.path}: column {found!r} cannot group recordings, because the rows of {file} have "
                    f"{shown(different[0])} and {shown(different[1])}; choose another column with --by, or a file "
                    "column that is unique for each recording with --column file=NAME"
                )
        return tuple(column[rows[0]] for rows in self.members)


def read(path: Path, file_column: str = "", columns: Mapping[str, str] | None = None) -> RatingTable:
    """Read a table of ratings by the rules at the top of this module.

    Args:
        path: .csv or other delimited text, .jsonl or .parquet.
        file_column: The column that names the recordings; empty: found by its name.
        columns: For a target's key, the column with its ratings.

    Raises:
        UsageError: The table has no recordings or no ratings, or an invalid value; the message names row and
            column.
    """
    cells = read_cells(path)
    wanted = dict(columns or {})
    if unknown := [key for key in wanted if key not in KEYS]:
        raise UsageError(f"no score is called {unknown[0]!r}: the scores are {', '.join(KEYS)}")
    file = files_of(cells, file_column)
    names: dict[str, tuple[str, ...]] = {key: (chosen(cells.columns, wanted[key], path),) for key in wanted}
    names |= {key: found for key in KEYS if key not in names and (found := _bands(cells.columns, COLUMNS[key]))}
    if not names:
        looked = "; ".join(f"{key}: {', '.join(COLUMNS[key][:5])}" for key in KEYS)
        raise UsageError(
            f"{path} contains no ratings: looked for {looked}; found the columns {', '.join(cells.columns)}. "
            "Name the right one with --column g_mos=NAME"
        )
    for key, found in names.items():
        alike = [column for column in cells.columns if words(column) == words(found[0])]
        if key not in wanted and len(alike) > 1:
            raise UsageError(
                f"{path} has several columns for {key}: {', '.join(map(shown, alike))}; choose one with "
                f"--column {key}=NAME"
            )
    for place, name in enumerate(cells.columns[file]):
        if not name.strip():
            raise cells.error(place, file, "empty; every row needs the name of a recording")
    return _table(cells, file, {key: names[key] for key in KEYS if key in names})


def read_cells(path: Path) -> Cells:
    """Read a table as text. A list without a header line gets the columns `file`, `mos` and `system`.

    Raises:
        UsageError: The file is not a table, or has no rows.
    """
    cells = tables.read(path, lambda row: bool(_find(dict.fromkeys(row), FILE)))
    header = list(cells.columns)
    if cells.lines and len(header) >= 2 and Path(header[0]).suffix and is_number(header[1]):
        return _voicemos(cells, header)
    if not len(cells):
        raise UsageError(f"{path} has a header line and no rows below it")
    return cells


def files_of(cells: Cells, name: str = "", advice: str = "Name the right one with --column file=NAME") -> str:
    """Return the column that names the recordings: `name`, or the one that is found by its name.

    `advice` is what a message says if there is none.

    Raises:
        UsageError: There is no such column.
    """
    found = chosen(cells.columns, name, cells.path) if name else _find(cells.columns, FILE)
    if not found:
        raise UsageError(
            f"{cells.path} names no recordings: looked for a column {', '.join(FILE[:8])}, ... among "
            f"{', '.join(cells.columns)}. {advice}"
        )
    return found


def chosen(columns: Mapping[str, object], name: str, path: Path) -> str:
    """Return the column that a user named, without regard to case and punctuation. Raises UsageError."""
    alike = [one for one in columns if one == name] or [one for one in columns if words(one) == words(name)]
    if not alike:
        raise UsageError(f"{path} has no column {name!r}: the columns are {', '.join(columns)}")
    return alike[0]


def duplicates(cells: Cells, places: Sequence[int]) -> str:
    """A note about duplicated rows."""
    return f"{len(places)} duplicated row{'s' * (len(places) > 1)} counted once, first: {cells.where(places[0])}"


def words(name: str) -> list[str]:
    """A column's name as words: "95%CI_sig" -> 95, ci, sig."""
    return re.findall(r"[a-z]+\d*|\d+(?:quest)?", name.lower())


def is_number(cell: str) -> bool:
    """Whether a cell is a decimal number with a point or a comma."""
    return re.fullmatch(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?", cell.strip()) is not None


def recording_key(name: str) -> str:
    """The same text for two spellings of one recording ("./a.wav" and "a.wav")."""
    return name if "://" in name else os.path.normpath(name.strip().replace("\\", "/"))


def _table(cells: Cells, file: str, names: Mapping[str, tuple[str, ...]]) -> RatingTable:
    """Turn rows into one entry per recording; `names` are the columns of each target: one, or one per band."""
    notes = list(cells.notes)
    values: dict[str, Array] = {}
    for key, columns in names.items():
        values[key], band = _one_band(cells, key, columns)
        if band and BAND not in cells.columns:
            cells = replace(cells, columns={**cells.columns, BAND: band})
    same_scale = {key: _on_scale(cells, key, " / ".join(names[key]), values[key], notes) for key in names}
    votes_column = _find(cells.columns, VOTES)
    votes = _numbers(cells, votes_column, low=0.0)
    spreads = {key: _spread(cells, names[key][0]) for key in names}
    rated = {name for columns in names.values() for name in columns} | {votes_column}
    members, per_vote = _members(cells, file, rated, notes)
    ratings = {}
    for key in names:
        mean, deviation, half, count = _averaged(values[key], votes, *spreads[key], members, per_vote)
        ratings[key] = Ratings(" / ".join(names[key]), mean, deviation, half, count, same_scale[key])
    if not any(np.isfinite(one.mean).any() for one in ratings.values()):
        columns_ = ", ".join(one.column for one in ratings.values())
        raise UsageError(f"{cells.path} has no rating in {columns_}: fill in the ratings, one row per recording")
    return RatingTable(
        path=cells.path,
        files=tuple(cells.columns[file][rows[0]].strip() for rows in members),
        ratings=ratings,
        votes=np.fmax.reduce([one.votes for one in ratings.values()]),
        condition=_find(cells.columns, CONDITION),
        cells=cells,
        members=tuple(map(tuple, members)),
        notes=tuple(notes),
    )


def _one_band(cells: Cells, key: str, names: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """(rows,) numbers of a target, and with several bands the band that each row has."""
    found = [_numbers(cells, name) for name in names]
    if len(found) == 1:
        return found[0], ()
    there = np.isfinite(found)
    if (both := np.flatnonzero(there.sum(axis=0) > 1)).size:
        raise UsageError(
            f"{cells.path}, {cells.where(int(both[0]))}: values in {' and '.join(map(repr, names))}; a row may have "
            f"one band. Choose one with --column {key}=NAME"
        )
    bands = np.array([_band(name) for name in names])
    band = np.where(there.any(axis=0), bands[there.argmax(axis=0)], "")
    return np.where(there.any(axis=0), np.nansum(found, axis=0), np.nan), tuple(band.tolist())


def _on_scale(cells: Cells, key: str, name: str, values: Array, notes: list[str]) -> bool:
    """Set codes to NaN, refuse values outside the scale; whether the scale is that of the scores."""
    low, high = MOS_SPAN if BY_KEY[key] in QUEST else SPANS[key]
    known = np.isfinite(values)
    outside = known & ~((values >= low) & (values <= high))
    code = np.isin(values, list(CODES))
    same = True
    if BY_KEY[key] in QUEST and (outside & ~code).sum() > (known & ~outside).sum():
        low, high, same = *OTHER_SPAN, False
        outside = known & ~((values >= low) & (values <= high))
    wrong = np.flatnonzero(outside & ~code)
    if wrong.size:
        place, unit = int(wrong[0]), BY_KEY[key].short_name
        raise cells.error(
            place, name,
            f"{values[place]:g} is outside the scale of {unit}, {low:g} to {high:g}; leave the cell empty if "
            "there is no rating, or convert the ratings to that scale",
        )  # fmt: skip
    if not same:
        span = f"{values[known & ~outside].min():g} to {values[known & ~outside].max():g}"
        notes.append(f"column {name!r} is on another scale than 1 to 5 ({span})")
    if outside.any():
        count = int(outside.sum())
        which = ", ".join(f"{value:g}" for value in sorted(set(values[outside].tolist())))
        first = cells.where(int(np.flatnonzero(outside)[0]))
        notes.append(
            f"column {name!r}: {count} cell{'s' * (count > 1)} with {which} read as no rating, first: {first}"
        )
        values[outside] = np.nan
    return same


def _spread(cells: Cells, name: str) -> tuple[Array, Array]:
    """(rows,) standard deviation and half interval that belong to the ratings in a column."""
    plain = "_".join(_stripped(name))
    stem = "_".join(word for word in plain.split("_") if word != "mos") or plain

    def beside(patterns: Sequence[str]) -> Array:
        wanted = [pattern.format(name=plain, stem=stem) for pattern in patterns]
        return _numbers(cells, _find(cells.columns, wanted), low=0.0)

    return beside(DEVIATION), beside(HALF)


def _members(cells: Cells, file: str, rated: set[str], notes: list[str]) -> tuple[list[list[int]], bool]:
    """Rows of each recording without duplicates, and whether the table has one row per vote."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(cells.columns[file]):
        groups.setdefault(recording_key(name), []).append(place)
    others = [column for name, column in cells.columns.items() if name not in rated and name != file]
    texts = [[cell.strip() for cell in column] for name, column in cells.columns.items() if name != file]
    whole = list(zip(*texts, strict=True))
    several = [places for places in groups.values() if len(places) > 1]
    differing = [places for places in several if len({whole[place] for place in places}) > 1]
    per_vote = bool(differing) and len(several) > len(groups) / 2
    told_apart = any(len({column[place] for place in places}) > 1 for places in several for column in others)
    members = list(groups.values())
    if told_apart or not per_vote:
        members = [list({whole[place]: place for place in places[::-1]}.values())[::-1] for places in members]
        kept = {place for places in members for place in places}
        if repeated := [place for place in range(len(cells)) if place not in kept]:
            notes.append(duplicates(cells, repeated))
    counts = [len(places) for places in members]
    if per_vote:
        span = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{max(counts)}"
        notes.append(
            f"one row per vote: {sum(counts)} rows averaged per recording ({len(members)} recordings with "
            f"{span} votes)"
        )
    elif averaged := sum(count > 1 for count in counts):
        example = next(places for places in members if len(places) > 1)
        notes.append(
            f"{averaged} recording{'s' * (averaged > 1)} with several different rows, averaged; first: "
            f"{cells.columns[file][example[0]].strip()}, {cells.where(example[1])}"
        )
    return members, per_vote


def _averaged(
    values: Array, votes: Array, deviation: Array, half: Array, members: Sequence[list[int]], per_vote: bool
) -> Array:
    """(4, recordings): mean, standard deviation, half interval and number of votes."""
    found = np.full((4, len(members)), np.nan)
    for entry, places in enumerate(members):
        known = [place for place in places if np.isfinite(values[place])]
        if len(known) == 1 and not per_vote:
            (place,) = known
            found[:, entry] = values[place], deviation[place], half[place], votes[place]
        elif known:
            counts = np.ones(len(known)) if per_vote else np.where(votes[known] >= 1, votes[known], 1.0)
            inner = np.zeros(len(known)) if per_vote else np.nan_to_num(deviation[known])
            total, mean = counts.sum(), np.average(values[known], weights=counts)
            squares = ((counts - 1) * inner**2 + counts * (values[known] - mean) ** 2).sum()
            found[:, entry] = mean, np.sqrt(squares / (total - 1)) if total > 1 else np.nan, np.nan, total
    return found


def _numbers(cells: Cells, name: str, low: float = -np.inf) -> Array:
    """(rows,) numbers of a column; NaN where a cell is empty, or without a name. Raises UsageError for other text."""
    numbers = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells.columns[name] if name else ()):
        if cell.strip().lower() in NOTHING:
            continue
        number = float(cell.strip().replace(",", ".")) if is_number(cell) else np.nan
        if not np.isfinite(number) or number < low:
            wanted = "a number" if low == -np.inf else f"a number of {low:g} or more"
            raise cells.error(
                place, name, f"{shown(cell)} is not {wanted}; write a number such as 3.5, or leave the cell empty"
            )
        numbers[place] = number
    return numbers


def _voicemos(cells: Cells, header: Sequence[str]) -> Cells:
    """A list without a header line: its first line was taken for one."""
    columns = list(cells.columns.values())
    files = (header[0].strip(), *(name.strip() for name in columns[0]))
    found = {"file": files, "mos": (header[1], *columns[1])}
    systems = [VOICEMOS.search(Path(file).stem) for file in files]
    if all(systems):
        found["system"] = tuple(match["system"] for match in systems if match)
    return Cells(cells.path, found, (1, *cells.lines), cells.notes)


def _stripped(name: str) -> list[str]:
    """A column's name as words, without decoration and without the band of LQO."""
    found = words(name)
    if found and found[-1] in (f"lqo{band}" for band in BANDS):
        found = found[:-1]
    elif len(found) > 1 and found[-2] == "lqo" and found[-1] in BANDS:
        found = found[:-2]
    return [word for word in found if word not in DECORATION]


def _band(name: str) -> str:
    """The band of a column such as "S-MOS-LQOw"; empty if its name has none."""
    last = (words(name) or [""])[-1]
    return last[-1] if last in BANDS or last.removeprefix("lqo") in BANDS else ""


def _find(columns: Mapping[str, object], known: Sequence[str]) -> str:
    """The first column with one of these names; empty if there is none."""
    return next(iter(_bands(columns, known)), "")


def _bands(columns: Mapping[str, object], known: Sequence[str]) -> tuple[str, ...]:
    """The first column with one of these names; for a name with several bands, one column for each."""
    for as_words in (words, _stripped):
        named: dict[str, list[str]] = {}
        for column in columns:
            named.setdefault("_".join(as_words(column)), []).append(column)
        for name in known:
            if name in named:
                banded = [column for column in named[name] if _band(column)]
                return tuple(banded) if len(banded) > 1 else tuple(named[name][:1])
    return ()
