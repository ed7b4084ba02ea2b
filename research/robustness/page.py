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

Written by `python -m research.robustness.page` from the results of the commands that each section names. Every result
was measured with the models that the package contained on the day of the measurement.

What is guaranteed: every recording becomes exactly one row (or one row per channel, window or second, if requested),
with scores or with a reason. A recording that cannot be scored does not end a run. Memory does not grow with the
length of a recording. With `--resume`, an interrupted run continues. Scoring opens no network connection. Scores on
different machines are equal only with the same versions of the dependencies and similar processors (see [golden
scores](#golden-scores)): to compare scores of several machines, install the versions in `constraints.txt` of the
repository.

What is not detected: changed samples in formats without checksums (PCM), and the end of a truncated file in formats
that do not state a length (see [valid input](input.md)).
"""
INTRODUCTIONS = {
    "Hostile audio files": (
        "Audio files are damaged in the ways of the first column and scored. None of them may crash the "
        "command or take much time or memory; each must get scores or a reason."
    ),
    "Kills of `mtqnet score`": (
        "The command is ended from outside at random moments, as by a power failure (SIGKILL), the system "
        "(SIGTERM), Ctrl-C (SIGINT) or a closed terminal (SIGHUP), and then continued with `--resume`."
    ),
    "Kills of corpus building, training and fine-tuning": (
        "The same for `mtqnet corpus build`, `mtqnet train` and `mtqnet finetune`. *Tracebacks* counts runs "
        "that ended with a Python error message."
    ),
    "Kills of the service": (
        "`mtqnet serve` or one of its processes is ended by SIGKILL while clients send recordings. A score is "
        "acknowledged if the client has received it; it must then be in the history."
    ),
    "Soak test of the service": (
        "The service runs for a long time with clients that send valid and invalid requests. In the second "
        "table, the number after the kind of request is the HTTP status code. 422 (a recording without sound "
        "or that cannot be decoded) and 404 (an entry that was already deleted) are expected."
    ),
    "64 clients for two minutes": (
        "The same with more requests than the service can process at once. 429 (too many requests) is then "
        "expected."
    ),
    "Fuzzing": (
        "A fuzzer changes inputs at random and prefers changes that reach new branches of the code. A failure "
        "is an exception other than those of the package, a crash, or an input that takes more than 20 s."
    ),
    "Golden scores": (
        "Scores of the same recordings with other versions of the dependencies, and on processors without "
        "some instruction sets. *Oldest* are the oldest versions that the package accepts (pyproject.toml), *pinned* "
        "those in `constraints.txt` of the repository, *newest* the newest ones at the time of the measurement. A row "
        "in which all values are equal is a combination of versions and processor that gives the committed scores. "
        "Two machines that both correspond to such rows give the same scores; otherwise they may differ by the "
        "differences in the table."
    ),
    "Mutation testing": (
        "This measures the tests: how often they detect an error that is inserted into the code. The names and lines "
        "of the modules are those at the time of the measurement. Since then, `labels/composite.py` was merged into "
        "`labels/intrusive.py`, `labels/ensemble.py` into `corpus/ensemble.py`, and `training/calibration.py` into "
        "`training/evaluation.py`; the fraction applies to the former code."
    ),
}
"""What is tested, in a sentence or two, by section"""


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
            parts.append(f"## {title}\n\n{INTRODUCTIONS[title]}\n\n{body(name)}\n")
    parts.append(
        "## The same inputs with other predictors\n\nScores of unusual inputs by mtqnet, DNSMOS and Distill-MOS, "
        "written by `python -m research.robustness.same_inputs`. A word after a score of mtqnet is a flag. *No "
        "result*: the process did not return. Exceptions are those of the predictor or of the file reader that its "
        f"documentation suggests.\n\n{same_inputs()}\n"
    )
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
