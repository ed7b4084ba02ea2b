"""`mtqnet report`: an HTML page about a set of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtqnet.cli.options import By, GroupTable, Model, Scoring
from mtqnet.errors import SOME_NOT_SCORED, UsageError

HELP = (
    "Write one HTML page about a folder or a table of scores: distributions, the five worst recordings with players, "
    "flags (warnings about recordings), means by group, and a list of all recordings. The page needs no network. "
    "Needs mtqnet\\[analysis].\n\n"
    "The page contains the audio of these five only, at most 20 s of each. If SOURCE is a table, their audio is read "
    "from the paths in it.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet report calls/ -o report.html[/]\n\n"
    "[cyan]mtqnet report scores.csv --by phone --table phones.csv --sort n_mos -o report.html[/]"
)

WORST = 5
"""Number of recordings with a player"""


def report(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of recordings, or a table that `mtqnet score -o` wrote.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    by: By = "",
    table: GroupTable = None,
    sort: Annotated[str, typer.Option(help="Score by which the recordings are sorted.")] = "g_mos",
    model: Model = "base",
) -> None:
    """Write a page about recordings."""
    from mtqnet.cli.terminal import tell, tell_notes, tell_unscored
    from mtqnet.evaluation import recordings, tables
    from mtqnet.evaluation import report as reports

    tables.refuse_overwrite(output, [source, table])
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output}: a report is a page; its name ends in .html")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: the folder {output.parent} does not exist; create it first")
    with Scoring(model).scorer() as scorer:
        found = scorer.open(source, must_exist=True)
    grouped = recordings.groups(found, by, table) if by else {}
    reports.write(found, reports.Wanted(by, grouped, sort, WORST), output)
    tell_notes(found.notes)
    tell_unscored(found.unscored, len(found.rows))
    tell(f"{len(found.scored)} recordings -> {output}", style="green")
    if found.unscored:
        raise typer.Exit(SOME_NOT_SCORED)
