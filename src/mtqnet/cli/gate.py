"""`mtqnet gate`: limits on scores as a check in CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.options import AsJson, Model, Scoring
from mtqnet.errors import GateError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.evaluation.gate import Outcome

HELP = (
    "Check recordings against limits, for CI: exit code 0 if all limits are met, 3 if one is not.\n\n"
    "A limit is SCORE=VALUE or SCORE.STATISTIC=VALUE. SCORE is a column such as g_mos. STATISTIC is mean (the "
    "default), worst (the worst recording), or a percentile such as p10. --max-drop compares with the baseline "
    "--against over the recordings that both contain: the score may be worse by at most this value. Limits may also be "
    "defined in a TOML file (--rules) with the sections \\[min], \\[max] and \\[max-drop], and lines such as "
    "g_mos.worst = 1.5; an option replaces the same limit of the file. Recordings that cannot be scored fail the "
    "check, unless a line such as unscored = 2 at the top of the file allows their number.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet gate out/ --min g_mos=3.2 --min n_mos.worst=2 --max sdi_est=0.3 --junit gate.xml[/]\n\n"
    "[cyan]mtqnet gate out/ --max-drop g_mos=0.1 --against baseline.csv[/]\n\n"
    "[cyan]mtqnet gate out/ --rules gate.toml --json[/]"
)

Limits = list[str] | None


def gate(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Recordings, folders, or one table of scores.", show_default=False),
    ],
    minimum: Annotated[
        Limits,
        typer.Option("--min", help="SCORE=VALUE or SCORE.STATISTIC=VALUE: lowest allowed value; may be repeated."),
    ] = None,
    maximum: Annotated[
        Limits,
        typer.Option(
            "--max", help="SCORE=VALUE or SCORE.STATISTIC=VALUE: highest allowed value; may be repeated."
        ),
    ] = None,
    max_drop: Annotated[
        Limits,
        typer.Option(
            "--max-drop",
            help="SCORE=VALUE or SCORE.STATISTIC=VALUE: largest allowed loss against the baseline --against; may be "
            "repeated.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Baseline of --max-drop: a folder of recordings or a table of scores.", show_default=False
        ),
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file with limits.", show_default=False)] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.", show_default=False)] = None,
    as_json: AsJson = False,
    model: Model = "base",
) -> None:
    """Check recordings against limits."""
    from mtqnet.cli.terminal import output_console, tell_notes, tell_unscored
    from mtqnet.evaluation import gate as gates
    from mtqnet.evaluation import recordings, tables

    tables.refuse_overwrite(junit, [*paths, rules, against])
    if len(paths) > 1 and (found_tables := [path for path in paths if recordings.is_table(path)]):
        raise UsageError(
            f"{found_tables[0]} is a table: give one table of scores as the only path, or recordings and folders"
        )
    limits = {"min": minimum or [], "max": maximum or [], "max-drop": max_drop or []}
    asked = gates.rules(rules, limits, against)
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
        unmet = sum(not check.passed for check in outcome.checks)
        reasons = [f"{unmet} of {len(outcome.checks)} limits not met"] if unmet else []
        if not outcome.recordings:
            reasons.append("there are no recordings")
        elif not outcome.all_scored:
            reasons.append(
                f"{len(outcome.unscored)} without a score, {outcome.allowed} allowed (`unscored` in --rules)"
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
