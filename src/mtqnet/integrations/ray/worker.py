"""Actors of Ray Data: `Scorer` scores shards into tables, `RowScorer` adds scores to the rows of a dataset."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

import numpy as np

from mtqnet.errors import MtqnetError, UsageError
from mtqnet.integrations.ray import shards, store
from mtqnet.integrations.ray.sandbox import At, Done, Sandbox, Setting
from mtqnet.integrations.ray.shards import Outcome, Plan, part
from mtqnet.integrations.ray.sources import FILE_COLUMNS, INSIDE, Entry
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS
from mtqnet.scoring.tables import NUMBERS, RECORDINGS, WINDOWS, Row, cells

NODE_DIGITS = 12
"""Digits of a node's number"""


@dataclass(frozen=True)
class ModelFiles:
    """A model as it goes to other machines: its name where it is shipped, else its files."""

    name: str
    content: bytes = b""
    record: bytes = b""

    def here(self) -> str:
        """What names it on this machine."""
        if not self.content:
            return self.name
        folder = Path(mkdtemp(prefix="mtqnet-model-"))
        (folder / self.name).with_suffix(".json").write_bytes(self.record)
        (folder / self.name).write_bytes(self.content)
        return str(folder / self.name)


@dataclass(frozen=True)
class Job:
    """Settings that all workers of a run share."""

    plan: Plan
    model: ModelFiles
    threads: int
    memory: int
    """Bytes that a process which scores may have; 0: no limit"""
    again: frozenset[int] = frozenset()
    """Shards that are scored although they have a table"""


@dataclass(frozen=True)
class ShardReport:
    """Report of a worker about a shard."""

    shard: int
    outcome: Outcome | None
    """None if the shard has no table yet"""
    problem: str = ""
    """Why not"""

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> ShardReport:
        outcome = Outcome.parse(row["outcome"]) if row["outcome"] else None
        return cls(int(row["shard"]), outcome, row["problem"])

    def as_row(self) -> dict[str, Any]:
        outcome = "" if self.outcome is None else self.outcome.as_json()
        return {"shard": self.shard, "outcome": outcome, "problem": self.problem}


class Scorer:
    """Called by Ray Data with numbers of shards; writes their tables and returns rows of ShardReport."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        rows = [self._report(int(number)).as_row() for number in batch["shard"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _report(self, number: int) -> ShardReport:
        try:
            return ShardReport(number, self.shard(number))
        except Exception as error:  # Ray Data would end the whole run, for one store that did not answer
            kind = "" if isinstance(error, MtqnetError) else f"{type(error).__name__}: "
            return ShardReport(number, None, kind + (str(error).strip().splitlines() or [""])[0])

    def shard(self, number: int) -> Outcome:
        """Score a shard, unless somebody did: a worker that was thought lost, or this one before it was."""
        out = self._job.plan.out
        if number not in self._job.again and out.contains(part(number)):
            return shards.read_outcome(out, number)
        began, restarts = time.monotonic(), self._sandbox.restarts
        attempt = shards.begin_attempt(out, number)
        done = self._score(number, attempt)
        outcome = Outcome(
            shard=number,
            recordings=len(done),
            failed=sum(one.code > 0 for one in done),
            codes=tuple(sorted({one.code for one in done if one.code})),
            audio_s=round(sum(one.duration_s for one in done), 3),
            size=sum(one.size for one in done),
            fetch_s=round(sum(one.fetch_s for one in done), 3),
            score_s=round(sum(one.score_s for one in done), 3),
            took_s=round(time.monotonic() - began, 3),
            restarts=self._sandbox.restarts - restarts,
            attempts=attempt.before + 1,
            node=_node(),
        )
        layout = WINDOWS if self._job.plan.request.windows else RECORDINGS
        shards.write_table(out, layout, [row for one in done for row in one.rows], outcome)
        return outcome

    def _score(self, number: int, attempt: shards.Attempt) -> Sequence[Done]:
        """In the order of the shard."""
        entries = self._job.plan.entries(number)
        refused = {place: _name(entries, place) for place in attempt.refused}
        done: list[Done] = []
        for message in self._sandbox.score(entries, refused):
            if isinstance(message, At):
                attempt.mark(message.place)
            else:
                done.append(message)
                attempt.scored_safely(message.place)
        return sorted(done, key=lambda one: one.place)

    @cached_property
    def _sandbox(self) -> Sandbox:
        job = self._job
        return Sandbox(Setting(job.model.here(), job.plan.request.windows, job.threads, job.memory))


def _node() -> str:
    """The machine, and the beginning of Ray's number of it."""
    import ray

    return f"{platform.node()} {ray.get_runtime_context().get_node_id()[:NODE_DIGITS]}"


def _name(entries: Sequence[Entry], place: int) -> str:
    """Of a file that is not read again; a member of an archive is known by its place alone."""
    if len(entries) == 1 and entries[0].is_archive:
        return f"{entries[0].file}{INSIDE}{place}"
    return entries[place].file


BYTES = "bytes"
"""Column in which ray.data.read_binary_files stores the content of files"""
ARRAY, RATE = "array", "rate"
"""Columns of samples (samples,) or (samples, channels), and of their rate in Hz"""

Batch = Mapping[str, Any]


class RowScorer:
    """Called by Ray Data with a batch of rows; returns them with their scores.

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
    """Return a column of scores of one type; missing numbers are NaN."""
    values = [row[name] for row in rows]
    if name in NUMBERS:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(["" if value is None else value for value in values], dtype=object)
