"""An evaluation as CSV, JSON or Markdown: one row a target and level, every figure with its interval."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from mtqnet.errors import UsageError
from mtqnet.evaluation.bootstrap import Estimate
from mtqnet.evaluation.evaluate import NAMES, Agreement, Evaluation
from mtqnet.evaluation.stats import FIGURES
from mtqnet.targets import BY_KEY

DECIMALS = 4
"""Of a figure on disk"""
SHOWN = 3
"""Decimals in a table for people: what two runs of the same test share at best"""

Record = dict[str, str | int | float | bool | None]


def check(path: Path) -> None:
    """Raise UsageError for a path that no evaluation can be written to."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"{path}: an evaluation is written as {', '.join(WRITERS)}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def write(evaluation: Evaluation, path: Path) -> None:
    """Write it; the suffix says how. Raises UsageError for another suffix."""
    check(path)
    path.write_text(WRITERS[path.suffix.lower()](evaluation), encoding="utf-8", newline="\n")


def records(evaluation: Evaluation) -> list[Record]:
    """Flat rows: target, level, items, then FIGURE, FIGURE_low, FIGURE_high for each figure."""
    return [_record(agreement) for agreement in evaluation.agreements]


def as_csv(evaluation: Evaluation) -> str:
    stream = io.StringIO()
    rows = records(evaluation)
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(evaluation: Evaluation) -> str:
    unscored = [{"file": file, "reason": reason} for file, reason in evaluation.unscored]
    told = {"labels": evaluation.labels, "recordings": evaluation.recordings, "model": evaluation.model}
    details = [_details(agreement) for agreement in evaluation.agreements]
    whole = told | {"agreement": records(evaluation), "details": details, "unscored": unscored}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(evaluation: Evaluation) -> str:
    head = ["score", "per", "items", *NAMES.values()]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for one in evaluation.agreements:
        cells = [_name(one), one.level, str(len(one.pairs.names)), *(cell(one.figures[name]) for name in FIGURES)]
        lines.append(f"| {' | '.join(cells)} |")
    missing = f"{len(evaluation.unscored)} of {evaluation.recordings} recordings have no score."
    return "\n".join([*lines, "", missing, SMALL_PRINT, ""])


SMALL_PRINT = (
    "Brackets: 95 % bootstrap interval over recordings or conditions. RMSE*: errors within a rating's own 95 % "
    "interval count as none (ITU-T P.1401). Mapped: after a third-order mapping that never falls; four degrees of "
    "freedom are taken off."
)


def cell(estimate: Estimate) -> str:
    """A figure for people: "0.912 [0.880, 0.935]"; nothing where there is none."""
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.{SHOWN}f}"
    return f"{estimate.value:.{SHOWN}f} [{estimate.low:.{SHOWN}f}, {estimate.high:.{SHOWN}f}]"


def _record(agreement: Agreement) -> Record:
    row: Record = {
        "target": agreement.target, "level": agreement.level, "items": len(agreement.pairs.names),
        "column": agreement.column, "same_scale": agreement.same_scale,
    }  # fmt: skip
    for name in FIGURES:
        estimate = agreement.figures[name]
        row[name] = _rounded(estimate.value)
        row[f"{name}_low"], row[f"{name}_high"] = _rounded(estimate.low), _rounded(estimate.high)
    return row


def _details(agreement: Agreement) -> dict[str, object]:
    """The mapping, and what stands behind the figures, item by item."""
    pairs, mapping = agreement.pairs, agreement.mapping
    numbers = zip(pairs.names, pairs.rating.tolist(), pairs.half.tolist(), pairs.score.tolist(), strict=True)
    return {
        "target": agreement.target,
        "level": agreement.level,
        "mapping": None if mapping is None else mapping.coefficients,
        "items": [
            {"name": name, "rating": _rounded(rating), "ci95": _rounded(half), "score": _rounded(score)}
            for name, rating, half, score in numbers
        ],
    }


def _rounded(number: float) -> float | None:
    return None if math.isnan(number) else round(number, DECIMALS)


def _name(agreement: Agreement) -> str:
    return BY_KEY[agreement.target].name.removesuffix(" (estimate)")


WRITERS: Mapping[str, Callable[[Evaluation], str]] = {".csv": as_csv, ".json": as_json, ".md": as_markdown}
