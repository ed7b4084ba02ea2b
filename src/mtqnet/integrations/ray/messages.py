"""What a worker and the process that scores for it say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from mtqnet.integrations.ray.sources import Entry
from mtqnet.scoring.tables import Row

BASE_S = 60.0
"""Seconds that any recording may take: a thousand times what one of 10 s does"""
BYTES_A_SECOND = 10_000
"""A second more for so many bytes: 13 s of the tightest speech coding (6 kbit/s), which take 0.3 s to score"""


@dataclass(frozen=True)
class Task:
    """Score the recordings of a shard."""

    entries: tuple[Entry, ...]
    done: frozenset[int] = frozenset()
    """Places that are not to be scored"""
    one: bool = False
    """Only the first that is not done"""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class At:
    """The recording that is next. It is not touched before the worker says Go."""

    place: int
    file: str
    size: int
    """Bytes"""

    @property
    def limit_s(self) -> float:
        """Seconds after which it is taken for endless."""
        return BASE_S + self.size / BYTES_A_SECOND


@dataclass(frozen=True)
class Go:
    """Whoever should know which recording comes knows it: one that takes the worker with it does so at once."""


@dataclass(frozen=True)
class Done:
    """A recording's rows."""

    place: int
    rows: tuple[Row, ...]
    code: int
    """0, or the exit code of what kept it from being scored"""
    duration_s: float
    size: int
    fetch_s: float
    score_s: float


@dataclass(frozen=True)
class Finished:
    """The task is done."""


Message = Ready | At | Done | Finished
