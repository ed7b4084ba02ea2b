"""Datasets of Ray in, datasets with scores out: for pipelines that read and write by themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mtqnet.errors import UsageError
from mtqnet.integrations.ray import store
from mtqnet.integrations.ray.messages import Done
from mtqnet.integrations.ray.sandbox import Sandbox, Setting
from mtqnet.integrations.ray.sources import FILE_COLUMNS, Entry
from mtqnet.integrations.ray.worker import ModelFiles
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS
from mtqnet.scoring.tables import NUMBERS, Row, cells

BYTES = "bytes"
"""The column that ray.data.read_binary_files gives the content of files"""
ARRAY, RATE = "array", "rate"
"""Columns of samples (samples,) or (samples, channels), and of their rate in Hz"""

Batch = Mapping[str, Any]


class RowScorer:
    """Called by Ray Data with a batch of rows; gives them back with their scores.

    Files are read by a process of their own (sandbox.py), so that one which kills it costs its own score alone.
    """

    def __init__(self, model: ModelFiles, threads: int, memory: int) -> None:
        self._model = model.here()
        self._threads = threads
        self._box = Sandbox(Setting(self._model, threads=threads, memory=memory))
        self._predictor: Predictor | None = None

    def __call__(self, batch: Batch) -> dict[str, Any]:
        rows = self._of_arrays(batch) if ARRAY in batch else self._of_files(batch)
        kept = {name: values for name, values in batch.items() if name not in (*COLUMNS, BYTES, ARRAY)}
        return kept | {name: _column(name, rows) for name in COLUMNS}

    def _of_arrays(self, batch: Batch) -> list[Row]:
        if RATE not in batch:
            raise UsageError(f"a column {ARRAY} needs a column {RATE}, in Hz")
        if self._predictor is None:
            self._predictor = Predictor(self._model, self._threads, track=False)
        names = batch.get(_name_column(batch) or "", [None] * len(batch[ARRAY]))
        scored = (
            self._predictor.score(np.asarray(samples), float(rate))
            for samples, rate in zip(batch[ARRAY], batch[RATE], strict=True)
        )
        return [cells(replace(scores, file=name)) for scores, name in zip(scored, names, strict=True)]

    def _of_files(self, batch: Batch) -> list[Row]:
        column = _name_column(batch)
        if column is None:
            raise UsageError(f"no column of files or samples: name one {FILE_COLUMNS[0]}, or {ARRAY} with {RATE}")
        names = [str(name) for name in batch[column]]
        with tempfile.TemporaryDirectory(prefix="mtqnet-") as folder:
            if BYTES in batch:
                entries = [
                    _written(Path(folder), number, name, content)
                    for number, (name, content) in enumerate(zip(names, batch[BYTES], strict=True))
                ]
            else:
                entries = [Entry(store.parse(name).shown, name) for name in names]
            done = [message for message in self._box.score(entries) if isinstance(message, Done)]
        return [row for one in sorted(done, key=lambda one: one.place) for row in one.rows]


def _name_column(batch: Batch) -> str | None:
    return next((name for name in FILE_COLUMNS if name in batch), None)


def _written(folder: Path, number: int, name: str, content: bytes) -> Entry:
    target = folder / f"{number}{PurePosixPath(name).suffix}"
    target.write_bytes(content)
    return Entry(name, str(target), len(content))


def _column(name: str, rows: list[Row]) -> Any:
    """A column of scores, of one type whatever is in it; a number that is not there is NaN."""
    values = [row[name] for row in rows]
    if name in NUMBERS:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(["" if value is None else value for value in values], dtype=object)
