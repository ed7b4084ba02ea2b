"""The command line: the groups of commands, and errors as one line with an exit code.

Each command has a file of its own. What it needs is imported inside its function, so that --help is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mtqnet import __version__
from mtqnet.cli import compare, evaluate, gate, label, plot, report
from mtqnet.cli import corpus as corpus_verbs
from mtqnet.cli import finetune as finetune_verb
from mtqnet.cli import score as score_command
from mtqnet.cli import serve as service_verbs
from mtqnet.cli.corpus import Jobs, Out
from mtqnet.errors import UsageError

SCORING, EVALUATION, TRAINING, SERVING = "Scoring", "Evaluation", "Training and labels", "Service"
"""Groups of commands in the help"""

REMOVED = {
    "distil": "`mtqnet train` with a configuration that has a [distill] section",
    "targets": "`mtqnet score --explain`",
    "flags": "`mtqnet score --explain`",
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

        with reported_errors():
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


app.command("score", help=score_command.HELP, rich_help_panel=SCORING)(score_command.score)

Data = Annotated[Path, typer.Option("--data", help="Folder of the sources that the configuration names.")]
SharedCorpus = Annotated[Path | None, typer.Option(help="Existing corpus of the same configuration.")]
PEERS_PYTHON = Path(".venv-peers/bin/python")
"""The same as corpus.peers.PYTHON, whose module would load numpy for a help text"""
Peers = Annotated[Path, typer.Option(help="Python interpreter with speechmos and distillmos; see `make peers`.")]

TRAIN_HELP = (
    "Train a model by multi-task pseudo-label learning (MPL): corpus, MOSA-Net (the teacher of the pseudo labels), "
    "MTQ-Net, optionally the speech encoder, and ONNX export.\n\n"
    "The model is determined by a configuration and its seed. A configuration with a \\[distill] section trains a "
    "small network on the scores of an existing model instead. An interrupted run is resumed when the command is "
    "repeated. The result is OUT/model, for [cyan]mtqnet score --model[/]. Needs mtqnet\\[train] and the packages of "
    "corpus-tools.txt.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet train configs/base.toml --data ../shared/data --out runs/base[/]\n\n"
    "[cyan]mtqnet train configs/small.toml --data ../shared/data --out runs/small --corpus runs/base/corpus[/]"
)


@app.command(help=TRAIN_HELP, rich_help_panel=TRAINING)
def train(
    config: Annotated[Path, typer.Argument(help="TOML file, such as configs/base.toml.")],
    data: Data = Path(),
    out: Out = Path("runs/model"),
    corpus: SharedCorpus = None,
    jobs: Jobs = 0,
    peers: Peers = PEERS_PYTHON,
) -> None:
    """Run all stages of training, or of distillation."""
    from mtqnet.cli.training_console import distil_model, train_model
    from mtqnet.training.data import RunPaths

    paths = RunPaths(data, out, corpus, jobs)
    if _is_distillation(config):
        distil_model(config, paths)
    else:
        train_model(config, paths, peers)


def _is_distillation(config: Path) -> bool:
    """Whether a configuration has a section for distillation; an unreadable file is reported by its reader."""
    import tomllib

    try:
        sections = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool({"distil", "distill"} & set(sections))


finetune_verb.add_to(app)

corpus_verbs.add_to(app)
app.command("label", help=label.HELP, rich_help_panel=TRAINING)(label.label)
app.command("plot", help=plot.HELP, rich_help_panel=SCORING)(plot.plot)
app.command("report", help=report.HELP, rich_help_panel=SCORING)(report.report)
app.command("evaluate", help=evaluate.HELP, rich_help_panel=EVALUATION)(evaluate.evaluate)
app.command("compare", help=compare.HELP, rich_help_panel=EVALUATION)(compare.compare)
app.command("gate", help=gate.HELP, rich_help_panel=EVALUATION)(gate.gate)
service_verbs.add_to(app)


def main() -> None:
    """Entry point of the command `mtqnet`."""
    app(prog_name="mtqnet")
