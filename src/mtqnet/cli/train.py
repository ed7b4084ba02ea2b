"""`mtqnet train` and `finetune`: a new model by multi-task pseudo-label learning, or a model tuned on ratings."""

from __future__ import annotations

import math
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.corpus import Out
from mtqnet.cli.terminal import Audio, Column
from mtqnet.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mtqnet.cli.terminal import Stage
    from mtqnet.training.config import Config
    from mtqnet.training.data import RunPaths
    from mtqnet.training.evaluation import Figure
    from mtqnet.training.finetune import Options, Outcome
    from mtqnet.training.mpl import Report
    from mtqnet.training.pipeline import FinishedRun, Listener
    from mtqnet.training.trainer import Epoch


class Method(StrEnum):
    """The same as training.config.Method, whose module would load torch for a help text."""

    MPL = "mpl"
    SCRATCH = "scratch"
    TRANSFER = "transfer"


SEEDS = 5
"""Of a comparison of methods"""
EACH = "each"
"""Value of --hold-out: hold out every group once"""

TRAIN_HELP = (
    "Train a model by multi-task pseudo-label learning (MPL), and export it to ONNX.\n\n"
    "The steps are: build a corpus of degraded clips; train MOSA-Net, which predicts the pseudo labels for PESQ, "
    "STOI and SDI; train MTQ-Net on labels and pseudo labels; optionally, train the pretrained speech encoder "
    "jointly with it.\n\n"
    "CONFIG defines sources, networks, losses and seed. If it has a \\[distill] section, a small network is trained "
    "on the scores of an existing model instead. With --labels, the training data are your own recordings with S-, "
    "N- or G-MOS instead of a corpus, and the pretrained model mosa-net, which is part of the package, predicts the "
    "pseudo labels. If the same command is run again, an interrupted training is resumed. The result is the folder "
    "OUT/model, which [cyan]mtqnet score --model OUT/model[/] uses. Needs mtqnet\\[train]. A corpus also needs "
    "mtqnet\\[corpus] and the tools that `mtqnet corpus kinds` lists.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet train configs/base.toml --data ../shared/data --out runs/base[/]\n\n"
    "[cyan]mtqnet train configs/ratings.toml --labels calls/labels.csv --by speaker --out mine[/]\n\n"
    "[cyan]mtqnet train configs/small.toml --data ../shared/data --out runs/small --corpus runs/base/corpus[/]"
)


def train(
    config: Annotated[Path, typer.Argument(help="TOML file, such as configs/base.toml.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder to which the paths of speech, noise and rooms in CONFIG are relative."
        ),
    ] = Path(),
    out: Out = Path("runs/model"),
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a corpus that runs with the same configuration share; it is built if it is missing."
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="mpl: multi-task pseudo-label learning. scratch: S-, N- and G-MOS labels alone. transfer: like "
            "scratch, but initialised with the weights of MOSA-Net.",
            show_default="the configuration's",
        ),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of your recordings with S-, N- or G-MOS, in the format of `mtqnet evaluate`, in addition to "
            "the tables in the section \\[ratings] of CONFIG; may be repeated."
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="Grouping column of the tables, for example the speaker: a group is never split between training and "
            "test data."
        ),
    ] = "",
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Folder of recordings that get pseudo labels only; may be repeated.")
    ] = None,
    teacher: Annotated[
        str,
        typer.Option(
            help="Pretrained MOSA-Net that predicts the pseudo labels: the name of a shipped model, or a path.",
            show_default="mosa-net; with a corpus, MOSA-Net is trained on it",
        ),
    ] = "",
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare the methods on --labels instead of writing a model: train by each of them, and fine-tune the "
            "model base, with each group held out once and five seeds. The table of LCC, SRCC and MSE is written "
            "to OUT/comparison.",
        ),
    ] = False,
) -> None:
    """Run all stages of training, or of distillation."""
    from dataclasses import replace

    from mtqnet.training import config as configs
    from mtqnet.training.data import RunPaths

    paths = RunPaths(data, out, corpus)
    settings = configs.load(config)
    if "distill" in tomllib.loads(config.read_text(encoding="utf-8")):
        if labels or compare or teacher or by or unlabelled or method:
            raise UsageError(
                f"{config} has a [distill] section: of the options only --data, --out and --corpus apply to it; omit "
                "the others"
            )
        from mtqnet.training import distill

        _run(settings, lambda listener: distill.learn(settings, paths, listener))
        return
    for folder in unlabelled or []:
        if not folder.is_dir():
            raise UsageError(f"--unlabelled {folder}: there is no such folder; name a folder of recordings")
    own = settings.ratings
    ratings = replace(  # paths of options are relative to the current folder, those of the file to --data
        own,
        labels=(*own.labels, *(str(path.absolute()) for path in labels or [])),
        by=by or own.by,
        unlabelled=(*own.unlabelled, *(str(path.absolute()) for path in unlabelled or [])),
    )
    if not ratings.labels and (by or unlabelled):
        raise UsageError("--by and --unlabelled belong to a table of ratings: name it with --labels")
    settings = replace(settings, ratings=ratings, pretrained=teacher or settings.pretrained)
    if compare:
        if method is not None:
            raise UsageError("--compare trains by all methods: omit --method")
        compare_methods(settings, paths)
        return
    from mtqnet.training import pipeline

    chosen = settings if method is None else settings.with_method(method.value)
    _run(chosen, lambda listener: pipeline.learn(chosen, paths, listener))


def compare_methods(settings: Config, paths: RunPaths) -> None:
    """Compare the methods on tables of ratings and print the result. Raises MtqnetError."""
    from mtqnet.cli.terminal import error_console, stages, tell, tell_notes
    from mtqnet.training import methods

    with stages(error_console()) as stage:
        result = methods.compare(settings, paths, SEEDS, stage)
    tell_notes(result.notes)
    print(result.page.read_text(encoding="utf-8"))
    tell(
        f"{result.page.parent}: {', '.join(sorted(path.name for path in result.page.parent.glob('comparison.*')))}"
    )


def _run(settings: Config, learn: Callable[[Listener], Callable[[], FinishedRun]]) -> None:
    """Train; of several processes that torchrun started, only the first prints and exports the model."""
    from mtqnet.cli.terminal import error_console, output_console, stages, tell_notes
    from mtqnet.training import trainer
    from mtqnet.training.pipeline import Listener

    with trainer.started() as process:
        console = error_console(quiet=not process.first)
        with stages(console) as stage:
            finish = learn(Listener(stage, epoch_lines(console, stage), lambda note: tell_notes([note])))
            run = finish() if process.first else None
    if run is not None:
        output_console().print(figure_table(run.figures))
        took = ", ".join(f"{stage} {minutes:g}" for stage, minutes in run.minutes.items())
        total = sum(run.minutes.values())
        console.print(f"{run.exported.model}, seed {settings.seed}; {total:.0f} minutes: {took}", highlight=False)


def epoch_lines(console: Console, stage: Stage) -> Report:
    """Return a function that prints the losses and correlations of an epoch and moves the progress bar.

    Targets without validation labels, whose correlation is NaN, are omitted.
    """
    from mtqnet.targets import named

    def report(network: str, result: Epoch, total: int) -> None:
        stage(network, result.epoch, total)
        known = {key: value for key, value in result.lcc.items() if not math.isnan(value)}
        names = [target.short_name for target in named(list(known))]
        lcc = "  ".join(f"{name} {value:.3f}" for name, value in zip(names, known.values(), strict=True)) or "-"
        losses = f"loss {result.train_loss:.3f}, validation error {result.validation_error:.3f}"
        console.print(f"{network} {result.epoch:>3}/{total}  {losses}, LCC {lcc}", highlight=False)

    return report


def figure_table(figures: Sequence[Figure]) -> Table:
    """Correlations and errors per split and score."""
    from rich.table import Table

    from mtqnet.targets import BY_KEY

    made = Table("split", "score", "clips", "LCC", "SRCC", "RMSE", title="Per clip, held out")
    for f in figures:
        numbers = (f"{value:.3f}" for value in (f.lcc, f.srcc, f.rmse))
        made.add_row(f.split, BY_KEY[f.target].name, str(f.clips), *numbers)
    return made


FINETUNE_HELP = (
    "Fine-tune a model on your listeners' ratings of any of the six scores.\n\n"
    "RATINGS is a table in the format of `mtqnet evaluate`: a column of files and one or more columns of ratings. "
    "Cells may be empty. Ratings with more votes or a smaller standard deviation, if the table has such columns, have "
    "larger weights in the loss. Targets without ratings are regularised towards the original model's predictions on "
    "the same recordings, and on those in --unlabelled. --by names the grouping column, for example the speaker: a "
    "group is never split between training and held-out data.\n\n"
    "By default, one fifth of the recordings is held out, and the command prints the errors on them before and "
    "after fine-tuning. The number of epochs is selected by cross-validation on the others. For fewer than about "
    "200 recordings use --hold-out each: every group is held out once, and the final model is trained on all "
    "groups.\n\n"
    "The result is the folder OUT, which [cyan]mtqnet score --model OUT[/] uses. It is not written (exit code 3) if "
    "the original model, or a model that is already in OUT, is more accurate on the held-out ratings. Needs "
    "mtqnet\\[train], and a model with a .safetensors file next to its .onnx file; the shipped models have one.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet finetune ratings/labels.csv --by speaker --out mine[/]\n\n"
    "[cyan]mtqnet finetune votes.csv --column g_mos=MOS --by speaker --hold-out each --out mine[/]\n\n"
    "[cyan]mtqnet finetune labels.csv --unlabelled calls/ --model old.onnx --out mine[/]"
)


def finetune(
    labels: Annotated[Path, typer.Argument(help="Table of ratings.", metavar="RATINGS")],
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
            help="Grouping column, for example the speaker: a group is never split between training and held-out data."
        ),
    ] = "",
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Group to hold out, may be repeated; or each: hold out every group once, and train the final model "
            "on all.",
            show_default="one fifth",
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="Folder of recordings for the regularisation of targets without ratings.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Largest number of epochs.")] = 30,
    column: Column = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the model even if the original or existing one is better.")
    ] = False,
) -> None:
    """Fine-tune a model on ratings."""
    from mtqnet.cli.terminal import parse_columns
    from mtqnet.evaluation import ratings
    from mtqnet.training.finetune import Options
    from mtqnet.training.tuning import TuneConfig

    if unlabelled is not None and not unlabelled.is_dir():
        raise UsageError(f"--unlabelled {unlabelled}: there is no such folder; name a folder of recordings")
    table = ratings.read(labels, *parse_columns(column or []))
    groups = tuple(name for name in hold_out or () if name != EACH)
    work = out.with_name(f"{out.resolve().name}.work")
    options = Options(
        table, audio or labels.parent, out, work, model, by, groups, EACH in (hold_out or ()),
        unlabelled=unlabelled, tuning=TuneConfig(epochs=epochs), force=force,
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
    for table in change_tables(outcome):
        screen.print(table)
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


def change_tables(found: Outcome) -> list[Table]:
    """LCC, SRCC and RMSE before and after fine-tuning, and the changes of the scores without ratings, if any."""
    from rich.table import Table

    from mtqnet.targets import BY_KEY
    from mtqnet.training.finetune import AFTER, BEFORE

    rated = Table("score", "recordings", "LCC", "SRCC", "RMSE", title="Held out: before -> after")
    earlier = {f.target: f for f in found.figures if f.split == BEFORE}
    for f in (f for f in found.figures if f.split == AFTER):
        before = earlier[f.target]
        pairs = ((before.lcc, f.lcc), (before.srcc, f.srcc), (before.rmse, f.rmse))
        rated.add_row(BY_KEY[f.target].name, str(f.clips), *(f"{one:.3f} -> {other:.3f}" for one, other in pairs))
    if not found.changes:
        return [rated]
    others = Table(
        "score", "recordings", "mean change", "largest", "LCC with before", title="Scores without ratings: change"
    )
    for moved in found.changes:
        numbers = (f"{value:.3f}" for value in (moved.mean, moved.largest, moved.lcc))
        others.add_row(BY_KEY[moved.target].name, str(moved.recordings), *numbers)
    return [rated, others]


def words(outcome: Outcome) -> list[str]:
    """The split, the epochs, the weights and the intervals in sentences."""
    from mtqnet.targets import BY_KEY

    told = outcome.intervals.messages
    intervals = "; ".join(f"{BY_KEY[key].name if key in BY_KEY else 'all'}: {how}" for key, how in told.items())
    sentences = (
        outcome.plan.description,
        f"Fine-tuned for {outcome.epochs} epochs, selected by cross-validation on the training recordings",
        outcome.weighting,
        f"Intervals: {intervals}",
    )
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences]
