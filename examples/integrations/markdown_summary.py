"""Print a table of scores as Markdown, for the summary of a CI job: python markdown_summary.py scores.csv."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

SHOWN = 10
SCORES = {"s_mos": "S-MOS", "n_mos": "N-MOS", "g_mos": "G-MOS"}


def summary(table: Path) -> str:
    """Return the number of recordings, the mean scores, the worst recordings and those without scores."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    scored = sorted((row for row in rows if not row["error"]), key=lambda row: float(row["g_mos"]))
    failed = [row for row in rows if row["error"]]
    head = [
        "| recording | " + " | ".join(SCORES.values()) + " | flags |",
        "|---|" + "---:|" * len(SCORES) + "---|",
    ]
    lines = [f"## Speech quality of {len(rows)} recordings", "", *head]
    if scored:
        means = (sum(float(row[key]) for row in scored) / len(scored) for key in SCORES)
        lines.append("| **mean** | " + " | ".join(f"**{mean:.2f}**" for mean in means) + " | |")
    for row in scored[:SHOWN]:
        values = " | ".join(f"{float(row[key]):.2f}" for key in SCORES)
        lines.append(f"| {_cell(row['file'])} | {values} | {row['flags']} |")
    if len(scored) > SHOWN:
        lines += ["", f"The {SHOWN} worst of {len(scored)} are shown."]
    lines += [f"\n{_cell(row['file'])} was not scored: {_cell(row['error'])}" for row in failed]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    print(summary(Path(sys.argv[1])), end="")
