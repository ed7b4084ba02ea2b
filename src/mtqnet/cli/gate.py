"""`mtqnet gate`: limits on scores as a check in CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.options import AsJson, Model, Scoring
from mtqnet.errors import GateError

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.evaluation.gate import Outcome

HELP = (
    "Check recordings against limits, for CI: exit code 0 if all limits are met, 3 if one is not.\n\n"
    "A limit is KEY=VALUE, or KEY.STATISTIC=VALUE with mean (the default), worst, or a percentile such as p10. "
    "--max-drop compares with a baseline, a folder or a table of scores, over the recordings that both have: the score "
    "may be worse by at most this value. A recording without a score fails the gate, unless --unscored allows it. "
    "Limits may also be defined in a TOML file (--rules); options replace the same limit of the file.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet gate out/ --min g_mos=3.2 --min n_mos.worst=2 --max sdi_est=0.3 --junit gate.xml[/]\n\n"
    "[cyan]mtqnet gate out/ --max-drop g_mos=0.1 --against baseline.csv[/]\n\n"
    "[cyan]mtqnet gate out/ --rules gate.toml --json[/]"
)

Limits = list[str] | None


def gate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Recordings, folders, or one table.", show_default=False)
    ],
    minimum: Annotated[Limits, typer.Option("--min", help="The score is at least this; may be repeated.")] = None,
    maximum: Annotated[Limits, typer.Option("--max", help="The score is at most this; may be repeated.")] = None,
    max_drop: Annotated[
        Limits, typer.Option("--max-drop", help="The score is worse than the baseline by at most this.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Baseline of --max-drop: a folder or a table.", show_default=False)
    ] = None,
    unscored: Annotated[
        int | None, typer.Option(min=0, help="Number of recordings that may have no score.", show_default="0")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file with limits.", show_default=False)] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.", show_default=False)] = None,
    as_json: AsJson = False,
    model: Model = "base",
) -> None:
    """Check recordings against limits."""
    from mtqnet.cli.terminal import output_console, tell_notes, tell_unscored
    from mtqnet.evaluation import gate as gates
    from mtqnet.evaluation import tables

    tables.refuse_overwrite(junit, [*paths, rules, against])
    limits = {"min": minimum or [], "max": maximum or [], "max-drop": max_drop or []}
    asked = gates.rules(rules, limits, unscored, against)
    tables.refuse_overwrite(junit, [asked.against])
    with Scoring(model).scorer() as scorer:
        found = scorer.open(paths[0]) if len(paths) == 1 else scorer.files(paths, "recordings", Path())
        baseline = scorer.open(asked.against, must_exist=True) if asked.against is not None else None
    outcome = gates.check(found, asked, baseline)
    if junit is not None:
        gates.write_junit(outcome, junit)
    if as_json:
        print(gates.as_json(outcome))
    else:
        output_console().print(check_table(outcome))
    tell_notes(outcome.notes)
    tell_unscored(outcome.unscored, outcome.recordings)
    if outcome.failed:
        empty = "there are no recordings" if not outcome.recordings else "recordings have no score"
        reason = "" if outcome.all_scored else f", because {empty}"
        raise GateError(f"{outcome.failed} of {len(outcome.checks) + 1} checks failed{reason}")


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
