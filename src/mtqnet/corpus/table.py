"""The table of a corpus, one row per clip: reading, writing, conditions on its rows, and the clip of a row.

DIR/labels.parquet contains the position of a clip (shard, start, samples), what it is (split, speaker, scene, steps),
its labels with their reasons, and its recipe: JSON from which the clip can be generated again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import operator
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.errors import CorpusError, UsageError, missing_extra
from mtqnet.targets import PEERS, QUEST

TABLE, RECORDINGS = "labels.parquet", "recordings.csv"

ENSEMBLE, DISAGREEMENT = "_ensemble", "_disagreement"
"""Ends of the columns with the ensemble label and the disagreement of its sources, after the key of the target"""

TEXT, WHOLE, NUMBER, NAMES = "string", "int64", "double", "list<string>"
COLUMNS: Mapping[str, str] = {
    **{"id": TEXT, "shard": TEXT, "start": WHOLE, "samples": WHOLE, "seconds": NUMBER},
    **{"split": TEXT, "speaker": TEXT, "scene": TEXT, "steps": NAMES},
    **dict.fromkeys(("s_mos", "n_mos", "g_mos", "pesq", "stoi", "sdi"), NUMBER),
    **{"equivalent_q_db": NUMBER, "equivalent_snr_db": NUMBER, "recipe": TEXT},
}
"""Columns in order, with their types. `start` is the clip's first sample in its shard."""
ENSEMBLE_COLUMNS = (
    *(target.key for target in PEERS),
    *(target.key + end for end in (ENSEMBLE, DISAGREEMENT) for target in QUEST),
)
"""Further columns, numbers, of a corpus whose clips were scored by predictors (corpus/ensemble.py)"""

SIGNS: Mapping[str, Any] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "==": operator.eq,
    "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(r"\s*(\w+(?:\.\w+)?)\s*(" + "|".join(SIGNS) + r")\s*(.*\S)\s*")
SHOWN = 12
"""Values of a column that an error lists"""

Row = Mapping[str, Any]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a corpus (its folder, or its table), or of any label table in Parquet or CSV.

    Numbers of a CSV remain text. Raises CorpusError if the table is missing.
    """
    if not path.exists() and path.suffix not in (".parquet", ".csv"):
        raise CorpusError(f"{path} does not exist: give the folder of a corpus")
    table = path / TABLE if path.is_dir() else path
    if not table.exists():
        raise CorpusError(
            f"no table {table}: build the corpus with `mtqnet corpus build`, or run the interrupted build again"
        )
    if table.suffix == ".csv":
        with table.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise missing_extra("Parquet", "corpus") from error
    rows: list[dict[str, Any]] = parquet.read_table(table).to_pylist()
    return rows


def write_rows(rows: Sequence[Row], table: Path) -> None:
    """Write COLUMNS of these rows, and ENSEMBLE_COLUMNS where they have them; atomically."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise missing_extra("Parquet", "corpus") from error
    types = {TEXT: pa.string(), WHOLE: pa.int64(), NUMBER: pa.float64(), NAMES: pa.list_(pa.string())}
    written = {**COLUMNS, **{name: NUMBER for name in ENSEMBLE_COLUMNS if rows and name in rows[0]}}
    schema = pa.schema([(name, types[kind]) for name, kind in written.items()])
    columns = {name: [row[name] for row in rows] for name in written}
    partial = table.with_name(table.name + ".tmp")
    parquet.write_table(pa.table(columns, schema=schema), partial, compression="zstd")
    partial.replace(table)


def select(rows: Sequence[dict[str, Any]], conditions: Sequence[str]) -> list[dict[str, Any]]:
    """Select rows by conditions: `s_mos<2`, `split=test`, `steps=Opus`, `Opus.kbps<12`.

    Args:
        rows: Rows of the table of a corpus.
        conditions: A column, `steps`, or a parameter of a step; one of < <= > >= = !=; and a value. Words take = and
            != only. A parameter that is a list, or of a step that occurs twice, matches if one of its values does.

    Returns:
        The rows that match all conditions.

    Raises:
        UsageError: If a condition cannot be read.
        CorpusError: If no row matches; the message names the values that exist.
    """
    if not rows:
        raise CorpusError("the corpus has no clips: build it with --clips above 0")
    kept = list(rows)
    for text in conditions:
        match = CONDITION.fullmatch(text)
        if not match:
            raise UsageError(
                f"{text!r} is no condition: write as 's_mos<2', 'split=test', 'steps=Opus' or 'Opus.kbps<12', in "
                "quotes, for a shell takes < and > for itself"
            )
        name, sign, wanted = match.groups()
        found = [list(_values(row, name)) for row in kept]
        if not any(found):
            columns = ", ".join(key for key in rows[0] if key != "recipe")
            raise CorpusError(
                f"{text!r}: no clip has {name}. Columns are {columns}; a parameter of a step is written as Opus.kbps"
            )
        matches = [any(_holds(value, sign, wanted, text) for value in values) for values in found]
        if (name, sign) == ("steps", "!="):
            matches = [wanted not in values for values in found]
        if not any(matches):
            raise CorpusError(f"no clip of {len(kept)} matches {text}: {name} {_range(found)}")
        kept = [row for row, fits in zip(kept, matches, strict=True) if fits]
    return kept


def _values(row: Row, name: str) -> Iterator[Any]:
    """The values of a column, or of the parameter of a step in the clip's recipe; lists are opened."""
    step, _, parameter = name.partition(".")
    found = [row.get(name)] if name != "recipe" else []
    if parameter:
        entries = flat(json.loads(row["recipe"])["steps"]) if step in (row.get("steps") or ()) else ()
        found = [entry.get(parameter) for entry in entries if entry["step"] == step]
    for value in found:
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield PurePath(one).name if parameter and isinstance(one, str) else one


def _holds(value: Any, sign: str, wanted: str, text: str) -> bool:
    """Compare as numbers if both are numbers, otherwise as words."""
    try:
        return bool(SIGNS[sign](float(value), float(wanted)))
    except ValueError:
        if sign not in ("=", "==", "!="):
            raise UsageError(
                f"{text!r}: {value!r} or {wanted!r} is no number, and words take = and != only"
            ) from None
        return bool(SIGNS[sign](str(value).lower(), wanted.lower()))


def _range(found: Sequence[Sequence[Any]]) -> str:
    values = [value for of_row in found for value in of_row]
    if isinstance(values[0], float | int) and not isinstance(values[0], bool):
        return f"goes from {min(values):g} to {max(values):g}"
    names = [str(value) for value, _ in Counter(values).most_common()]
    return "is " + ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def flat(steps: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps of a recipe as data, each splice followed by the steps inside it."""
    for entry in steps:
        yield {key: value for key, value in entry.items() if key != "steps"}
        yield from flat(entry.get("steps", ()))


def excerpt(root: Path, row: Row) -> Excerpt:
    """Where a row's clip is. A table of single files (column `file`) works too."""
    if row.get("shard"):
        return Excerpt(root / row["shard"], int(row["start"]), int(row["samples"]))
    return Excerpt(root / row["file"])


def fingerprint(clips: Sequence[Excerpt]) -> str:
    """12 hexadecimal digits that other or newer recordings do not have: what is computed of them is kept by it."""
    states = {path: path.stat() for path in {clip.path for clip in clips}}
    facts = [
        (clip.path.as_posix(), clip.start, clip.samples, states[clip.path].st_size, states[clip.path].st_mtime_ns)
        for clip in clips
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def read_clip(root: Path, row: Row) -> NDArray[np.float32]:
    """(samples,) at 16 kHz of a row of the corpus in `root`. Raises AudioError."""
    return read_excerpt(excerpt(root, row))
