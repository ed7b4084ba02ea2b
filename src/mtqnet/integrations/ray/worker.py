"""A worker of Ray Data: one shard after another, with a model that stays loaded."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mtqnet.errors import MtqnetError
from mtqnet.integrations.ray import attempts, outcome
from mtqnet.integrations.ray.fetch import INSIDE
from mtqnet.integrations.ray.messages import At, Done
from mtqnet.integrations.ray.outcome import Outcome
from mtqnet.integrations.ray.plan import Plan, part
from mtqnet.integrations.ray.sandbox import Sandbox, Setting
from mtqnet.integrations.ray.sources import Entry
from mtqnet.scoring.tables import RECORDINGS, WINDOWS

SHOWN = 12
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
    """What all workers of a run are told."""

    plan: Plan
    model: ModelFiles
    threads: int
    memory: int
    """Bytes that a process which scores may have; 0: no limit"""
    again: frozenset[int] = frozenset()
    """Shards that are scored although they have a table"""


@dataclass(frozen=True)
class Told:
    """What a worker says of a shard."""

    shard: int
    outcome: Outcome | None
    """None: it has no table yet"""
    problem: str = ""
    """Why not"""

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Told:
        outcome = Outcome.parse(row["outcome"]) if row["outcome"] else None
        return cls(int(row["shard"]), outcome, row["problem"])

    def as_row(self) -> dict[str, Any]:
        outcome = "" if self.outcome is None else self.outcome.as_json()
        return {"shard": self.shard, "outcome": outcome, "problem": self.problem}


class Scorer:
    """Called by Ray Data with numbers of shards; writes their tables and gives back rows of Told."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        rows = [self._told(int(number)).as_row() for number in batch["shard"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _told(self, number: int) -> Told:
        try:
            return Told(number, self.shard(number))
        except Exception as error:  # Ray Data would end the whole run, for one store that did not answer
            kind = "" if isinstance(error, MtqnetError) else f"{type(error).__name__}: "
            return Told(number, None, kind + (str(error).strip().splitlines() or [""])[0])

    def shard(self, number: int) -> Outcome:
        """Score a shard, unless somebody did: a worker that was thought lost, or this one before it was."""
        out = self._job.plan.out
        if number not in self._job.again and out.holds(part(number)):
            return outcome.read(out, number)
        began, restarts = time.monotonic(), self._sandbox.restarts
        attempt = attempts.begun(out, number)
        done = self._score(number, attempt)
        made = Outcome(
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
        layout = WINDOWS if self._job.plan.asked.windows else RECORDINGS
        outcome.write(out, layout, [row for one in done for row in one.rows], made)
        return made

    def _score(self, number: int, attempt: attempts.Attempt) -> Sequence[Done]:
        """In the order of the shard."""
        entries = self._job.plan.entries(number)
        refused = {place: _name(entries, place) for place in attempt.refused}
        done: list[Done] = []
        for message in self._sandbox.score(entries, refused):
            if isinstance(message, At):
                attempt.mark(message.place)
            else:
                done.append(message)
                attempt.harmless(message.place)
        return sorted(done, key=lambda one: one.place)

    @cached_property
    def _sandbox(self) -> Sandbox:
        job = self._job
        return Sandbox(Setting(job.model.here(), job.plan.asked.windows, job.threads, job.memory))


def _node() -> str:
    """The machine, and the beginning of Ray's number of it."""
    import ray

    return f"{platform.node()} {ray.get_runtime_context().get_node_id()[:SHOWN]}"


def _name(entries: Sequence[Entry], place: int) -> str:
    """Of a file that is not read again; a member of an archive is known by its place alone."""
    if len(entries) == 1 and entries[0].is_archive:
        return f"{entries[0].file}{INSIDE}{place}"
    return entries[place].file
