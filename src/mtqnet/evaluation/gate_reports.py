"""The outcome of a gate for machines: JUnit XML, as CI services show it, and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from mtqnet.errors import UsageError
from mtqnet.evaluation.gate import Check, Outcome

MOST_NAMED = 20
"""Recordings that a failure names"""
SUITE = "mtqnet gate"


def junit(outcome: Outcome) -> str:
    """One test case a limit, and one for recordings without a score."""
    cases = len(outcome.checks) + 1
    suite = ElementTree.Element(
        "testsuite", name=SUITE, tests=str(cases), failures=str(outcome.failed), errors="0"
    )
    for check in outcome.checks:
        message = "" if check.passed else f"{check.limit.says}: it is {check.said}"
        _case(suite, check.limit.says, message, "\n".join(check.beyond[:MOST_NAMED]))
    message = "" if outcome.all_scored else f"{len(outcome.unscored)} of {outcome.recordings} have no score"
    reasons = "\n".join(f"{file}: {reason}" for file, reason in outcome.unscored[:MOST_NAMED])
    _case(suite, "recordings have a score", message, reasons)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def write_junit(outcome: Outcome, path: Path) -> None:
    """Raises UsageError for a folder that does not exist."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    path.write_text(junit(outcome), encoding="utf-8")


def as_json(outcome: Outcome) -> str:
    unscored = [{"file": file, "reason": reason} for file, reason in outcome.unscored]
    record = {
        "passed": outcome.failed == 0, "recordings": outcome.recordings,
        "checks": [_record(check) for check in outcome.checks], "unscored": unscored,
    }  # fmt: skip
    return json.dumps(record, indent=2, ensure_ascii=False)


def _case(suite: ElementTree.Element, name: str, message: str, detail: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="mtqnet", name=name)
    if message:
        ElementTree.SubElement(case, "failure", message=message).text = detail


def _record(check: Check) -> dict[str, object]:
    limit = check.limit
    return {
        "kind": limit.kind, "target": limit.target, "statistic": limit.statistic, "limit": limit.value,
        "measured": round(check.measured, 4), "passed": check.passed, "beyond": check.beyond,
    }  # fmt: skip
