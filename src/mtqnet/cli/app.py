"""The command line: the groups of commands, and errors as one line with an exit code.

Each command has a file of its own. What it needs is imported inside its function, so that --help is fast.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mtqnet import __version__
from mtqnet.cli import compare, corpus, evaluate, finetune, gate, label, plot, report, score, serve, train
from mtqnet.errors import UsageError

SCORING, EVALUATION, TRAINING, SERVING = "Scoring", "Evaluation", "Training and labels", "Service"
"""Groups of commands in the help"""

REMOVED = {
    "distil": "`mtqnet train` with a configuration that has a [distill] section",
    "targets": "`docs/scores.md` of the repository, which describes the scores",
    "flags": "`docs/flags.md` of the repository, which describes the flags",
    "reproduce": "`python -m research.experiments` in a clone of the repository",
    "card": "`python -m research.model_card` in a clone of the repository",
    "invariance": "`python -m research.invariance` in a clone of the repository",
    "labels": "`python -m research.labeller` in a clone of the repository",
}
"""Commands of version 0.1 -> what replaces them"""


class Commands(TyperGroup):
    """Commands whose errors are one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from mtqnet.cli.terminal import reported_errors

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe that cannot show all characters
                stream.reconfigure(errors="backslashreplace")
        with reported_errors(lambda: ctx.invoked_subcommand):
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in REMOVED:
            raise UsageError(f"the command {args[0]!r} was removed: use {REMOVED[args[0]]}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtqnet {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
]


@app.callback()
def options(version: Version = False) -> None:
    """Predict the quality of recorded speech from a single recording, without a clean reference."""


app.command("score", help=score.HELP, rich_help_panel=SCORING)(score.score)
app.command("plot", help=plot.HELP, rich_help_panel=SCORING)(plot.plot)
app.command("report", help=report.HELP, rich_help_panel=SCORING)(report.report)
app.command("compare", help=compare.HELP, rich_help_panel=EVALUATION)(compare.compare)
app.command("gate", help=gate.HELP, rich_help_panel=EVALUATION)(gate.gate)
app.command("evaluate", help=evaluate.HELP, rich_help_panel=EVALUATION)(evaluate.evaluate)
app.command("train", help=train.HELP, rich_help_panel=TRAINING)(train.train)
app.command("finetune", help=finetune.HELP, rich_help_panel=TRAINING)(finetune.finetune)
app.add_typer(corpus.app, name="corpus", rich_help_panel=TRAINING)
app.command("label", help=label.HELP, rich_help_panel=TRAINING)(label.label)
app.command("serve", help=serve.HELP, rich_help_panel=SERVING)(serve.serve)


def main() -> None:
    """Entry point of the command `mtqnet`."""
    app(prog_name="mtqnet")
