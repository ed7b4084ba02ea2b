"""What a person sees of `mtqnet invariance` and `mtqnet card`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mtqnet.audio import reading
from mtqnet.cli.bars import stages
from mtqnet.evaluation import card
from mtqnet.evaluation.invariance import Movement, measure
from mtqnet.scoring import batch, models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import BY_KEY, QUEST


def show_invariance(paths: Sequence[Path], output: Path | None, model: str) -> None:
    """Measure, print the movements of S-, N- and G-MOS, write those of all scores. Raises MtqnetError."""
    predictor = Predictor(model)
    recordings = []
    for job in batch.expand(paths):
        if job.problem is not None:
            raise job.problem
        recordings.append(reading.read(job.path).samples)
    with stages(Console(stderr=True)) as stage:
        moved = measure(predictor, recordings, lambda done, total: stage("invariance", done, total))
    Console().print(table(moved))
    if output is not None:
        write(moved, output)


def table(moved: Sequence[Movement]) -> Table:
    """Mean magnitude and largest, for a terminal."""
    shown = [target for target in QUEST if any(row.target == target.key for row in moved)]
    made = Table("change of", "to", *(target.name for target in shown), title="Movement: mean size / largest")
    for place in dict.fromkeys((row.group, row.change) for row in moved):
        found = {row.target: row for row in moved if (row.group, row.change) == place}
        made.add_row(*place, *(f"{found[t.key].mean_abs:.2f} / {found[t.key].worst:.2f}" for t in shown))
    return made


def write(moved: Sequence[Movement], path: Path) -> None:
    """All movements as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Movement)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(moved, key=lambda row: list(BY_KEY).index(row.target)))


def write_card(names: Sequence[str], results: Path, output: Path | None) -> None:
    """The card of these models, printed or written. Raises ModelError."""
    words = card.text([models.find(name) for name in names], results)
    if output is None:
        print(words, end="")
    else:
        output.write_text(words, encoding="utf-8")
