"""The verb `finetune` for the command line: options and help. What it does stands in training/finetune.py."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

FINETUNE_HELP = (
    "Tune a model on your listeners' ratings: any of the six scores, empty cells allowed.\n\n"
    "LABELS is a table as `mtqnet evaluate` takes it. Votes and standard deviations, where it has them, weigh its "
    "ratings. Scores without ratings are held where they are: what the model said of the same recordings before "
    "(and of those of --unlabelled) stays their target. --by names the column whose values are never parted: a "
    "talker, a condition. A fifth of the recordings is held out and tells what the tuning brought; the epochs are "
    "found by leaving parts of the others out in turn. For small tables, --leave-out-each: every group is held "
    "out once, and the model that is kept learns from all.\n\n"
    "The result is a folder that [cyan]mtqnet score --model[/] takes. It is not written where the model was "
    "better before, or where a better one lies there (exit code 3). Needs mtqnet\\[train], and a model with its "
    ".safetensors.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet finetune ratings/labels.csv --by speaker --out mine[/]\n\n"
    "[cyan]mtqnet finetune votes.csv --column g_mos=MOS --by talker --leave-out-each --out mine[/]\n\n"
    "[cyan]mtqnet finetune labels.csv --target g_mos --unlabelled calls/ --model old.onnx --out mine[/]"
)


def add_to(app: typer.Typer) -> None:
    """Make this verb part of the command line."""
    app.command("finetune", help=FINETUNE_HELP, rich_help_panel="Training and labels")(finetune)


def finetune(
    labels: Annotated[Path, typer.Argument(help="Table of ratings.", metavar="LABELS", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the tuned model, which gets its name.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="What to start from: a shipped model, or a path.")
    ] = "base",
    audio: Annotated[
        Path | None, typer.Option(help="Folder that the table's names are told from.", show_default="the table's")
    ] = None,
    by: Annotated[str, typer.Option(help="Column of the groups that no split parts.", show_default=False)] = "",
    hold_out: Annotated[
        list[str] | None, typer.Option(help="A group to hold out; again for more.", show_default="a fifth")
    ] = None,
    leave_out_each: Annotated[
        bool, typer.Option("--leave-out-each", help="Hold out every group once; learn from all in the end.")
    ] = False,
    target: Annotated[
        list[str] | None, typer.Option(help="A score to tune; again for more.", show_default="all with ratings")
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="Folder of more audio to hold the other scores by.", show_default=False)
    ] = None,
    anchor: Annotated[
        float, typer.Option(min=0, help="Weight of a score that is held, beside one that learns.")
    ] = 3.0,
    share: Annotated[
        float,
        typer.Option(help="Of the tuned weights in what is kept; the rest are as before."),
    ] = 0.5,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of recordings.")] = 1,
    file_column: Annotated[str, typer.Option(help="Column of the recordings, if it is not found.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="SCORE=COLUMN: where its ratings are, as s_mos=SIG; again for more.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for features, to keep or delete.", show_default="OUT.work")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Processes for features; 0 is one per core.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write the model even where the other is better.")
    ] = False,
) -> None:
    """Tune a model on ratings."""
    from mtqnet.cli.finetune_console import tune_model
    from mtqnet.cli.options import assigned
    from mtqnet.evaluation import ratings
    from mtqnet.training.finetune import Options, TuneConfig

    tuning = TuneConfig(epochs=epochs, anchor=anchor, share=share, seed=seed)
    table = ratings.read(labels, file_column, assigned(column or []))
    options = Options(
        table, audio or labels.parent, out, work or out.with_name(f"{out.resolve().name}.work"), model, by,
        tuple(hold_out or ()), leave_out_each, tuple(target or ()), unlabelled,
        tuning, force, jobs, shlex.join(["mtqnet", *sys.argv[1:]]),
    )  # fmt: skip
    tune_model(options)
