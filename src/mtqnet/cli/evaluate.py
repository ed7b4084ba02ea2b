"""`mtqnet compare`, `gate` and `evaluate`: sets of recordings, limits, and ratings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.terminal import AsJson, Audio, By, Column, GroupTable, Model, Picture
from mtqnet.errors import SOME_NOT_SCORED, GateError, UsageError, missing_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.evaluation.compare import Compared
    from mtqnet.evaluation.evaluate import Evaluation
    from mtqnet.evaluation.gate import Outcome
    from mtqnet.evaluation.statistics import Estimate
    from mtqnet.targets import Target

COMPARE_HELP = (
    "Compare two or more sets of recordings: the difference of every score with its 95 % confidence interval and "
    "effect size, and a sentence that interprets it.\n\n"
    "A difference is the second set minus the first: with A B it is B - A. With more sets, every two are compared in "
    "the order in which they are given: B - A, C - A, C - B. For the SDI, whose scale is logarithmic, it is the ratio "
    "of the second to the first (B / A). A lower SDI is better; for the other scores, higher is better.\n\n"
    "A set is a folder, or a table that `mtqnet score -o` wrote. Recordings are paired by their names without the "
    "file extension (call.wav and call.flac); with --unpaired, the means of the sets are compared instead. With --by, "
    "the comparison is repeated within each group. The grouping column is a column of the tables of scores, or of the "
    "CSV file --table. The intervals are not corrected for multiple comparisons: of twenty scores without a true "
    "difference, one on average has an interval that excludes zero.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet compare noisy/ enhanced/ --picture difference.png[/]\n\n"
    "[cyan]mtqnet compare before.csv after.csv --by room --table rooms.csv --json[/]"
)


def compare(
    sets: Annotated[
        list[Path], typer.Argument(metavar="A B [C ...]", help="Folders of recordings, or tables of scores.")
    ],
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Compare sets of different recordings.")] = False,
    by: By = "",
    table: GroupTable = None,
    as_json: AsJson = False,
    picture: Picture = None,
    model: Model = "base",
) -> None:
    """Compare sets of recordings."""
    from mtqnet.cli.terminal import (
        MOST_NAMED,
        check_options,
        output_console,
        scorer,
        tell,
        tell_notes,
        tell_unscored,
    )
    from mtqnet.evaluation import compare as comparing
    from mtqnet.evaluation import plots
    from mtqnet.scoring import models

    check_options([], model, by, table)
    plots.check(picture, [*sets, table])
    with scorer(model) as scoring:
        opened = [scoring.open(source, must_exist=True) for source in sets]
    result = comparing.compare(opened, not unpaired, by, table, models.find(model))
    if picture is not None:
        plots.draw_comparison(result, picture)
    tell_notes(result.notes)
    tell_unscored(result.unscored, result.recordings)
    if result.alone:
        names = ", ".join([*result.alone[:MOST_NAMED], *(["..."] if len(result.alone) > MOST_NAMED else [])])
        tell(f"{len(result.alone)} recordings have no counterpart: {names}", style="yellow")
    if as_json:
        print(comparing.as_json(result))
    else:
        screen = output_console()
        screen.print(difference_table(result))
        for sentence in comparing.verdict(result):
            screen.print(sentence, soft_wrap=True, markup=False, highlight=False)
    if result.unscored:
        raise typer.Exit(SOME_NOT_SCORED)


def difference_table(result: Compared) -> Table:
    """A row per target, group and two sets; differences that were found are green or red."""
    from mtqnet.cli.terminal import grid
    from mtqnet.scoring.scores import digits
    from mtqnet.targets import BY_KEY

    grouped = any(one.group for one in result.comparisons)
    left = ("group", "score") if grouped else ("score",)
    two = result.names if len(result.names) == 2 else ("first", "second")
    known = any(one.probability is not None for one in result.comparisons)
    better = ("P(second better)" if two[0] == "first" else f"P({two[1]} better)",) if known else ()
    table = grid(left, (*two, "difference", "95 % interval", "effect", "items", *better))
    for one in result.comparisons:
        target, found = BY_KEY[one.target], one.difference
        means = ((one.first, one.first_mean.value), (one.second, one.second_mean.value))
        values = ((name, digits(target, 10**mean if target.log else mean)) for name, mean in means)
        sets = (f"{'' if name in two else name} {value}".strip() for name, value in values)
        style = ("green" if one.second_is_better else "red") if found.found else ""
        group = ((one.group or "all"),) if grouped else ()
        effect = "-" if math.isnan(found.effect) else f"{found.effect:+.2f}"
        numbers: tuple[str, ...] = (*_difference(target, found), effect, str(found.items))
        if known:
            numbers = (*numbers, "-" if one.probability is None else f"{one.probability:.0%}")
        table.add_row(*group, target.name.split()[0], *sets, *numbers, style=style)
    return table


def _difference(target: Target, found: Estimate) -> tuple[str, str]:
    """Difference and interval, or - for an interval that too few recordings cannot have; for a ratio, the factor."""
    known = not math.isnan(found.low)
    if target.log:
        return f"x {10**found.value:.2f}", f"[{10**found.low:.2f}, {10**found.high:.2f}]" if known else "-"
    decimals = 2 if target.high > 1 else 3
    interval = f"[{found.low:+.{decimals}f}, {found.high:+.{decimals}f}]" if known else "-"
    return f"{found.value:+.{decimals}f}", interval


GATE_HELP = (
    "Check recordings against limits, for CI: exit code 0 if all limits are met, 3 if one is not.\n\n"
    "A limit is SCORE=VALUE or SCORE.STATISTIC=VALUE. SCORE is a column such as g_mos. STATISTIC is mean (the "
    "default), worst (the worst recording), or a percentile of the values: p10 is the value that 10 % of the "
    "recordings are below. --min is for scores of which higher is better, --max for the SDI, of which lower is better. "
    "--max-drop compares with the baseline --against over the recordings that both contain: the score may be worse by "
    "at most this difference (the SDI: higher). Limits may also be defined in a TOML file (--rules) with "
    "the sections \\[min], \\[max] and \\[max-drop], and lines such as g_mos.worst = 1.5; an option replaces the same "
    "limit of the file. Recordings that cannot be scored fail the check, "
    "unless a line such as unscored = 2 at the top of the file allows their number.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet gate out/ --min g_mos=3.2 --min n_mos.worst=2 --max sdi_est=0.3 --junit gate.xml[/]\n\n"
    "[cyan]mtqnet gate out/ --max-drop g_mos=0.1 --against baseline.csv[/]\n\n"
    "[cyan]mtqnet gate out/ --rules gate.toml --json[/]"
)

Limits = list[str] | None
LIMIT = "SCORE=VALUE or SCORE.STATISTIC=VALUE: {}; may be repeated."


def gate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Recordings, folders, or one table of scores.")
    ],
    minimum: Annotated[Limits, typer.Option("--min", help=LIMIT.format("lowest allowed value"))] = None,
    maximum: Annotated[Limits, typer.Option("--max", help=LIMIT.format("highest allowed value"))] = None,
    max_drop: Annotated[
        Limits,
        typer.Option("--max-drop", help=LIMIT.format("largest allowed loss against the baseline --against")),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Baseline of --max-drop: a folder of recordings or a table of scores.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file with limits.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    as_json: AsJson = False,
    model: Model = "base",
) -> None:
    """Check recordings against limits."""
    from mtqnet.cli.terminal import check_options, output_console, scorer, tell_notes, tell_unscored
    from mtqnet.evaluation import gate as gates
    from mtqnet.evaluation import recordings
    from mtqnet.scoring.tables import check_output

    if len(paths) > 1 and (found_tables := [path for path in paths if recordings.is_table(path)]):
        raise UsageError(
            f"{found_tables[0]} is a table: give one table of scores as the only path, or recordings and folders"
        )
    asked = gates.rules(rules, {"min": minimum or [], "max": maximum or [], "max-drop": max_drop or []}, against)
    check_options([*paths, *([asked.against] if asked.against else [])], model)
    check_output(junit, (), [*paths, rules, asked.against])
    with scorer(model) as scoring:
        found = scoring.open(paths[0]) if len(paths) == 1 else scoring.files(paths, "recordings", Path())
        baseline = scoring.open(asked.against, must_exist=True) if asked.against is not None else None
    outcome = gates.check(found, asked, baseline)
    if junit is not None:
        junit.write_text(gates.junit(outcome), encoding="utf-8")
    if as_json:
        print(gates.as_json(outcome))
    else:
        output_console().print(check_table(outcome))
    tell_notes(outcome.notes)
    tell_unscored(outcome.unscored, outcome.recordings)
    if outcome.failed:
        unmet = sum(not check.passed for check in outcome.checks)
        reasons = [f"{unmet} of {len(outcome.checks)} limits not met"] if unmet else []
        if not outcome.recordings:
            reasons.append("there are no recordings")
        elif not outcome.all_scored:
            reasons.append(
                f"{len(outcome.unscored)} without a score, {outcome.allowed} allowed (set `unscored = "
                f"{len(outcome.unscored)}` in the file --rules to allow it)"
            )
        raise GateError(f"the gate failed: {'; '.join(reasons)}")


def check_table(outcome: Outcome) -> Table:
    """A row per limit."""
    from mtqnet.cli.terminal import grid
    from mtqnet.evaluation.gate import DROP

    table = grid(("limit", "", "measured", "recordings that do not meet it"))
    scored = outcome.recordings - len(outcome.unscored)
    for check in outcome.checks:
        style = "green" if check.passed else "bold red"
        beyond = f"{len(check.beyond)} of {scored}" if check.limit.kind != DROP else ""
        table.add_row(check.limit.says, "passed" if check.passed else "failed", check.found, beyond, style=style)
    return table


EVALUATE_HELP = (
    "Compare scores with your listeners' ratings: LCC, SRCC, Kendall's tau, RMSE and RMSE* (ITU-T P.1401), before and "
    "after a third-order mapping, per recording and per condition, each with its 95 % interval.\n\n"
    "RATINGS is a table with a column of files and one or more columns of ratings: s_mos (SIG), n_mos (BAK), g_mos "
    "(OVRL, MOS). Results of the P.808 toolkit, the NISQA corpus, VoiceMOS lists and 3QUEST exports are recognised by "
    "their column names. One row per recording or per vote; empty cells are allowed; duplicated rows and codes for "
    "missing ratings are reported. Ratings on another scale than 1 to 5 (MUSHRA) get correlations, and RMSE after "
    "mapping only. The recordings are scored now, unless SCORES is given. Needs mtqnet\\[analysis].\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet evaluate ratings/labels.csv --picture scatter.png[/]\n\n"
    "[cyan]mtqnet evaluate votes.csv --audio wavs --column s_mos=SIG --by codec -o result.md[/]"
)


def evaluate(
    ratings: Annotated[Path, typer.Argument(help="Table of ratings.", metavar="RATINGS")],
    scores: Annotated[
        Path | None,
        typer.Argument(
            help="Table of scores that `mtqnet score -o` wrote; without it the recordings are scored now.",
            metavar="[SCORES]",
        ),
    ] = None,
    audio: Audio = None,
    column: Column = None,
    by: Annotated[
        str,
        typer.Option(
            help="Column of the conditions to average over.",
            show_default="condition, con, condition_name, system, system_id or condition_id, if there is one",
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the result: .csv, .json or .md.")
    ] = None,
    picture: Picture = None,
    model: Model = "base",
) -> None:
    """Compare scores with ratings."""
    try:
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise missing_extra("mtqnet evaluate", "analysis") from error
    from mtqnet.cli.terminal import check_options, output_console, parse_columns, scorer, tell_notes, tell_unscored
    from mtqnet.evaluation import evaluate as evaluation
    from mtqnet.evaluation import plots, recordings
    from mtqnet.evaluation.ratings import read
    from mtqnet.scoring.tables import check_output

    if scores is not None:
        check_options([scores], model)
        if audio is not None:
            raise UsageError(
                "--audio names recordings to score, but their scores are given: omit --audio or the table of scores"
            )
    check_output(output, tuple(evaluation.WRITERS), [ratings, scores])
    plots.check(picture, [ratings, scores])
    table = read(ratings, *parse_columns(column or []))
    if scores is not None:
        found = recordings.read(scores)
    else:
        with scorer(model) as scoring:
            found = evaluation.score_labels(table, audio or ratings.parent, scoring)
    result = evaluation.evaluate(table, found, by or table.condition)
    screen = output_console()
    screen.print(agreement_table(result))
    screen.print(evaluation.SMALL_PRINT, style="dim", markup=False, highlight=False)
    tell_notes(result.notes)
    tell_unscored(result.unscored, result.recordings)
    if output is not None:
        text = evaluation.WRITERS[output.suffix.lower()](result)
        output.write_text(text, encoding="utf-8", newline="\n")
    if picture is not None:
        plots.draw_evaluation(result, picture)
    if result.unscored:
        raise typer.Exit(SOME_NOT_SCORED)


def agreement_table(result: Evaluation) -> Table:
    """A row per target and level; figures that no row has are omitted."""
    from mtqnet.cli.terminal import grid
    from mtqnet.evaluation.evaluate import NAMES, cell, figures_of
    from mtqnet.targets import BY_KEY

    shown = figures_of(result)
    table = grid(("score", "per"), ("items", *(NAMES[name] for name in shown)))
    for one in result.agreements:
        cells = (cell(one.figures[name]).replace(" [", "\n[") or "-" for name in shown)
        table.add_row(BY_KEY[one.target].name.split()[0], one.level, str(len(one.pairs.names)), *cells)
    return table
