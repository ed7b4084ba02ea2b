"""Write docs/reliability.md from the results in docs/results: `python -m research.robustness.page`."""

from __future__ import annotations

import csv
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/results"
PAGE = ROOT / "docs/reliability.md"
PARTS = (
    ("Hostile audio files", "hostile_audio.md", "make hostile"),
    ("Kills of `mtqnet score`", "kills_score.md", "make kills"),
    ("Kills of corpus building, training and fine-tuning", "kills_training.md", "make kills"),
    ("Kills of the service", "kills_service.md", "make kills"),
    ("Soak test of the service", "soak.md", "make soak"),
    ("64 clients for two minutes", "load64.md", "make load64"),
    ("Fuzzing", "fuzz.md", "make fuzz"),
    ("Golden scores", "golden.md", "make golden"),
    ("Mutation testing", "mutation.md", "make mutation"),
)
HEAD = """# Reliability

Written by `python -m research.robustness.page` from results of the commands that are named in each section. Every
result was measured with the models that were shipped on its day.

What is guaranteed: every recording becomes exactly one row (or one row per channel, window or second, if requested),
with scores or with a reason. A recording that cannot be scored does not end a run. Memory does not grow with the
length of a recording. An interrupted run is continued by `--resume`. Scoring opens no network connection.

What is not detected: changed samples in formats without checksums (PCM), and the end of a truncated file in formats
that do not state a length (see [valid input](input.md)).
"""


def body(name: str) -> str:
    """Return a result without its title and its first sentence on the command."""
    text = (RESULTS / name).read_text()
    text = re.sub(r"\A# .*\n+", "", text)
    return re.sub(r"^## ", "### ", text, flags=re.MULTILINE).strip()


def kills() -> str:
    """Return two sentences with the number of kills of each command and of lost results."""
    service = (RESULTS / "kills_service.md").read_text()
    killed = re.findall(r"(\d+) kills \(SIGKILL\) of the service and (\d+) of\s+its", service)
    lost = re.findall(r"not in the history \| (\d+)", service)
    counts = {
        "`score`": _column("kills_score.md", "kills"),
        "corpus building, training and fine-tuning": _column("kills_training.md", "kills"),
        "the service": sum(int(one) for one, _ in killed),
        "its processes": sum(int(one) for _, one in killed),
    }
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    different = _column("kills_score.md", "different tables") + _column("kills_training.md", "different results")
    return (
        f"Processes were killed {sum(counts.values())} times: {listed}. Tables, corpora and models that differed from "
        f"those of an undisturbed run: {different}. Acknowledged scores of the service that were lost: "
        f"{sum(map(int, lost))}."
    )


def _column(name: str, title: str) -> int:
    """Return the sum of a column of the first table of a result."""
    rows = [line.strip("| ").split(" | ") for line in (RESULTS / name).read_text().splitlines() if line[:1] == "|"]
    place = rows[0].index(title)
    return sum(int(row[place]) for row in rows[2:])


def same_inputs() -> str:
    """Return the comparison with other predictors as a table."""
    with (RESULTS / "same_inputs.csv").open(newline="") as stream:
        head, *rows = list(csv.reader(stream))
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def main() -> None:
    """Write the page."""
    parts = [HEAD]
    for title, name, _ in PARTS:
        if (RESULTS / name).exists():
            if name == "kills_score.md":
                parts.append(f"## Kills\n\n{kills()}\n")
            parts.append(f"## {title}\n\n{body(name)}\n")
    parts.append(
        "## The same inputs with other predictors\n\n`python -m research.robustness.same_inputs`. *No result*: the "
        "process did not return. Exceptions are those of the predictor or of the file reader that its documentation "
        f"suggests.\n\n{same_inputs()}\n"
    )
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
