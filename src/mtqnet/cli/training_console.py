"""What a person sees of `mtqnet train` and `mtqnet distil`: bars with the time left, epochs, the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mtqnet.cli.bars import Stage, stages
from mtqnet.targets import BY_KEY, named
from mtqnet.training import config as configs
from mtqnet.training import distill, parallel, pipeline
from mtqnet.training.config import Config
from mtqnet.training.data import RunPaths
from mtqnet.training.evaluation import Figure
from mtqnet.training.mpl import Report
from mtqnet.training.pipeline import FinishedRun, Listener
from mtqnet.training.trainer import Epoch


def train_model(config: Path, paths: RunPaths, peers: Path) -> None:
    """Train what a configuration file says and print the figures. Raises MtqnetError."""
    _run(config, lambda settings, listener: pipeline.learn(settings, paths, listener, peers))


def distil_model(config: Path, paths: RunPaths) -> None:
    """Let a model teach the small network of a configuration file and print the figures. Raises MtqnetError."""
    _run(config, lambda settings, listener: distill.learn(settings, paths, listener))


def _run(config: Path, learn: Callable[[Config, Listener], Callable[[], FinishedRun]]) -> None:
    """Of several processes that torchrun started, the first speaks, and makes the model of what all learned."""
    settings = configs.load(config)
    with parallel.started() as process:
        console = Console(stderr=True, quiet=not process.first)
        with stages(console) as stage:
            finish = learn(settings, Listener(stage, epoch_lines(console, stage)))
            runs = [finish()] if process.first else []
    for run in runs:
        _show(run, settings, console)


def _show(run: FinishedRun, settings: Config, console: Console) -> None:
    Console().print(table(run.figures))
    took = ", ".join(f"{stage} {minutes:g}" for stage, minutes in run.minutes.items())
    total = sum(run.minutes.values())
    console.print(f"{run.exported.model}, seed {settings.seed}; {total:.0f} minutes: {took}", highlight=False)


def epoch_lines(console: Console, stage: Stage) -> Report:
    """Prints each epoch's losses and correlations, and moves its network's bar."""

    def report(network: str, result: Epoch, total: int) -> None:
        stage(network, result.epoch, total)
        names = [target.name.removesuffix(" (estimate)") for target in named(list(result.lcc))]
        lcc = "  ".join(f"{name} {value:.3f}" for name, value in zip(names, result.lcc.values(), strict=True))
        losses = f"loss {result.train_loss:.3f}, validation error {result.validation_error:.3f}"
        console.print(f"{network} {result.epoch:>3}/{total}  {losses}, LCC {lcc}", highlight=False)

    return report


def table(figures: Sequence[Figure]) -> Table:
    """Figures as a table for a terminal."""
    made = Table("split", "score", "clips", "LCC", "SRCC", "RMSE", title="Per clip, held out")
    for f in figures:
        numbers = (f"{value:.3f}" for value in (f.lcc, f.srcc, f.rmse))
        made.add_row(f.split, BY_KEY[f.target].name, str(f.clips), *numbers)
    return made
