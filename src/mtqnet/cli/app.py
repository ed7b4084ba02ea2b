"""The command line: the groups of commands, and errors as one line with an exit code.

Each group of commands in the help has a file: score.py (score, plot, report), evaluate.py (compare, gate, evaluate),
train.py (train, finetune), corpus.py (corpus, label) and serve.py. What a command needs is imported inside its
function, so that --help is fast.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mtqnet import __version__
from mtqnet.cli import corpus, evaluate, score, serve, train

SCORING, EVALUATION, TRAINING, SERVING = "Scoring", "Evaluation", "Training and labels", "Service"
"""Groups of commands in the help"""


class Commands(TyperGroup):
    """Commands whose errors are one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from mtqnet.cli.terminal import reported_errors

        with reported_errors(lambda: ctx.invoked_subcommand):
            return super().invoke(ctx)


app = typer.Typer(cls=Commands, rich_markup_mode="rich", no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtqnet {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def options(version: Version = False) -> None:
    """Predict the quality of recorded speech from a single recording, without a clean reference."""


for panel, command, text in (
    (SCORING, score.score, score.SCORE_HELP),
    (SCORING, score.plot, score.PLOT_HELP),
    (SCORING, score.report, score.REPORT_HELP),
    (EVALUATION, evaluate.compare, evaluate.COMPARE_HELP),
    (EVALUATION, evaluate.gate, evaluate.GATE_HELP),
    (EVALUATION, evaluate.evaluate, evaluate.EVALUATE_HELP),
    (TRAINING, train.train, train.TRAIN_HELP),
    (TRAINING, train.finetune, train.FINETUNE_HELP),
    (TRAINING, corpus.label, corpus.LABEL_HELP),
    (SERVING, serve.serve, serve.HELP),
):
    app.command(help=text, rich_help_panel=panel)(command)
app.add_typer(corpus.app, name="corpus", rich_help_panel=TRAINING)


def main() -> None:
    """Entry point of the command `mtqnet`."""
    app(prog_name="mtqnet")
