"""`mtqnet finetune`: options and help. The work is done in training/finetune.py."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.options import Audio, Column, assigned

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.cli.terminal import Stage
    from mtqnet.training.evaluation import Figure
    from mtqnet.training.finetune import Change, Options, Outcome

HELP = (
    "Fine-tune a model on your listeners' ratings of any of the six scores.\n\n"
    "RATINGS is a table in the format of `mtqnet evaluate`: a column of files and one or more columns of ratings. "
    "Cells may be empty. Ratings with more votes or a smaller standard deviation, if the table has such columns, have "
    "larger weights in the loss. Targets without ratings are regularised towards the original model's predictions on "
    "the same recordings, and on those in --unlabelled. --by names the grouping column, for example the speaker: a "
    "group is never split between training and held-out data.\n\n"
    "By default, one fifth of the recordings is held out, and the command prints the errors on them before and "
    "after fine-tuning. The number of epochs is selected by cross-validation on the others. For fewer than about "
    "200 recordings use --leave-out-each: every group is held out once, and the final model is trained on all "
    "groups.\n\n"
    "The result is the folder OUT, which [cyan]mtqnet score --model OUT[/] uses. It is not written (exit code 3) if "
    "the original model, or a model that is already in OUT, is more accurate on the held-out ratings. Needs "
    "mtqnet\\[train], and a model with a .safetensors file next to its .onnx file; the shipped models have one.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet finetune ratings/labels.csv --by speaker --out mine[/]\n\n"
    "[cyan]mtqnet finetune votes.csv --column g_mos=MOS --by speaker --leave-out-each --out mine[/]\n\n"
    "[cyan]mtqnet finetune labels.csv --unlabelled calls/ --model old.onnx --out mine[/]"
)


def finetune(
    labels: Annotated[Path, typer.Argument(help="Table of ratings.", metavar="RATINGS", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the fine-tuned model; the model gets the folder's name.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model to start from: a shipped model, or a path.")
    ] = "base",
    audio: Audio = None,
    by: Annotated[
        str,
        typer.Option(
            help="Grouping column, for example the speaker: a group is never split between training and held-out data.",
            show_default=False,
        ),
    ] = "",
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Group to hold out; may be repeated.", show_default="one fifth")
    ] = None,
    leave_out_each: Annotated[
        bool, typer.Option("--leave-out-each", help="Hold out every group once; train the final model on all.")
    ] = False,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="Folder of recordings for the regularisation of targets without ratings.", show_default=False
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            help="Weight of the fine-tuned parameters in the average with the original ones, above 0 and at most 1."
        ),
    ] = 0.5,
    epochs: Annotated[int, typer.Option(min=1, help="Largest number of epochs.")] = 30,
    column: Column = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the model even if the original or existing one is better.")
    ] = False,
) -> None:
    """Fine-tune a model on ratings."""
    from mtqnet.evaluation import ratings
    from mtqnet.training.finetune import Options
    from mtqnet.training.tuning import TuneConfig

    tuning = TuneConfig(epochs=epochs, share=share)
    table = ratings.read(labels, *assigned(column or []))
    options = Options(
        table, audio or labels.parent, out, out.with_name(f"{out.resolve().name}.work"), model, by,
        tuple(hold_out or ()), leave_out_each, unlabelled=unlabelled, tuning=tuning, force=force,
        command=shlex.join(["mtqnet", *sys.argv[1:]]),
    )  # fmt: skip
    tune_model(options)


def tune_model(options: Options) -> None:
    """Fine-tune and print figures before and after. Raises NotBetterError if no model was written; MtqnetError."""
    from mtqnet.cli.terminal import error_console, output_console, stages, tell, tell_notes, tell_unscored
    from mtqnet.errors import NotBetterError
    from mtqnet.training import finetune as tuning

    with stages(error_console()) as stage:
        outcome = tuning.finetune(options, with_total(stage))
    screen = output_console()
    screen.print(figures(outcome))
    if outcome.changes:
        screen.print(movement(outcome))
    for sentence in words(outcome):
        screen.print(sentence, soft_wrap=True, markup=False, highlight=False)
    tell_notes(options.table.notes)
    tell_unscored([(str(path), str(why)) for path, why in outcome.refused], len(options.table.files))
    if outcome.reason:
        raise NotBetterError(outcome.reason)
    out = options.out
    tell(f"{out}: mtqnet score FILE --model {out}; cached features: {options.work}", "green")


def with_total(stage: Stage) -> Stage:
    """Return a function that also reports the progress, and with it the remaining time, of all trainings together."""

    def counted(name: str, done: int, total: int) -> None:
        stage(name, done, total)
        found = re.fullmatch(r"fine-tuning (\d+) of (\d+)", name)
        if found is not None and found[2] != "1":
            stage("fine-tuning in total", (int(found[1]) - 1) * total + done, int(found[2]) * total)

    return counted


def figures(found: Outcome) -> Table:
    """LCC, SRCC and RMSE before and after fine-tuning."""
    from rich.table import Table

    from mtqnet.targets import BY_KEY
    from mtqnet.training.finetune import AFTER, BEFORE

    made = Table("score", "recordings", "LCC", "SRCC", "RMSE", title="Held out: before -> after")
    before = {f.target: f for f in found.figures if f.split == BEFORE}
    for after in (f for f in found.figures if f.split == AFTER):
        made.add_row(BY_KEY[after.target].name, str(after.clips), *_pairs(before[after.target], after))
    return made


def movement(found: Outcome) -> Table:
    """Changes of the scores without ratings."""
    from rich.table import Table

    from mtqnet.targets import BY_KEY

    made = Table(
        "score", "recordings", "mean change", "largest", "LCC with before", title="Scores without ratings: change"
    )
    for moved in found.changes:
        made.add_row(BY_KEY[moved.target].name, str(moved.recordings), *_movement(moved))
    return made


def words(outcome: Outcome) -> list[str]:
    """The split, the epochs, the weights and the intervals in sentences."""
    from mtqnet.targets import BY_KEY

    plan, told = outcome.plan.description, outcome.intervals.messages
    intervals = "; ".join(f"{BY_KEY[key].name if key in BY_KEY else 'all'}: {how}" for key, how in told.items())
    epochs = f"{outcome.epochs} epochs, selected by cross-validation on the training recordings"
    return [
        f"{plan[0].upper()}{plan[1:]}.",
        f"Fine-tuned for {epochs}.",
        f"{outcome.weighting[0].upper()}{outcome.weighting[1:]}.",
        f"Intervals: {intervals}.",
    ]


def _pairs(before: Figure, after: Figure) -> list[str]:
    pairs = ((before.lcc, after.lcc), (before.srcc, after.srcc), (before.rmse, after.rmse))
    return [f"{one:.3f} -> {other:.3f}" for one, other in pairs]


def _movement(moved: Change) -> list[str]:
    return [f"{value:.3f}" for value in (moved.mean, moved.largest, moved.lcc)]
