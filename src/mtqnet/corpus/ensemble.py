"""Add the ensemble labels and the disagreement of their sources to a corpus: `mtqnet corpus ensemble`.

The predictors score the clips in an environment of their own (corpus/peers.py), and the table gets the columns of
ENSEMBLE_COLUMNS. The columns `s_mos`, `n_mos` and `g_mos` are the labels of the three-signal labeller; training
with `existing_models.ensemble = true` uses the ensemble in their place (`as_labels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet.corpus import peers
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import DISAGREEMENT, ENSEMBLE, TABLE, excerpt, read_rows, write_rows
from mtqnet.errors import CorpusError
from mtqnet.labels.ensemble import PREDICTORS, Agreed, ensemble_labels, kinds_of
from mtqnet.targets import QUEST

STORE = "predictors"
"""Folder of a corpus with the scores of the predictors"""

Row = dict[str, Any]


def add(
    corpus: Path,
    python: Path = peers.PYTHON,
    jobs: int = 0,
    train: int = 0,
    progress: peers.Progress | None = None,
) -> Path:
    """Score the clips of a corpus by all predictors and write the ensemble into its table; scores are kept.

    Args:
        corpus: Folder that `corpus build` wrote.
        python: Interpreter of the environment with the predictors.
        jobs: Number of processes; 0 is one per core.
        train: Number of training clips that are scored, the first ones; 0 is all. The ensemble of the others is
            the labeller alone.
        progress: Called with the clips done and the clips in total, each counted once for each predictor.

    Returns:
        The path of the table.
    """
    rows = read_rows(corpus)
    for row in rows:
        row.update(dict.fromkeys(PREDICTORS))
    for split in SPLITS:
        chosen = [row for row in rows if row["split"] == split]
        chosen = chosen[: train or None] if split == "train" else chosen
        if not chosen:
            continue
        clips = [excerpt(corpus, row) for row in chosen]
        scores = peers.score(python, clips, corpus / STORE, split, jobs, progress or (lambda *_: None))
        for place, row in enumerate(chosen):
            row.update({key: float(scores[key][place]) for key in PREDICTORS})
    fill(rows)
    write_rows(rows, corpus / TABLE)
    return corpus / TABLE


def fill(rows: Sequence[Row]) -> None:
    """Write the ensemble and the disagreement into rows that carry the labels and the scores of predictors."""
    keys = (*(target.key for target in QUEST), *PREDICTORS)
    sources = {key: np.array([np.nan if row[key] is None else row[key] for row in rows]) for key in keys}
    made: Mapping[str, Agreed] = ensemble_labels(sources, [kinds_of(row["steps"]) for row in rows])
    for key, agreed in made.items():
        for row, value, disagreement in zip(rows, agreed.values, agreed.disagreement, strict=True):
            row[key + ENSEMBLE] = round(float(value), 5)
            row[key + DISAGREEMENT] = None if np.isnan(disagreement) else round(float(disagreement), 5)


def as_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with the ensemble in place of the labeller's S-, N- and G-MOS. Raises CorpusError without one."""
    if rows and QUEST[0].key + ENSEMBLE not in rows[0]:
        raise CorpusError("the corpus has no ensemble labels: run `mtqnet corpus ensemble DIR`")
    return [{**row, **{target.key: row[target.key + ENSEMBLE] for target in QUEST}} for row in rows]
