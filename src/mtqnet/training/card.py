"""The model card of a trained model: NAME.md next to its record, written from the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtqnet.targets import BY_KEY

LIMITS = (
    "The figures apply to recordings like those of the test splits: the same kinds of degradation, languages, devices "
    "and listeners. Scores of other recordings may have larger errors. Predictions are no replacement for a listening "
    "test."
)


def write(record: Path) -> Path:
    """Write the card of a record and return its path."""
    card = record.with_suffix(".md")
    card.write_text(text(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return card


def text(record: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    targets = ", ".join(BY_KEY[key].name for key in record["targets"])
    lines = [
        f"# Model card: {record['name']}", "",
        f"Predicts {targets} from a single recording. `mtqnet score call.wav --model {record['name']}.onnx`", "",
        f"- Labels: {record.get('labels', 'unknown')}", f"- Licence: {record['licence']}",
        f"- Method: {record['config']['method']}, seed {record['config']['seed']}, mtqnet {record.get('version', '')}",
        f"- Parameters: {record.get('parameters', 'unknown')}", f"- sha256 of the graph: {record['sha256']}",
    ]  # fmt: skip
    lines += _data(record.get("ratings", {}))
    lines += ["", "## Figures", "", *_figures(record["figures"])]
    lines += ["", "## Intervals", "", _intervals(record), "", "## Limits", "", LIMITS, ""]
    return "\n".join(lines)


def _data(ratings: Mapping[str, Any]) -> list[str]:
    if not ratings:
        return []
    splits = ", ".join(f"{count} {split}" for split, count in ratings["splits"].items())
    by = f"grouped by {ratings['by']}" if ratings["by"] else "not grouped"
    lines = ["", "## Training data", "", f"- {', '.join(ratings['tables'])}: {ratings['recordings']} recordings in "
             f"{ratings['groups']} groups ({by}); {splits}",
             f"- Segments without ratings: {ratings['unlabelled']}"]  # fmt: skip
    if teacher := ratings.get("teacher"):
        lines.append(f"- Pseudo labels by {teacher['name']} (sha256 {teacher['sha256'][:12]})")
        lines += [
            f"    - LCC with true {BY_KEY[key].name.split()[0]} on {each['clips']} segments: {each['lcc']:.3f}"
            for key, each in teacher["figures"].items()
        ]
    return [*lines, *(f"- Note: {note}" for note in ratings["notes"])]


def _figures(figures: list[Mapping[str, Any]]) -> list[str]:
    lines = ["| split | score | recordings | LCC | SRCC | RMSE |", "|---|---|---|---|---|---|"]
    for f in figures:
        numbers = " | ".join(f"{f[name]:.3f}" for name in ("lcc", "srcc", "rmse"))
        lines.append(f"| {f['split']} | {BY_KEY[f['target']].name} | {f['clips']} | {numbers} |")
    return lines


def _intervals(record: Mapping[str, Any]) -> str:
    if "intervals" not in record:
        return (
            "None: intervals of a score need at least 40 calibration recordings with its label, which are every second "
            "validation recording of a table with 80 or more of them."
        )
    covered = [row for row in record.get("coverage", []) if ":" not in row["kind"]]
    parts = [f"{row['kind']} {BY_KEY[row['target']].name} {row['share']:.2f}" for row in covered]
    return f"90 % prediction intervals. Fraction of the labels inside: {', '.join(parts) or 'not measured'}."
