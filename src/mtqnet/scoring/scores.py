"""What a recording got: six scores or a reason, and where they came from. The columns of every table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.flags import Level, level_of
from mtqnet.errors import AudioError
from mtqnet.scoring.intervals import Interval
from mtqnet.targets import KEYS, TARGETS, Target

ENDS: tuple[str, ...] = tuple(f"{key}_{end}" for key in KEYS for end in ("low", "high"))
"""Columns of the intervals"""
COLUMNS: tuple[str, ...] = (
    "file", *KEYS, *ENDS, "duration_s", "model", "model_sha256", "version", "flags", "error",
)  # fmt: skip
"""Order of every table that is written."""

Cell = str | float | None


def spoken(target: Target, value: float, interval: Interval | None = None) -> str:
    """A score for people, such as "S-MOS 3.42": two decimals, or two figures where the scale is a ratio."""
    told = f"{target.name.split()[0]} {digits(target, value)}"
    if interval is None:
        return told
    return f"{told} [{digits(target, interval.low)}, {digits(target, interval.high)}]"


def digits(target: Target, value: float) -> str:
    return f"{value:.2g}" if target.log else f"{value:.2f}"


@dataclass(frozen=True)
class Track:
    """Scores along the time axis, clipped to the range of each target."""

    times_s: NDArray[np.float64]
    """(frames,) middle of each frame, seconds from the beginning of the recording"""
    values: NDArray[np.float64]
    """(frames, targets)"""
    targets: tuple[str, ...]
    """Keys of the second axis"""


@dataclass(frozen=True)
class WindowScores:
    """Scores of one window of a recording, clipped to the range of each target."""

    start_s: float
    """Seconds from the beginning of the recording"""
    end_s: float
    weight: float
    """Its share in the recording's scores, 0 to 1: they are the sum of weight times value over the windows,
    unless a value was clipped."""
    values: tuple[float, ...]
    targets: tuple[str, ...]
    """Keys of the values"""
    intervals: Mapping[str, Interval] = field(default_factory=dict, hash=False)
    """By target, as those of Scores"""

    def value(self, key: str) -> float | None:
        """The score of the target `key`; None when the model does not have it."""
        return self.values[self.targets.index(key)] if key in self.targets else None


@dataclass(frozen=True)
class Scores:
    """One row: a score per target, each in its own unit and range, or `error`.

    A score is None when there is an error, or when the model does not have that target. `targets.py` says
    what each means; on `sdi_est` less is better, on all others more.
    """

    s_mos: float | None = None
    n_mos: float | None = None
    g_mos: float | None = None
    pesq_est: float | None = None
    stoi_est: float | None = None
    sdi_est: float | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict, hash=False)
    """By target; empty where the model has none. See scoring/intervals.py."""
    file: str | None = None
    """The path as it was given; None for an array."""
    duration_s: float | None = None
    """Seconds; None when the recording could not be read."""
    model: str = ""
    model_sha256: str = ""
    version: str = ""
    """Of this package"""
    flags: tuple[str, ...] = ()
    """What to keep in mind, or what the error is an instance of: keys of signal/flags.py."""
    error: str | None = None
    """Why there is no score."""
    windows: tuple[WindowScores, ...] = field(default=(), repr=False, compare=False)
    """What the scores were combined from, in order; one for a recording of up to signal.windows.MAX_WINDOW_S."""
    track: Track | None = field(default=None, repr=False, compare=False)
    exception: Exception | None = field(default=None, repr=False, compare=False)
    """What `error` was before it became text."""

    @property
    def level(self) -> Level:
        """`ok`, `caution` (a flag says why to read the scores with care) or `refused` (there are none)."""
        return "refused" if self.error is not None else level_of(self.flags)

    def raise_for_error(self) -> Self:
        """Raise what kept the recording from being scored (an AudioError, mostly); else return the scores."""
        if self.exception is not None:
            raise self.exception
        if self.error is not None:
            raise AudioError(self.error)
        return self

    def value(self, key: str) -> float | None:
        """The score of the target `key`."""
        if key not in KEYS:
            raise KeyError(key)
        number: float | None = getattr(self, key)
        return number

    def as_row(self) -> dict[str, Cell]:
        """One cell per column, in the order of COLUMNS, not rounded. Flags become one text, with blanks."""
        cells: dict[str, Cell] = {name: getattr(self, name) for name in COLUMNS if name not in ENDS}
        ends: dict[str, Cell] = dict.fromkeys(ENDS)
        for key, interval in self.intervals.items():
            ends |= {f"{key}_low": interval.low, f"{key}_high": interval.high}
        cells |= ends | {"flags": " ".join(self.flags)}
        return {name: cells[name] for name in COLUMNS}

    def __str__(self) -> str:
        name = self.file or "recording"
        if self.error is not None:
            return f"{name}: not scored: {self.error}"
        numbers = ((target, self.value(target.key), self.intervals.get(target.key)) for target in TARGETS)
        told = "  ".join(spoken(target, number, ends) for target, number, ends in numbers if number is not None)
        return f"{name}: {told}" + (f"  ({', '.join(self.flags)})" if self.flags else "")
