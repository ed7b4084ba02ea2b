"""Scores of the tests by the peers, clip by clip, in one table that is stored with the results.

The peers take longer than all trainings of a table, and say the same every time: so what they said once is taken
from RESULTS/peers.csv wherever its rows are of the clips at hand. Columns: `corpus` (digest of the corpus' table;
empty for rated sets), `test`, `clip` (id in the corpus, or the file of a rated set below the data folder), and the
scores (corpus/peer_worker.py).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus import ensemble
from mtqnet.corpus.peer_worker import COLUMNS
from mtqnet.errors import UsageError
from research.experiments.material import RATED, Material

NAME = "peers.csv"
SCORES = tuple(column for columns in COLUMNS.values() for column in columns)
DECIMALS = 4


@dataclass(frozen=True)
class PeerTable:
    """Scores by test and clip."""

    corpus: str
    """Digest of the corpus whose clips `test` and `unseen` are"""
    rows: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)

    def said(self, test: str, clips: Sequence[str]) -> ensemble.Scores | None:
        """(clips,) by score, in this order; None unless every clip is known."""
        found = [self.rows.get((test, clip)) for clip in clips]
        known = [row for row in found if row is not None]
        if len(known) < len(clips):
            return None
        return {column: np.array([row[column] for row in known]) for column in SCORES}

    def told(self, test: str, clips: Sequence[str], scores: Mapping[str, NDArray[np.float64]]) -> PeerTable:
        """A table with these as well."""
        new = {
            (test, clip): {column: float(scores[column][place]) for column in SCORES}
            for place, clip in enumerate(clips)
        }
        return PeerTable(self.corpus, {**self.rows, **new})


def names(material: Material, test: str, clips: int) -> list[str]:
    """What the first clips of a test are called in the table."""
    found = material.test(test).clips[:clips]
    if test in RATED:
        return [clip.path.relative_to(material.data).as_posix() for clip in found]
    return material.ids(test)[:clips]


def read(path: Path, corpus: str) -> PeerTable:
    """The rows that are of this corpus or of rated sets; none where there is no file. Raises UsageError."""
    if not path.exists():
        return PeerTable(corpus)
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if missing := {"corpus", "test", "clip", *SCORES} - set(reader.fieldnames or ()):
            raise UsageError(f"{path} has no column {sorted(missing)[0]!r}: remove it, and the peers score again")
        rows = [row for row in reader if row["corpus"] in ("", corpus)]
    return PeerTable(
        corpus, {(row["test"], row["clip"]): {column: float(row[column]) for column in SCORES} for row in rows}
    )


def write(table: PeerTable, path: Path) -> None:
    """All rows, by test and clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("corpus", "test", "clip", *SCORES))
        for (test, clip), scores in table.rows.items():
            corpus = "" if test in RATED else table.corpus
            writer.writerow((corpus, test, clip, *(f"{scores[column]:.{DECIMALS}f}" for column in SCORES)))
    partial.replace(path)
