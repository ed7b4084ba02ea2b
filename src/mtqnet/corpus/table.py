"""The table of a corpus, one row per clip, and access to the clip of a row.

DIR/labels.parquet contains the position of a clip (shard, start, samples), what it is (split, speaker, scene, steps),
its labels with their reasons, and its recipe: JSON from which the clip can be generated again.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.errors import CorpusError, missing_extra
from mtqnet.targets import PEERS, QUEST

TABLE = "labels.parquet"

ENSEMBLE, DISAGREEMENT = "_ensemble", "_disagreement"
"""Ends of the columns with the ensemble label and the disagreement of its sources, after the key of the target"""

TEXT, WHOLE, NUMBER, NAMES = "string", "int64", "double", "list<string>"
COLUMNS: Mapping[str, str] = {
    "id": TEXT,
    "shard": TEXT,
    "start": WHOLE,
    "samples": WHOLE,
    "seconds": NUMBER,
    "split": TEXT,
    "speaker": TEXT,
    "scene": TEXT,
    "steps": NAMES,
    "s_mos": NUMBER,
    "n_mos": NUMBER,
    "g_mos": NUMBER,
    "pesq": NUMBER,
    "stoi": NUMBER,
    "sdi": NUMBER,
    "equivalent_q_db": NUMBER,
    "equivalent_snr_db": NUMBER,
    "recipe": TEXT,
}
"""Columns in order, with their types. `start` is the clip's first sample in its shard."""
ENSEMBLE_COLUMNS: Mapping[str, str] = dict.fromkeys(
    (
        *(target.key for target in PEERS),
        *(target.key + end for end in (ENSEMBLE, DISAGREEMENT) for target in QUEST),
    ),
    NUMBER,
)
"""Further columns of a corpus whose clips were scored by predictors (corpus/peers.py)"""

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
    further = {name: kind for name, kind in ENSEMBLE_COLUMNS.items() if rows and name in rows[0]}
    written = {**COLUMNS, **further}
    schema = pa.schema([(name, types[kind]) for name, kind in written.items()])
    columns = {name: [row[name] for row in rows] for name in written}
    partial = table.with_name(table.name + ".tmp")
    parquet.write_table(pa.table(columns, schema=schema), partial, compression="zstd")
    partial.replace(table)


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
