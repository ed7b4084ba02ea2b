"""What a person sees of `mtqnet evaluate`, `compare`, `gate`, `plot` and `report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtqnet.analysis.recordings import Scorer
from mtqnet.bars import stages
from mtqnet.errors import UsageError, missing_extra

PIPE_WIDTH = 160
"""Characters of a line where output goes into a file"""
MOST_NAMED = 5
"""Recordings without a score that are named one by one"""


@dataclass(frozen=True)
class Scoring:
    """How recordings are scored, as asked for on the command line."""

    model: str
    threads: int
    quiet: bool


@dataclass(frozen=True)
class Columns:
    """Which columns of a table of ratings are meant."""

    file: str
    ratings: Sequence[str]
    """KEY=NAME each"""
    by: str
    """Conditions; empty: as the rule finds them"""


def evaluate_labels(
    labels: Path, scores: Path | None, audio: Path | None, columns: Columns, output: Path | None,
    picture: Path | None, scoring: Scoring,
) -> None:  # fmt: skip
    """Hold scores against the ratings of a table, on the screen and into files. Raises MtqnetError."""
    try:
        from mtqnet.analysis import canvas, evaluate, evaluation_picture, evaluation_tables
    except ImportError as error:
        raise missing_extra("holding scores against ratings", "analysis") from error
    from mtqnet.analysis import label_tables, recordings

    for path, check in ((output, evaluation_tables.check), (picture, canvas.check)):
        if path is not None:
            check(path)
    table = label_tables.read(labels, columns.file, _assigned(columns.ratings))
    with _scorer(scoring) as scorer:
        found = recordings.read(scores) if scores else evaluate.score_labels(table, audio or labels.parent, scorer)
    evaluation = evaluate.evaluate(table, found, columns.by or table.condition)
    screen = _screen()
    screen.print(_evaluation_grid(evaluation))
    for line in evaluation_tables.SMALL_PRINT:
        screen.print(Text(line, style="dim"))
    _tell_unscored(evaluation.unscored, evaluation.recordings, Console(stderr=True))
    if output is not None:
        evaluation_tables.write(evaluation, output)
    if picture is not None:
        evaluation_picture.draw(evaluation, picture)


def _evaluation_grid(evaluation: object) -> Table:
    from mtqnet.analysis.evaluate import FIGURES, NAMES, Evaluation
    from mtqnet.analysis.evaluation_tables import cell
    from mtqnet.targets import BY_KEY

    assert isinstance(evaluation, Evaluation)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("score", no_wrap=True)
    grid.add_column("per", no_wrap=True)
    grid.add_column("items", justify="right", no_wrap=True)
    shown = [name for name in FIGURES if any(cell(one.figures[name]) for one in evaluation.agreements)]
    for name in shown:
        grid.add_column(NAMES[name], justify="right")
    for one in evaluation.agreements:
        cells = (cell(one.figures[name]).replace(" [", "\n[") or "-" for name in shown)
        grid.add_row(BY_KEY[one.target].name.split()[0], one.level, str(len(one.pairs.names)), *cells)
    return grid


@contextmanager
def _scorer(scoring: Scoring) -> Iterator[Scorer]:
    """Scores with a bar on stderr, or quietly."""
    console = Console(stderr=True)
    if scoring.quiet or not console.is_terminal:
        yield Scorer(scoring.model, scoring.threads)
        return
    with stages(console) as stage:
        yield Scorer(scoring.model, scoring.threads, stage)


def _assigned(pairs: Sequence[str]) -> dict[str, str]:
    """("s_mos=SIG",) -> {"s_mos": "SIG"}. Raises UsageError."""
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"{pair!r} assigns nothing: write NAME=VALUE, such as s_mos=SIG")
    return {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}


def _tell_unscored(unscored: Sequence[tuple[str, str]], total: int, console: Console) -> None:
    """Counts and names recordings without a score."""
    if not unscored:
        return
    lines = [f"{len(unscored)} of {total} recordings have no score:"]
    lines += [f"  {file}: {reason}" for file, reason in unscored[:MOST_NAMED]]
    if len(unscored) > MOST_NAMED:
        lines.append(f"  and {len(unscored) - MOST_NAMED} more")
    console.print(Text("\n".join(lines), style="yellow"), soft_wrap=True)


def _screen() -> Console:
    """Stdout. A file or a pipe has no width of its own; cells must not be broken for one."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
