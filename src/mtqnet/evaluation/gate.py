"""Speech quality as a check: limits on scores, held or not.

A limit is on one statistic of one target: `mean` (of SDI, which is a ratio, the geometric mean), `worst` (the
lowest, or for SDI the highest) or a percentile such as `p10`. Three kinds:

    min        the statistic is this high, or higher
    max        it is this low, or lower
    max-drop   it is at most this much worse than that of a baseline, over the recordings that both have

Limits come from options, `KEY=VALUE` or `KEY.STATISTIC=VALUE`, or from a TOML file:

    statistic = "mean"          # where a limit names none
    unscored = 0                # recordings that may go without a score
    against = "baseline.csv"    # told from this file

    [min]
    g_mos = 3.2
    n_mos.worst = 2.0

    [max]
    sdi_est = 0.3

    [max-drop]
    g_mos = 0.1
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation.compare import pair
from mtqnet.evaluation.recordings import Recordings, Row, values
from mtqnet.scoring.scores import digits
from mtqnet.targets import BY_KEY, KEYS, Target

MIN, MAX, DROP = "min", "max", "max-drop"
KINDS = (MIN, MAX, DROP)
MEAN, WORST = "mean", "worst"
TOLERANCE = 1e-9
"""Of a limit that is met exactly"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """One thing that is asked."""

    kind: str
    target: str
    statistic: str
    value: float
    """In the target's own unit"""

    @property
    def says(self) -> str:
        """The limit in words: "G-MOS mean at least 3.2"."""
        bound = {MIN: "at least", MAX: "at most", DROP: "worse by at most"}[self.kind]
        return f"{_short(self.target)} {self.statistic} {bound} {self.value:g}"


@dataclass(frozen=True)
class Rules:
    """All that is asked of a set of recordings."""

    limits: tuple[Limit, ...]
    unscored: int
    """Recordings that may go without a score"""
    against: Path | None
    """Baseline: a folder or a table of scores"""


@dataclass(frozen=True)
class Check:
    """A limit, and whether it holds."""

    limit: Limit
    measured: float
    """The statistic; for max-drop, how much worse it is than the baseline's. In the target's own unit"""
    passed: bool
    said: str
    """What was found, in words"""
    beyond: tuple[str, ...]
    """Recordings that lie beyond the limit by themselves, worst first; none for max-drop"""


@dataclass(frozen=True)
class Outcome:
    """What came out."""

    checks: tuple[Check, ...]
    recordings: int
    unscored: tuple[tuple[str, str], ...]
    allowed: int
    """Recordings that may go without a score"""

    @property
    def all_scored(self) -> bool:
        return len(self.unscored) <= self.allowed and len(self.unscored) < self.recordings

    @property
    def failed(self) -> int:
        """Checks that do not hold; that recordings have a score is one."""
        return sum(not check.passed for check in self.checks) + (not self.all_scored)


def rules(
    file: Path | None,
    options: Mapping[str, Sequence[str]],
    statistic: str,
    unscored: int | None,
    against: Path | None,
) -> Rules:
    """Limits of a TOML file, if there is one, and of options by kind; an option goes before the file's own limit.

    `statistic` is for limits that name none; empty: the file's, or the mean. Raises UsageError.
    """
    told = _read(file) if file else {}
    usual = _statistic(statistic or str(told.get("statistic", MEAN)))
    found = {(limit.kind, limit.target, limit.statistic): limit for limit in _of_file(told, usual, file)}
    for kind, pairs in options.items():
        for text in pairs:
            limit = _of_option(kind, text, usual)
            found[limit.kind, limit.target, limit.statistic] = limit
    if not found:
        raise UsageError("nothing is asked: give limits, as --min g_mos=3.2, or a TOML file with --rules")
    baseline = against or (file.parent / str(told["against"]) if file and "against" in told else None)
    if baseline is None and any(kind == DROP for kind, _, _ in found):
        raise UsageError("a drop is measured from a baseline: name its folder or table of scores with --against")
    allowed = unscored if unscored is not None else int(told.get("unscored", 0))
    return Rules(tuple(found.values()), allowed, baseline)


def hold(recordings: Recordings, asked: Rules, baseline: Recordings | None) -> Outcome:
    """Hold recordings against limits. `baseline` is what `asked.against` names. Raises UsageError."""
    checks = [_check(limit, recordings, baseline) for limit in asked.limits] if recordings.scored else []
    return Outcome(tuple(checks), len(recordings.rows), recordings.unscored, asked.unscored)


def statistic_of(target: Target, numbers: Array, statistic: str) -> float:
    """A statistic of (recordings,) values as `recordings.values` gives them, in the target's own unit."""
    if statistic == MEAN:
        found = float(numbers.mean())
    elif statistic == WORST:
        found = float(numbers.min() if target.higher_is_better else numbers.max())
    else:
        found = float(np.percentile(numbers, int(statistic.removeprefix("p"))))
    return float(10**found) if target.log else found


def _check(limit: Limit, recordings: Recordings, baseline: Recordings | None) -> Check:
    target = BY_KEY[limit.target]
    for one in (recordings, *((baseline,) if limit.kind == DROP and baseline else ())):
        if limit.target not in one.keys:
            raise UsageError(f"{one.name} has no {limit.target} of every recording: it has {', '.join(one.keys)}")
    if limit.kind == DROP:
        assert baseline is not None  # `rules` saw to it
        return _drop(limit, target, recordings, baseline)
    measured = statistic_of(target, values(recordings.scored, limit.target), limit.statistic)
    room = measured - limit.value if limit.kind == MIN else limit.value - measured
    beyond = _beyond(limit, target, recordings)
    return Check(limit, measured, room >= -TOLERANCE, f"{digits(target, measured)}", beyond)


def _drop(limit: Limit, target: Target, recordings: Recordings, baseline: Recordings) -> Check:
    pairs = pair(baseline, recordings)
    before, now = (
        statistic_of(target, values([both[place] for both in pairs], limit.target), limit.statistic)
        for place in (0, 1)
    )
    worse = before - now if target.higher_is_better else now - before
    said = f"{digits(target, now)}, was {digits(target, before)} ({len(pairs)} recordings)"
    return Check(limit, worse, worse <= limit.value + TOLERANCE, said, ())


def _beyond(limit: Limit, target: Target, recordings: Recordings) -> tuple[str, ...]:
    sign = 1 if limit.kind == MIN else -1

    def height(row: Row) -> float:
        value = row.scores.value(target.key)
        assert value is not None  # `_check` saw to it
        return sign * value

    rows = sorted(recordings.scored, key=height)
    return tuple(row.file for row in rows if height(row) < sign * limit.value - TOLERANCE)


def _short(key: str) -> str:
    return BY_KEY[key].name.removesuffix(" (estimate)")


def _read(file: Path) -> dict[str, Any]:
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file} ({error.strerror}): check the path") from error
    except ValueError as error:
        raise UsageError(f"{file} is no TOML ({error})") from error
    known = {"statistic", "unscored", "against", *KINDS}
    if unknown := sorted(set(told) - known):
        raise UsageError(f"{file}: nothing is called {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return told


def _of_file(told: Mapping[str, Any], usual: str, file: Path | None) -> Iterator[Limit]:
    for kind in KINDS:
        asked = told.get(kind, {})
        if not isinstance(asked, dict):
            raise UsageError(f"{file}: [{kind}] is a table of limits, such as g_mos = 3.2")
        for key, value in asked.items():
            for statistic, number in (value if isinstance(value, dict) else {usual: value}).items():
                yield _limit(kind, key, statistic, number)


def _of_option(kind: str, text: str, usual: str) -> Limit:
    name, equals, value = text.partition("=")
    key, _, statistic = name.strip().partition(".")
    if not equals:
        raise UsageError(f"--{kind} {text!r}: write KEY=VALUE or KEY.STATISTIC=VALUE, such as g_mos=3.2")
    return _limit(kind, key, statistic or usual, value)


def _limit(kind: str, key: str, statistic: str, value: object) -> Limit:
    if key not in KEYS:
        raise UsageError(f"{kind}: no score is called {key!r}: there are {', '.join(KEYS)}")
    try:
        number = float(str(value))
    except ValueError as error:
        raise UsageError(f"{kind} {key}: {value!r} is no number") from error
    if not np.isfinite(number) or (kind == DROP and number < 0):
        raise UsageError(f"{kind} {key}: {value} cannot be meant")
    return Limit(kind, key, _statistic(statistic), number)


def _statistic(name: str) -> str:
    if name not in (MEAN, WORST) and not (re.fullmatch(r"p\d{1,2}", name) or name == "p100"):
        raise UsageError(f"no statistic is called {name!r}: there are mean, worst and percentiles such as p10")
    return name
