"""Speech quality as a check in CI: limits on scores that are met or not.

A limit applies to one statistic of one target: `mean` (the geometric mean for SDI, which is a ratio), `worst` (the
lowest value, for SDI the highest) or a percentile of the values such as `p10`. There are three kinds:

    min        the statistic is at least this value; for scores of which higher is better
    max        the statistic is at most this value; for SDI, of which lower is better
    max-drop   the statistic is worse than that of a baseline by at most this value, over the recordings in both

A recording without a score fails the gate, unless `unscored` allows it. Limits come from options, `KEY=VALUE` or
`KEY.STATISTIC=VALUE`, or from a TOML file:

    unscored = 0                # recordings that may have no score
    against = "baseline.csv"    # relative to this file

    [min]
    g_mos = 3.2
    n_mos.worst = 2.0

    [max]
    sdi_est = 0.3

    [max-drop]
    g_mos = 0.1
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation.compare import pair
from mtqnet.evaluation.recordings import Recordings, Row, values
from mtqnet.evaluation.tables import read_toml, shown
from mtqnet.scoring.scores import digits
from mtqnet.targets import BY_KEY, KEYS, Target

MIN, MAX, DROP = "min", "max", "max-drop"
KINDS = (MIN, MAX, DROP)
MEAN, WORST = "mean", "worst"
TOLERANCE = 1e-9
"""By which a limit that is met exactly may be missed through rounding"""
MOST_NAMED = 20
"""Recordings that the message of a failure names"""
SUITE = "mtqnet gate"
WITHOUT_PAIRS = "omit --max-drop and set absolute limits with --min and --max"
"""What to do if the baseline has other recordings"""
XML_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """One limit."""

    kind: str
    target: str
    statistic: str
    value: float
    """In the target's own unit"""

    @property
    def says(self) -> str:
        """The limit in words: "G-MOS mean at least 3.2"."""
        bound = {MIN: "at least", MAX: "at most", DROP: "worse by at most"}[self.kind]
        return f"{BY_KEY[self.target].short_name} {self.statistic} {bound} {self.value:g}"


@dataclass(frozen=True)
class Rules:
    """All limits for a set of recordings."""

    limits: tuple[Limit, ...]
    unscored: int
    """Recordings that may have no score"""
    against: Path | None
    """Baseline: a folder or a table of scores"""


@dataclass(frozen=True)
class Check:
    """A limit, and whether it is met."""

    limit: Limit
    measured: float
    """The statistic; for max-drop, how much worse it is than the baseline's. In the target's own unit"""
    passed: bool
    found: str
    """What was measured, in words"""
    beyond: tuple[str, ...]
    """Recordings that do not meet the limit by themselves, worst first; empty for max-drop"""


@dataclass(frozen=True)
class Outcome:
    """Result of a gate."""

    checks: tuple[Check, ...]
    recordings: int
    unscored: tuple[tuple[str, str], ...]
    allowed: int
    """Recordings that may have no score"""
    notes: tuple[str, ...] = ()
    """What the user should know: duplicated rows, recordings of the baseline that are missing"""

    @property
    def all_scored(self) -> bool:
        return len(self.unscored) <= self.allowed and len(self.unscored) < self.recordings

    @property
    def failed(self) -> int:
        """Number of checks that failed; whether recordings have a score is one of the checks."""
        return sum(not check.passed for check in self.checks) + (not self.all_scored)


def rules(file: Path | None, options: Mapping[str, Sequence[str]], against: Path | None) -> Rules:
    """Collect the limits of a TOML file and of options.

    Args:
        file: TOML file with limits, or None.
        options: Limits by kind as given on the command line; they replace the same limit of the file.
        against: Baseline of max-drop; None: as the file states.

    Raises:
        UsageError: A limit is invalid, or there is none.
    """
    settings = read_toml(file, "a section [min] with lines such as g_mos = 3.2") if file else {}
    known = ("unscored", "against", *KINDS)
    if unknown := sorted(set(settings) - set(known)):
        raise UsageError(f"{file}: unknown setting {unknown[0]!r}; the settings are {', '.join(known)}")
    limits = []
    for kind in KINDS:
        section = settings.get(kind, {})
        if not isinstance(section, dict):
            raise UsageError(f"{file}: [{kind}] is a section with limits, such as g_mos = 3.2")
        for key, value in section.items():
            for statistic, number in (value if isinstance(value, dict) else {MEAN: value}).items():
                limits.append(_limit(f"{file}, [{kind}]", kind, key, statistic, number))
        for text in options.get(kind, ()):
            name, equals, value = text.partition("=")
            if not equals or "=" in value:
                raise UsageError(
                    f"--{kind} {text!r}: write SCORE=VALUE or SCORE.STATISTIC=VALUE, such as --{kind} g_mos=3.2, and "
                    "repeat the option for another limit"
                )
            key, _, statistic = name.strip().partition(".")
            limits.append(_limit(f"--{kind}", kind, key, statistic or MEAN, value))
    found = {(limit.kind, limit.target, limit.statistic): limit for limit in limits}
    if not found:
        raise UsageError("no limit is given: give limits such as --min g_mos=3.2, or a TOML file with --rules")
    baseline = against or (file.parent / str(settings["against"]) if file and "against" in settings else None)
    drops = any(kind == DROP for kind, _, _ in found)
    if baseline is None and drops:
        raise UsageError("--max-drop needs a baseline: name its folder or table of scores with --against")
    if against is not None and not drops:
        raise UsageError(
            "--against is the baseline of --max-drop: give a limit such as --max-drop g_mos=0.1, or omit --against"
        )
    allowed = settings.get("unscored", 0)
    if not isinstance(allowed, int) or isinstance(allowed, bool) or allowed < 0:
        raise UsageError(f"{file}: unscored = {allowed!r} is not a whole number of 0 or more")
    return Rules(tuple(found.values()), allowed, baseline)


def _limit(where: str, kind: str, key: str, statistic: str, value: object) -> Limit:
    """Check one limit. Raises UsageError with what to write instead."""
    if key not in KEYS:
        raise UsageError(f"{where}: no score is called {key!r}; the scores are {', '.join(KEYS)}")
    target = BY_KEY[key]
    better, right = ("higher", MIN) if target.higher_is_better else ("lower", MAX)
    if statistic not in (MEAN, WORST) and not re.fullmatch(r"p(\d{1,2}|100)", statistic):
        raise UsageError(
            f"{where}: no statistic is called {shown(statistic)}; use mean, worst or a percentile such as p10"
        )
    try:
        number = float(str(value))
    except ValueError as error:
        raise UsageError(f"{where}: {key} has {shown(str(value))}, which is not a number such as 3.2") from error
    if kind == DROP:
        if not 0 <= number <= target.high - target.low:
            raise UsageError(f"{where}: {key} has {value}; write a number of 0 or more, by which it may be worse")
    elif kind != right:
        raise UsageError(
            f"{where}: a {better} {target.short_name} is better; write --{right} {key}={value} instead"
        )
    elif not target.low <= number <= target.high:
        raise UsageError(
            f"{where}: {key} has {value}, but {target.short_name} ranges from {target.low:g} to {target.high:g}; write "
            "a value in this range"
        )
    return Limit(kind, key, statistic, number)


def check(recordings: Recordings, rules: Rules, baseline: Recordings | None) -> Outcome:
    """Check whether recordings meet limits.

    Args:
        recordings: The recordings.
        rules: The limits.
        baseline: The recordings that `rules.against` names.

    Raises:
        UsageError: A score that a limit needs is missing, or baseline and recordings come from different models.
    """
    notes = [*recordings.notes, *(baseline.notes if baseline else ())]
    if baseline and recordings.models and baseline.models and recordings.models != baseline.models:
        raise UsageError(
            f"{recordings.name} and the baseline {baseline.name} were scored by different models: score the baseline "
            "again with the same model"
        )
    checks = []
    if recordings.scored:
        pairs = pair(baseline, recordings, WITHOUT_PAIRS) if baseline else []
        for limit in rules.limits:
            for one in (recordings, baseline if limit.kind == DROP else None):
                if one is not None and limit.target not in one.keys:
                    raise UsageError(
                        f"{one.name} does not have {limit.target} for every recording: it has "
                        f"{', '.join(one.keys) or 'none'}"
                    )
            checks.append(_drop(limit, pairs) if limit.kind == DROP else _bound(limit, recordings.scored))
        if baseline and (missing := len(baseline.rows) - len(pairs)):
            notes.append(
                f"{missing} of {len(baseline.rows)} recordings of the baseline have no scored counterpart"
            )
    return Outcome(tuple(checks), len(recordings.rows), recordings.unscored, rules.unscored, tuple(notes))


def statistic_of(target: Target, numbers: Array, statistic: str) -> float:
    """A statistic of (recordings,) values as `recordings.values` gives them, in the target's own unit."""
    if statistic == MEAN:
        found = float(numbers.mean())
    elif statistic == WORST:
        found = float(numbers.min() if target.higher_is_better else numbers.max())
    else:
        found = float(np.percentile(numbers, int(statistic.removeprefix("p"))))
    return float(10**found) if target.log else found


def _bound(limit: Limit, rows: Sequence[Row]) -> Check:
    target, sign = BY_KEY[limit.target], 1 if limit.kind == MIN else -1
    measured = statistic_of(target, values(rows, limit.target), limit.statistic)
    margins = [sign * (float(getattr(row.scores, limit.target)) - limit.value) for row in rows]
    beyond = [(margin, row.file) for margin, row in zip(margins, rows, strict=True) if margin < -TOLERANCE]
    names = tuple(file for _, file in sorted(beyond))
    return Check(limit, measured, sign * (measured - limit.value) >= -TOLERANCE, digits(target, measured), names)


def _drop(limit: Limit, pairs: Sequence[tuple[Row, Row]]) -> Check:
    target = BY_KEY[limit.target]
    before, now = (
        statistic_of(target, values(rows, limit.target), limit.statistic) for rows in zip(*pairs, strict=True)
    )
    worse = before - now if target.higher_is_better else now - before
    found = f"{digits(target, now)}, was {digits(target, before)} ({len(pairs)} recordings)"
    return Check(limit, worse, worse <= limit.value + TOLERANCE, found, ())


def junit(outcome: Outcome) -> str:
    """A result as JUnit XML: one test case per limit, and one for recordings without a score."""
    cases = [
        (check.limit.says, "" if check.passed else f"{check.limit.says}: it is {check.found}", check.beyond)
        for check in outcome.checks
    ]
    message = "" if outcome.all_scored else f"{len(outcome.unscored)} of {outcome.recordings} have no score"
    cases.append(("recordings have a score", message, tuple(map(": ".join, outcome.unscored))))
    suite = ElementTree.Element(
        "testsuite", name=SUITE, tests=str(len(cases)), failures=str(outcome.failed), errors="0"
    )
    for name, message, details in cases:
        case = ElementTree.SubElement(suite, "testcase", classname="mtqnet", name=name)
        if message:
            failure = ElementTree.SubElement(case, "failure", message=XML_INVALID.sub("?", message))
            failure.text = XML_INVALID.sub("?", "\n".join(details[:MOST_NAMED]))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def as_json(outcome: Outcome) -> str:
    """A result as one JSON object."""
    record = {
        "passed": outcome.failed == 0,
        "recordings": outcome.recordings,
        "checks": [
            {
                "kind": check.limit.kind, "target": check.limit.target, "statistic": check.limit.statistic,
                "limit": check.limit.value, "measured": round(check.measured, 4), "passed": check.passed,
                "beyond": check.beyond,
            }
            for check in outcome.checks
        ],
        "unscored": [{"file": file, "reason": reason} for file, reason in outcome.unscored],
        "notes": list(outcome.notes),
    }  # fmt: skip
    return json.dumps(record, indent=2, ensure_ascii=False)
