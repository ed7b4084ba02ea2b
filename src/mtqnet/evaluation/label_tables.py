"""Tables of ratings as they are found, read into one form. This file is the rule by which columns are known.

A column is known by its name, without regard to case, blanks and punctuation ("S-MOS" is "s_mos"). First the names
of COLUMNS are looked for as they stand, in their order; if none is there, the same is tried without the words of
DECORATION ("3QUEST S", "sig_mos_condition", "mushra_mean"). Options go before the rule: `--file-column`,
`--column s_mos=SIG`.

Known by it, as their makers' code or files were read: P.835 results of the P.808 toolkit (MOS_SIG, std_sig, n,
95%CI_sig, file_url, condition_name), the NISQA corpus (filepath_deg, mos, mos_std, votes, con; its noi, col, dis
and loud are other dimensions and stay out), VoiceMOS lists (sysA-uttB.wav,3.5 without a header: the system is the
condition; 2024 track 3: systems,SIG,BAK,OVR), this project's own tables. CHiME UDASE lists and 3QUEST exports are
read by the same names (SIG, BAK, OVRL; S-MOS, N-MOS, G-MOS); no such file was at hand.

Fields are separated by comma, semicolon or tab, whichever the first line has most of; where it is no comma, a
decimal comma is understood. A cell that is empty, "nan", "na" or "-" is no rating.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.targets import BY_KEY, KEYS, QUEST

FILE = (
    "filepath_deg", "file", "file_path", "filepath", "path", "wav_path", "filename_deg", "file_name", "filename",
    "file_url", "url", "wav", "audio", "clip", "sample", "sample_id", "stimulus", "recording", "systems",
)  # fmt: skip
CONDITION = ("condition", "con", "condition_name", "system", "system_id", "condition_id")
VOTES = ("votes", "n", "n_votes", "num_votes", "n_listeners", "n_votes_condition", "number_of_votes")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "s_mos": ("s_mos", "smos", "mos_sig", "sig_mos", "sig", "mos_s", "s"),
    "n_mos": ("n_mos", "nmos", "mos_bak", "bak_mos", "bak", "mos_n", "3quest_n"),
    "g_mos": (
        "g_mos", "gmos", "mos_ovrl", "ovrl_mos", "ovrl", "mos_ovr", "ovr_mos", "ovr", "overall", "mos_g", "g",
        "mos", "mushra",
    ),
    "pesq_est": ("pesq", "pesq_wb", "wb_pesq"),
    "stoi_est": ("stoi",),
    "sdi_est": ("sdi",),
}  # fmt: skip
"""Names of the true value of each target, as words joined by _, best first."""
DEVIATION = ("{stem}_std", "std_{stem}", "{name}_std", "std_{name}")
HALF = ("{stem}_ci95", "ci95_{stem}", "95_ci_{stem}", "{name}_ci95", "{name}_ci", "{stem}_ci", "95_ci_{name}")
"""Names of deviation and half interval: `name` is the rating's own, `stem` the same without "mos"."""
DECORATION = frozenset(
    "3quest p835 mean average avg score rating value condition lqo lqs nb wb swb fb".split()  # noqa: SIM905
)
NOTHING = frozenset(("", "nan", "na", "n/a", "none", "null", "-"))
MOS_SPAN = (1.0, 5.0)
"""Of ITU-T P.800 and P.835. Ratings of S, N or G outside are on another scale, such as MUSHRA's 0 to 100."""
VOICEMOS = re.compile(r"(?P<system>[^/\\]+)-[^/\\-]+$")
"""system-utterance.wav"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ratings:
    """What listeners (or an instrument) said of one target. Arrays are (rows,); NaN where there is nothing."""

    column: str
    mean: Array
    deviation: Array
    """Standard deviation of the votes"""
    half: Array
    """Half the 95 % interval as the table has it"""
    same_scale: bool
    """Whether ratings and scores are in the same unit, so that their difference means something"""


@dataclass(frozen=True)
class LabelTable:
    """A table of ratings, a row a recording."""

    path: Path
    files: tuple[str, ...]
    """As written there"""
    ratings: Mapping[str, Ratings]
    """By key of target; only those that the table has"""
    votes: Array
    """(rows,) number of votes; NaN where unknown"""
    condition: str
    """Column that names the condition; empty where there is none"""
    cells: Mapping[str, tuple[str, ...]]
    """Every column as text"""

    def column(self, name: str) -> tuple[str, ...]:
        """(rows,) cells of a column. Raises UsageError, naming those there are."""
        return column(self.cells, name, self.path)


def read(path: Path, file_column: str = "", columns: Mapping[str, str] | None = None) -> LabelTable:
    """A table of ratings by the rule above; `columns` says of a target's key which column is meant.

    Raises UsageError, which names what was looked for, where the table has no files or no ratings.
    """
    cells = read_cells(path)
    chosen = dict(columns or {})
    if unknown := [key for key in chosen if key not in KEYS]:
        raise UsageError(f"no score is called {unknown[0]!r}: there are {', '.join(KEYS)}")
    names = {key: _chosen(cells, chosen[key], path) for key in chosen}
    file = files_of(cells, path, file_column)
    names |= {key: found for key in KEYS if key not in names and (found := _find(cells, COLUMNS[key]))}
    if not names:
        looked = "; ".join(f"{key}: {', '.join(COLUMNS[key][:5])}" for key in KEYS)
        raise UsageError(
            f"{path} holds no ratings: looked for {looked}; among {', '.join(cells)}. "
            "Say which one with --column g_mos=NAME"
        )
    votes = _find(cells, VOTES)
    count = len(cells[file])
    return LabelTable(
        path=path,
        files=tuple(name.strip() for name in cells[file]),
        ratings={key: _ratings(key, names[key], cells, path) for key in KEYS if key in names},
        votes=_numbers(cells[votes], votes, path) if votes else np.full(count, np.nan),
        condition=_find(cells, CONDITION),
        cells=cells,
    )


def read_cells(path: Path) -> dict[str, tuple[str, ...]]:
    """Columns of a text table, (rows,) cells each. Without a header line they are `file`, `mos` and `system`.

    Raises UsageError for what is no table.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror}): check the path") from error
    lines = [row for row in _rows(content, path) if any(cell.strip() for cell in row)]
    if not lines:
        raise UsageError(f"{path} is empty: a table of ratings has a line a recording")
    if not _is_header(lines[0]):
        return _voicemos(lines)
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    if not rows:
        raise UsageError(f"{path} has a header line and nothing below it")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UsageError(f"{path} has two columns named {twice!r}: rename one")
    filled = [row + [""] * (len(header) - len(row)) for row in rows]
    return {name: tuple(row[place] for row in filled) for place, name in enumerate(header)}


def files_of(cells: Mapping[str, tuple[str, ...]], path: Path, name: str = "") -> str:
    """The column that names the recordings: `name`, or the one found by the rule. Else raises UsageError."""
    found = _chosen(cells, name, path) if name else _find(cells, FILE)
    if not found:
        raise UsageError(
            f"{path} names no recordings: looked for a column {', '.join(FILE[:8])}, ... among "
            f"{', '.join(cells)}; say which one with --file-column"
        )
    return found


def column(cells: Mapping[str, tuple[str, ...]], name: str, path: Path) -> tuple[str, ...]:
    """(rows,) cells of a column. Raises UsageError, naming those there are."""
    return tuple(cell.strip() for cell in cells[_chosen(cells, name, path)])


def _rows(content: bytes, path: Path) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")  # what a spreadsheet saves on Windows
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise UsageError(f"{path} is no table of text ({error}): save it as CSV") from error


def _is_header(row: Sequence[str]) -> bool:
    """Names, or a list that begins at once: a recording and a number."""
    return not (len(row) >= 2 and Path(row[0]).suffix and _is_number(row[1]))


def _voicemos(rows: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    files = [row[0].strip() for row in rows]
    cells = {"file": tuple(files), "mos": tuple(row[1] if len(row) > 1 else "" for row in rows)}
    systems = [VOICEMOS.search(Path(file).stem) for file in files]
    if all(systems):
        cells["system"] = tuple(match["system"] for match in systems if match)
    return cells


def words(name: str) -> list[str]:
    """A column's name as words: "95%CI_sig" -> 95, ci, sig."""
    return re.findall(r"[a-z]+\d*|\d+(?:quest)?", name.lower())


def _find(cells: Mapping[str, object], known: Sequence[str]) -> str:
    """The first column that goes by one of these names; empty if there is none."""
    for strip in (frozenset[str](), DECORATION):
        named = {
            "_".join(word for word in words(name) if word not in strip): name for name in reversed(list(cells))
        }
        for name in known:
            if name in named:
                return named[name]
    return ""


def _chosen(cells: Mapping[str, object], name: str, path: Path) -> str:
    alike = [one for one in cells if one == name] or [one for one in cells if words(one) == words(name)]
    if not alike:
        raise UsageError(f"{path} has no column {name!r}: there are {', '.join(cells)}")
    return alike[0]


def _ratings(key: str, name: str, cells: Mapping[str, tuple[str, ...]], path: Path) -> Ratings:
    mean = _numbers(cells[name], name, path)
    plain = "_".join(word for word in words(name) if word not in DECORATION)
    stem = "_".join(word for word in plain.split("_") if word != "mos") or plain
    missing = np.full(len(mean), np.nan)

    def beside(patterns: Sequence[str]) -> Array:
        found = _find(cells, [pattern.format(name=plain, stem=stem) for pattern in patterns])
        return _numbers(cells[found], found, path) if found else missing

    return Ratings(name, mean, beside(DEVIATION), beside(HALF), _same_scale(key, mean))


def _same_scale(key: str, mean: Array) -> bool:
    if BY_KEY[key] not in QUEST:
        return True
    known = mean[~np.isnan(mean)]
    return bool(((known >= MOS_SPAN[0]) & (known <= MOS_SPAN[1])).all())


def _numbers(cells: Sequence[str], name: str, path: Path) -> Array:
    """Text to numbers; NaN where nothing is said. Raises UsageError for other text."""
    numbers = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if cell.strip().lower() in NOTHING:
            continue
        if not _is_number(cell):
            raise UsageError(f"{path}, column {name!r}, row {place + 1}: {cell!r} is no number")
        numbers[place] = float(cell.strip().replace(",", "."))
    return numbers


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", cell.strip()) is not None
