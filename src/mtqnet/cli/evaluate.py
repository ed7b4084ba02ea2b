"""`mtqnet evaluate`: agreement of scores with ratings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.options import Audio, Column, Model, Picture, Scoring, assigned
from mtqnet.errors import SOME_NOT_SCORED, missing_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.evaluation.evaluate import Evaluation

HELP = (
    "Compare scores with your listeners' ratings: LCC, SRCC, Kendall's tau, RMSE and RMSE* (ITU-T P.1401), before and "
    "after a third-order mapping, per recording and per condition, each with its 95 % interval.\n\n"
    "RATINGS is a table with a column of files and one or more columns of ratings: s_mos (SIG), n_mos (BAK), g_mos "
    "(OVRL, MOS). Results of the P.808 toolkit, the NISQA corpus, VoiceMOS lists and 3QUEST exports are recognised by "
    "their column names. One row per recording or per vote; empty cells are allowed; duplicated rows and codes for "
    "missing ratings are reported. Ratings on another scale than 1 to 5 (MUSHRA) get correlations, and RMSE after "
    "mapping only. The recordings are scored now, unless --scores is given. Needs mtqnet\\[analysis].\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet evaluate ratings/labels.csv --picture scatter.png[/]\n\n"
    "[cyan]mtqnet evaluate votes.csv --audio wavs --column s_mos=SIG --by codec -o result.md[/]"
)


def evaluate(
    ratings: Annotated[Path, typer.Argument(help="Table of ratings.", metavar="RATINGS", show_default=False)],
    scores: Annotated[
        Path | None, typer.Option(help="Table of scores that `mtqnet score -o` wrote.", show_default="scored now")
    ] = None,
    audio: Audio = None,
    column: Column = None,
    by: Annotated[
        str, typer.Option(help="Column of the conditions to average over.", show_default="condition, system, ...")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the result: .csv, .json or .md.", show_default=False),
    ] = None,
    picture: Picture = None,
    model: Model = "base",
) -> None:
    """Compare scores with ratings."""
    try:
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise missing_extra("mtqnet evaluate", "analysis") from error
    from mtqnet.cli.terminal import output_console, tell_notes, tell_unscored
    from mtqnet.evaluation import evaluate as evaluation
    from mtqnet.evaluation import plots, recordings, tables
    from mtqnet.evaluation.ratings import read

    for path, check in ((output, evaluation.check), (picture, plots.check)):
        if path is not None:
            check(path)
            tables.refuse_overwrite(path, (ratings, scores))
    table = read(ratings, *assigned(column or []))
    with Scoring(model).scorer() as scorer:
        found = (
            recordings.read(scores) if scores else evaluation.score_labels(table, audio or ratings.parent, scorer)
        )
    result = evaluation.evaluate(table, found, by or table.condition)
    screen = output_console()
    screen.print(agreement_table(result))
    screen.print(evaluation.small_print(evaluation.figures_of(result)), style="dim", markup=False, highlight=False)
    tell_notes(result.notes)
    tell_unscored(result.unscored, result.recordings)
    if output is not None:
        evaluation.write(result, output)
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
