"""What a person sees of `mtqnet finetune`: bars, before and after, how it came about, what was written."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtqnet.cli.bars import stages
from mtqnet.cli.console import tell
from mtqnet.errors import NotBetterError
from mtqnet.targets import BY_KEY
from mtqnet.training.evaluation import Figure
from mtqnet.training.finetune import Options, Outcome, finetune
from mtqnet.training.finetune.comparison import AFTER, BEFORE, Change, Comparison

MOST_NAMED = 5
"""Recordings without a score that are named one by one"""


def tune_model(options: Options) -> None:
    """Tune, print before and after. Raises NotBetterError where nothing was written, MtqnetError."""
    console = Console(stderr=True)
    with stages(console) as stage:
        outcome = finetune(options, stage)
    screen = Console()
    screen.print(figures(outcome.comparison))
    if outcome.comparison.changes:
        screen.print(movement(outcome.comparison))
    for sentence in words(outcome):
        screen.print(Text(sentence), soft_wrap=True)
    _tell_refused(outcome)
    if outcome.reason:
        raise NotBetterError(outcome.reason)
    out = options.out
    tell(f"{out}: mtqnet score FILE --model {out}; features for another call: {options.work}", "green")


def figures(found: Comparison) -> Table:
    """LCC, SRCC and RMSE before and after, for a terminal."""
    made = Table("score", "recordings", "LCC", "SRCC", "RMSE", title="Held out: before -> after")
    before = {f.target: f for f in found.figures if f.split == BEFORE}
    for after in (f for f in found.figures if f.split == AFTER):
        made.add_row(BY_KEY[after.target].name, str(after.clips), *_pairs(before[after.target], after))
    return made


def movement(found: Comparison) -> Table:
    """How far scores without ratings went."""
    made = Table("score", "recordings", "mean size", "largest", "LCC with before", title="No ratings: movement")
    for moved in found.changes:
        made.add_row(BY_KEY[moved.target].name, str(moved.recordings), *_movement(moved))
    return made


def words(outcome: Outcome) -> list[str]:
    """How all this came about, in sentences."""
    plan, told = outcome.plan.description, outcome.intervals.messages
    intervals = "; ".join(f"{BY_KEY[key].name if key in BY_KEY else 'all'}: {how}" for key, how in told.items())
    epochs = f"{outcome.epochs} epochs, found by leaving parts of the recordings that it learnt from out in turn"
    return [
        f"{plan[0].upper()}{plan[1:]}.",
        f"Tuned for {epochs}.",
        f"{outcome.weighting[0].upper()}{outcome.weighting[1:]}.",
        f"Intervals: {intervals}.",
    ]


def _pairs(before: Figure, after: Figure) -> list[str]:
    pairs = ((before.lcc, after.lcc), (before.srcc, after.srcc), (before.rmse, after.rmse))
    return [f"{one:.3f} -> {other:.3f}" for one, other in pairs]


def _movement(moved: Change) -> list[str]:
    return [f"{value:.3f}" for value in (moved.mean, moved.largest, moved.lcc)]


def _tell_refused(outcome: Outcome) -> None:
    refused = outcome.refused
    if not refused:
        return
    lines = [f"{len(refused)} recordings cannot be scored and were left out:"]
    lines += [f"  {path}: {why}" for path, why in refused[:MOST_NAMED]]
    if len(refused) > MOST_NAMED:
        lines.append(f"  and {len(refused) - MOST_NAMED} more")
    tell("\n".join(lines), "yellow")
