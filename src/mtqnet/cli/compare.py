"""`mtqnet compare`: differences between sets of recordings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.options import AsJson, By, GroupTable, Model, Picture, Scoring
from mtqnet.errors import SOME_NOT_SCORED

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.evaluation.compare import Compared
    from mtqnet.evaluation.statistics import Estimate
    from mtqnet.targets import Target

HELP = (
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
        list[Path],
        typer.Argument(
            metavar="A B [C ...]", help="Folders of recordings, or tables of scores.", show_default=False
        ),
    ],
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Compare sets of different recordings.")] = False,
    by: By = "",
    table: GroupTable = None,
    as_json: AsJson = False,
    picture: Picture = None,
    model: Model = "base",
) -> None:
    """Compare sets of recordings."""
    from mtqnet.cli.terminal import MOST_NAMED, output_console, tell, tell_notes, tell_unscored
    from mtqnet.evaluation import compare as comparing
    from mtqnet.evaluation import plots, tables
    from mtqnet.scoring import models

    if picture is not None:
        plots.check(picture)
        tables.refuse_overwrite(picture, [*sets, table])
    with Scoring(model).scorer() as scorer:
        opened = [scorer.open(source, must_exist=True) for source in sets]
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
