"""Speech quality as a check in CI: limits on scores that are met or not.

A limit applies to one statistic of one target: `mean` (the geometric mean for SDI, which is a ratio), `worst` (the
lowest value, for SDI the highest) or a percentile such as `p10`. There are three kinds:

    min        the statistic is at least this value
    max        the statistic is at most this value
    max-drop   the statistic is worse than that of a baseline by at most this value, over the recordings in both

A recording without a score fails the gate, unless `unscored` allows it. Limits come from options, `KEY=VALUE` or
`KEY.STATISTIC=VALUE`, or from a TOML file:

    statistic = "mean"          # for limits that name none
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
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation.compare import pair
from mtqnet.evaluation.recordings import Recordings, Row, values
from mtqnet.evaluation.tables import check_readable, shown
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


def rules(
    file: Path | None,
    options: Mapping[str, Sequence[str]],
    against: Path | None,
) -> Rules:
    """Collect the limits of a TOML file and of options.

    Args:
        file: TOML file with limits, or None.
        options: Limits by kind as given on the command line; they replace the same limit of the file.
        against: Baseline of max-drop; None: as the file states.

    Raises:
        UsageError: A limit is invalid, or there is none.
    """
    settings = _read(file) if file else {}
    usual = _statistic(str(settings.get("statistic", MEAN)))
    found = {(limit.kind, limit.target, limit.statistic): limit for limit in _of_file(settings, usual, file)}
    for kind, pairs in options.items():
        for text in pairs:
            limit = _of_option(kind, text, usual)
            found[limit.kind, limit.target, limit.statistic] = limit
    if not found:
        raise UsageError("no limit is given: give limits such as --min g_mos=3.2, or a TOML file with --rules")
    baseline = against or (file.parent / str(settings["against"]) if file and "against" in settings else None)
    if baseline is None and any(kind == DROP for kind, _, _ in found):
        raise UsageError("--max-drop needs a baseline: name its folder or table of scores with --against")
    if against is not None and not any(kind == DROP for kind, _, _ in found):
        raise UsageError(
            "--against is the baseline of --max-drop: give a limit such as --max-drop g_mos=0.1, or omit --against"
        )
    allowed = settings.get("unscored", 0)
    if not isinstance(allowed, int) or isinstance(allowed, bool) or allowed < 0:
        raise UsageError(f"{file}: unscored = {allowed!r} is not a whole number of 0 or more")
    return Rules(tuple(found.values()), allowed, baseline)


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
            f"{recordings.name} and the baseline {baseline.name} were scored by different models: score the "
            "baseline "
            "again with the same model"
        )
    checks = [_check(limit, recordings, baseline) for limit in rules.limits] if recordings.scored else []
    if (
        baseline
        and recordings.scored
        and (missing := len(baseline.rows) - len(pair(baseline, recordings, WITHOUT_PAIRS)))
    ):
        notes.append(f"{missing} of {len(baseline.rows)} recordings of the baseline have no scored counterpart")
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


def _check(limit: Limit, recordings: Recordings, baseline: Recordings | None) -> Check:
    target = BY_KEY[limit.target]
    for one in (recordings, *((baseline,) if limit.kind == DROP and baseline else ())):
        if limit.target not in one.keys:
            raise UsageError(
                f"{one.name} does not have {limit.target} for every recording: it has "
                f"{', '.join(one.keys) or 'none'}"
            )
    if limit.kind == DROP:
        assert baseline is not None  # `rules` has checked it
        return _drop(limit, target, recordings, baseline)
    measured = statistic_of(target, values(recordings.scored, limit.target), limit.statistic)
    margin = measured - limit.value if limit.kind == MIN else limit.value - measured
    beyond = _beyond(limit, target, recordings)
    return Check(limit, measured, margin >= -TOLERANCE, f"{digits(target, measured)}", beyond)


def _drop(limit: Limit, target: Target, recordings: Recordings, baseline: Recordings) -> Check:
    pairs = pair(baseline, recordings, WITHOUT_PAIRS)
    before, now = (
        statistic_of(target, values([both[place] for both in pairs], limit.target), limit.statistic)
        for place in (0, 1)
    )
    worse = before - now if target.higher_is_better else now - before
    found = f"{digits(target, now)}, was {digits(target, before)} ({len(pairs)} recordings)"
    return Check(limit, worse, worse <= limit.value + TOLERANCE, found, ())


def _beyond(limit: Limit, target: Target, recordings: Recordings) -> tuple[str, ...]:
    sign = 1 if limit.kind == MIN else -1

    def height(row: Row) -> float:
        value = row.scores.value(target.key)
        assert value is not None  # `_check` has checked it
        return sign * value

    rows = sorted(recordings.scored, key=height)
    return tuple(row.file for row in rows if height(row) < sign * limit.value - TOLERANCE)


def _read(file: Path) -> dict[str, Any]:
    try:
        check_readable(file)
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file} ({error.strerror}): check the path") from error
    except RecursionError as error:
        raise UsageError(f"{file} is not a valid TOML file (nested too deeply)") from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{file} is not a valid TOML file ({error})") from error
    known = {"statistic", "unscored", "against", *KINDS}
    if unknown := sorted(set(settings) - known):
        raise UsageError(f"{file}: unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(known))}")
    return settings


def _of_file(settings: Mapping[str, Any], usual: str, file: Path | None) -> Iterator[Limit]:
    for kind in KINDS:
        limits = settings.get(kind, {})
        if not isinstance(limits, dict):
            raise UsageError(f"{file}: [{kind}] is a table of limits, such as g_mos = 3.2")
        for key, value in limits.items():
            for statistic, number in (value if isinstance(value, dict) else {usual: value}).items():
                yield _limit(kind, key, statistic, number)


def _of_option(kind: str, text: str, usual: str) -> Limit:
    name, equals, value = text.partition("=")
    key, _, statistic = name.strip().partition(".")
    if not equals:
        raise UsageError(f"--{kind} {text!r}: write SCORE=VALUE or SCORE.STATISTIC=VALUE, such as g_mos=3.2")
    return _limit(kind, key, statistic or usual, value)


def _limit(kind: str, key: str, statistic: str, value: object) -> Limit:
    if key not in KEYS:
        raise UsageError(f"{kind}: no score is called {key!r}: the scores are {', '.join(KEYS)}")
    try:
        number = float(str(value))
    except ValueError as error:
        raise UsageError(
            f"{kind} {key}: {shown(str(value))} is not a number such as 3.2; write one limit per option or line"
        ) from error
    if not np.isfinite(number) or (kind == DROP and number < 0):
        raise UsageError(
            f"{kind} {key}: {value} is not possible; give a finite number"
            + (" of 0 or more" if kind == DROP else "")
        )
    return Limit(kind, key, _statistic(statistic), number)


def _statistic(name: str) -> str:
    if name not in (MEAN, WORST) and not (re.fullmatch(r"p\d{1,2}", name) or name == "p100"):
        raise UsageError(f"no statistic is called {shown(name)}: use mean, worst or a percentile such as p10")
    return name


def junit(outcome: Outcome) -> str:
    """A result as JUnit XML: one test case per limit, and one for recordings without a score."""
    cases = len(outcome.checks) + 1
    suite = ElementTree.Element(
        "testsuite", name=SUITE, tests=str(cases), failures=str(outcome.failed), errors="0"
    )
    for check in outcome.checks:
        message = "" if check.passed else f"{check.limit.says}: it is {check.found}"
        _case(suite, check.limit.says, message, "\n".join(check.beyond[:MOST_NAMED]))
    message = "" if outcome.all_scored else f"{len(outcome.unscored)} of {outcome.recordings} have no score"
    reasons = "\n".join(f"{file}: {reason}" for file, reason in outcome.unscored[:MOST_NAMED])
    _case(suite, "recordings have a score", message, reasons)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def write_junit(outcome: Outcome, path: Path) -> None:
    """Write JUnit XML. Raises UsageError if the folder does not exist."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    path.write_text(junit(outcome), encoding="utf-8")


def as_json(outcome: Outcome) -> str:
    """A result as one JSON object."""
    unscored = [{"file": file, "reason": reason} for file, reason in outcome.unscored]
    record = {
        "passed": outcome.failed == 0, "recordings": outcome.recordings,
        "checks": [_record(check) for check in outcome.checks], "unscored": unscored,
        "notes": list(outcome.notes),
    }  # fmt: skip
    return json.dumps(record, indent=2, ensure_ascii=False)


def _case(suite: ElementTree.Element, name: str, message: str, detail: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="mtqnet", name=name)
    if message:
        ElementTree.SubElement(case, "failure", message=_xml(message)).text = _xml(detail)


def _xml(text: str) -> str:
    return XML_INVALID.sub("?", text)


def _record(check: Check) -> dict[str, object]:
    limit = check.limit
    return {
        "kind": limit.kind, "target": limit.target, "statistic": limit.statistic, "limit": limit.value,
        "measured": round(check.measured, 4), "passed": check.passed, "beyond": check.beyond,
    }  # fmt: skip
