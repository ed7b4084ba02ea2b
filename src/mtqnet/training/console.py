"""What a person sees of `mtqnet train`: bars with the time left, a line an epoch, the figures at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mtqnet.bars import Stage, stages
from mtqnet.targets import BY_KEY, named
from mtqnet.training import config as configs
from mtqnet.training import pipeline
from mtqnet.training.evaluate import Figure
from mtqnet.training.loop import Epoch
from mtqnet.training.memory import keep_memory
from mtqnet.training.mpl import Report


def train_model(config: Path, data: Path, out: Path, jobs: int, peers: Path) -> None:
    """Train what a configuration file says and print the figures. Raises MtqnetError."""
    settings = configs.load(config)
    keep_memory()
    console = Console(stderr=True)
    with stages(console) as stage:
        listener = pipeline.Listener(stage, epoch_lines(console, stage))
        run = pipeline.train(settings, data, out, listener, jobs, peers)
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
