"""What a person sees of `mtqnet evaluate`, `compare`, `gate`, `plot` and `report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mtqnet.cli import grids
from mtqnet.cli.bars import stages
from mtqnet.errors import GateError, UsageError, missing_extra
from mtqnet.evaluation.recordings import Scorer

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
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise missing_extra("holding scores against ratings", "analysis") from error
    from mtqnet.evaluation import evaluate, plots, ratings, recordings, tables

    for path, check in ((output, evaluate.check), (picture, plots.check)):
        if path is not None:
            check(path)
        tables.refuse_overwrite(path, (labels, scores))
    table = ratings.read(labels, columns.file, assigned(columns.ratings))
    with _scorer(scoring) as scorer:
        found = recordings.read(scores) if scores else evaluate.score_labels(table, audio or labels.parent, scorer)
    evaluation = evaluate.evaluate(table, found, columns.by or table.condition)
    screen = _screen()
    screen.print(grids.evaluation(evaluation))
    screen.print(Text(evaluate.SMALL_PRINT, style="dim"))
    _tell_unscored(evaluation.unscored, evaluation.recordings, Console(stderr=True))
    if output is not None:
        evaluate.write(evaluation, output)
    if picture is not None:
        plots.draw_evaluation(evaluation, picture)


@dataclass(frozen=True)
class Grouping:
    """By what recordings are told apart."""

    by: str
    """Column; empty for none"""
    table: Path | None
    """CSV that has it; None: the tables of scores themselves"""


def compare_sets(
    sources: Sequence[Path],
    paired: bool,
    grouping: Grouping,
    as_json: bool,
    picture: Path | None,
    scoring: Scoring,
) -> None:
    """Compare sets of recordings, on the screen and as a picture. Raises MtqnetError."""
    from mtqnet.evaluation import compare, plots, tables

    if picture is not None:
        plots.check(picture)
        tables.refuse_overwrite(picture, sources)
    with _scorer(scoring) as scorer:
        sets = [scorer.open(source) for source in sources]
    compared = compare.compare(sets, paired, grouping.by, grouping.table)
    if picture is not None:
        plots.draw_comparison(compared, picture)
    told = Console(stderr=True)
    _tell_unscored(compared.unscored, compared.recordings, told)
    _tell_alone(compared.alone, told)
    if as_json:
        print(compare.as_json(compared))
        return
    screen = _screen()
    screen.print(grids.comparison(compared))
    for sentence in compare.verdict(compared):
        screen.print(Text(sentence), soft_wrap=True)


@dataclass(frozen=True)
class Asked:
    """Limits as given on the command line."""

    rules: Path | None
    limits: Mapping[str, Sequence[str]]
    """By kind, KEY=VALUE or KEY.STATISTIC=VALUE each"""
    statistic: str
    unscored: int | None
    against: Path | None


def gate_paths(paths: Sequence[Path], asked: Asked, junit: Path | None, as_json: bool, scoring: Scoring) -> None:
    """Hold recordings against limits; say how it went. Raises GateError where one does not hold; MtqnetError."""
    from mtqnet.evaluation import gate, tables

    tables.refuse_overwrite(junit, [*paths, asked.rules, asked.against])

    rules = gate.rules(asked.rules, asked.limits, asked.unscored, asked.against)
    with _scorer(scoring) as scorer:
        found = scorer.open(paths[0]) if len(paths) == 1 else scorer.files(paths, "recordings", Path())
        baseline = scorer.open(rules.against) if rules.against is not None else None
    outcome = gate.check(found, rules, baseline)
    if junit is not None:
        gate.write_junit(outcome, junit)
    if as_json:
        print(gate.as_json(outcome))
    else:
        _screen().print(grids.gate(outcome))
    _tell_unscored(outcome.unscored, outcome.recordings, Console(stderr=True))
    if outcome.failed:
        reason = "" if outcome.all_scored else ", as recordings have no score"
        raise GateError(f"{outcome.failed} of {len(outcome.checks) + 1} checks failed{reason}")


def plot_recording(file: Path, output: Path, model: str, threads: int) -> None:
    """Draw one recording and its scores. Raises AudioError where it has none, MtqnetError."""
    from mtqnet.audio import reading
    from mtqnet.evaluation import plots, tables
    from mtqnet.scoring.over_time import with_local_track
    from mtqnet.scoring.predictor import Predictor

    plots.check(output)
    tables.refuse_overwrite(output, [file])
    predictor = Predictor(model, threads)
    scores = predictor.score(file).raise_for_error()
    samples = reading.read(file).samples
    plots.draw_recording(samples, with_local_track(predictor, samples, scores), output)
    _screen().print(Text(str(scores)), soft_wrap=True)


def report_recordings(
    source: Path, output: Path, grouping: Grouping, sort: str, worst: int, scoring: Scoring
) -> None:
    """Write a page about a folder or a table of scores. Raises MtqnetError."""
    from mtqnet.evaluation import recordings, report, tables

    tables.refuse_overwrite(output, [source, grouping.table])

    if not output.parent.is_dir():
        raise UsageError(f"{output}: the folder {output.parent} does not exist")
    with _scorer(scoring) as scorer:
        found = scorer.open(source)
    grouped = recordings.groups(found, grouping.by, grouping.table) if grouping.by else {}
    report.write(found, report.Wanted(grouping.by, grouped, sort, worst), output)
    console = Console(stderr=True)
    _tell_unscored(found.unscored, len(found.rows), console)
    console.print(f"{len(found.scored)} recordings -> {output}", highlight=False, soft_wrap=True)


@contextmanager
def _scorer(scoring: Scoring) -> Iterator[Scorer]:
    """Scores with a bar on stderr, or quietly."""
    console = Console(stderr=True)
    if scoring.quiet or not console.is_terminal:
        yield Scorer(scoring.model, scoring.threads)
        return
    with stages(console) as stage:
        yield Scorer(scoring.model, scoring.threads, stage)


def assigned(pairs: Sequence[str]) -> dict[str, str]:
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


def _tell_alone(files: Sequence[str], console: Console) -> None:
    """Counts and names recordings without a partner."""
    if files:
        names = ", ".join([*files[:MOST_NAMED], *(["..."] if len(files) > MOST_NAMED else [])])
        console.print(Text(f"{len(files)} have no partner: {names}", style="yellow"), soft_wrap=True)


def _screen() -> Console:
    """Stdout. A file or a pipe has no width of its own; cells must not be broken for one."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
