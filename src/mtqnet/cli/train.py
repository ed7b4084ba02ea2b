"""`mtqnet train`: training by multi-task pseudo-label learning, or distillation of an existing model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.cli.corpus import Jobs, Out

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mtqnet.cli.terminal import Stage
    from mtqnet.training.config import Config
    from mtqnet.training.data import RunPaths
    from mtqnet.training.evaluation import Figure
    from mtqnet.training.mpl import Report
    from mtqnet.training.pipeline import FinishedRun, Listener
    from mtqnet.training.trainer import Epoch

Data = Annotated[
    Path,
    typer.Option("--data", help="Folder to which the paths of speech, noise and rooms in CONFIG are relative."),
]
SharedCorpus = Annotated[
    Path | None, typer.Option(help="Use this corpus, which an earlier run with the same configuration has built.")
]


class Method(StrEnum):
    """The same as training.config.Method, whose module would load torch for a help text."""

    MPL = "mpl"
    SCRATCH = "scratch"
    TRANSFER = "transfer"


TrainingMethod = Annotated[
    Method | None,
    typer.Option(
        help="mpl: multi-task pseudo-label learning. scratch: S-, N- and G-MOS labels alone. transfer: like scratch, "
        "but initialised with the weights of MOSA-Net.",
        show_default="the configuration's",
    ),
]

Labels = Annotated[
    list[Path] | None,
    typer.Option(
        help="Table of your recordings with S-, N- or G-MOS, in the format of `mtqnet evaluate`, in addition to the "
        "tables in the section \\[ratings] of CONFIG; may be repeated.",
        show_default=False,
    ),
]
By = Annotated[
    str,
    typer.Option(
        help="Grouping column of the tables, for example the speaker: a group is never split between training and "
        "test data.",
        show_default=False,
    ),
]
Unlabelled = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of recordings that get pseudo labels only; may be repeated.", show_default=False),
]
Teacher = Annotated[
    str,
    typer.Option(
        help="Pretrained MOSA-Net that predicts the pseudo labels: the name of a shipped model, or a path.",
        show_default="mosa-net; with a corpus, MOSA-Net is trained on it",
    ),
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Compare the methods on --labels instead of writing a model: train by each of them, and fine-tune the "
        "model base, with each group held out once and five seeds. The table of LCC, SRCC and MSE is written "
        "to OUT/comparison.",
    ),
]
SEEDS = 5
"""Of a comparison of methods"""

HELP = (
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
    data: Data = Path(),
    out: Out = Path("runs/model"),
    corpus: SharedCorpus = None,
    jobs: Jobs = 0,
    method: TrainingMethod = None,
    labels: Labels = None,
    by: By = "",
    unlabelled: Unlabelled = None,
    teacher: Teacher = "",
    compare: Compare = False,
) -> None:
    """Run all stages of training, or of distillation."""
    from mtqnet.errors import UsageError
    from mtqnet.training.data import RunPaths

    paths = RunPaths(data, out, corpus, jobs)
    if _is_distillation(config):
        if labels or compare or teacher:
            raise UsageError(
                "--labels, --teacher and --compare cannot be used with a configuration that has a [distill] section"
            )
        distil_model(config, paths)
        return
    settings = _settings(config, labels or [], by, unlabelled or [], teacher)
    if compare:
        compare_methods(settings, paths)
    else:
        train_model(settings, paths, method)


def _settings(config: Path, labels: list[Path], by: str, unlabelled: list[Path], teacher: str) -> Config:
    """Read a configuration and add the options to it; paths of options are relative to the current folder."""
    from dataclasses import replace

    from mtqnet.errors import UsageError
    from mtqnet.training import config as configs

    settings = configs.load(config)
    own = settings.ratings
    ratings = replace(
        own,
        labels=(*own.labels, *(str(path.absolute()) for path in labels)),
        by=by or own.by,
        unlabelled=(*own.unlabelled, *(str(path.absolute()) for path in unlabelled)),
    )
    if not ratings.labels and (by or unlabelled):
        raise UsageError("--by and --unlabelled belong to a table of ratings: name it with --labels")
    return replace(settings, ratings=ratings, pretrained=teacher or settings.pretrained)


def _is_distillation(config: Path) -> bool:
    """Whether a configuration has a section for distillation; an unreadable file is reported by its reader."""
    import tomllib

    try:
        sections = tomllib.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return False
    return bool({"distil", "distill"} & set(sections))


def train_model(config: Config, paths: RunPaths, method: Method | None = None) -> None:
    """Train the model of a configuration and print its figures. Raises MtqnetError."""
    from mtqnet.training import pipeline

    def learn(settings: Config, listener: Listener) -> Callable[[], FinishedRun]:
        chosen = settings if method is None else settings.with_method(method.value)
        return pipeline.learn(chosen, paths, listener)

    _run(config, learn)


def distil_model(config: Path, paths: RunPaths) -> None:
    """Train the small network of a configuration file on an existing model's scores. Raises MtqnetError."""
    from mtqnet.training import config as configs
    from mtqnet.training import distill

    _run(configs.load(config), lambda settings, listener: distill.learn(settings, paths, listener))


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


def _run(settings: Config, learn: Callable[[Config, Listener], Callable[[], FinishedRun]]) -> None:
    """Train; of several processes that torchrun started, only the first prints and exports the model."""
    from mtqnet.cli.terminal import error_console, stages, tell_notes
    from mtqnet.training import trainer
    from mtqnet.training.pipeline import Listener

    with trainer.started() as process:
        console = error_console(quiet=not process.first)
        with stages(console) as stage:
            finish = learn(settings, Listener(stage, epoch_lines(console, stage), lambda note: tell_notes([note])))
            runs = [finish()] if process.first else []
    for run in runs:
        _show(run, settings, console)


def _show(run: FinishedRun, settings: Config, console: Console) -> None:
    from mtqnet.cli.terminal import output_console

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
