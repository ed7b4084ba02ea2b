"""What is in a corpus: clips, spread of each label with its holes, steps with their parameters, correlation.

`describe` counts, `tables` shows it in a terminal of 100 columns.

Also lists all kinds of processing, by group, with what each needs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from mtqnet.corpus import chain
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.coding import Coding
from mtqnet.corpus.degradations.packages import Need, missing
from mtqnet.corpus.recipe import flat
from mtqnet.corpus.recordings import Use, use_of
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import Row
from mtqnet.errors import CorpusError
from mtqnet.targets import QUEST, TARGETS, Target

FULL_STRENGTH: Mapping[str, float] = {"wet": 1.0, "passes": 1, "share": 1.0, "limit_db": 100.0, "auto_gain": 0}
"""Parameter of a suppressor -> its value at full strength; a suppressor without any of them always counts."""


@dataclass(frozen=True)
class Kind:
    """One kind of processing."""

    name: str
    group: str
    """codec, suppressor or other"""
    held_out: str
    """Split whose clips alone go through it; empty if it may occur in any"""
    missing: tuple[Need, ...]
    """What is not installed of what it needs"""


def group(name: str) -> str:
    """codec, suppressor or other."""
    step = STEPS[name]
    if issubclass(step, Coding):
        return "codec"
    return "suppressor" if hasattr(step, "full") else "other"


def kinds() -> list[Kind]:
    """All kinds in the order of a chain."""
    held_out = {name: split for split, names in chain.HELD_OUT.items() for name in names}
    return [Kind(name, group(name), held_out.get(name, ""), tuple(missing(name))) for name in STEPS]


def is_ordinary(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last processing is one suppressor at full strength, without a codec or other suppressor before.

    `steps` are those of a recipe as data; only the level of the playback may follow.
    """
    processed = [step for step in flat(steps) if step["step"] != "Playback"]
    groups = [group(step["step"]) if step["step"] in STEPS else "other" for step in processed]
    if not groups or groups[-1] != "suppressor" or len(groups) - groups.count("other") > 1:
        return False
    spliced = any(step["step"] == "Splice" for step in processed)
    last = processed[-1]
    return not spliced and all(last[name] == full for name, full in FULL_STRENGTH.items() if name in last)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many kinds of processing occur in the clips of a table, and how many clips are the ordinary case."""
    recipes = [json.loads(row["recipe"])["steps"] for row in rows]
    found = {step["step"] for steps in recipes for step in flat(steps)} & set(STEPS)
    codecs, suppressors = (sum(group(name) == kind for name in found) for kind in ("codec", "suppressor"))
    ordinary = sum(is_ordinary(steps) for steps in recipes)
    return (
        f"{len(found)} of {len(STEPS)} kinds of processing occur, {codecs} codecs and {suppressors} suppressors among "
        f"them. The ordinary case (one suppressor at full strength, no other processing after it): {ordinary} clips, "
        f"{ordinary / max(1, len(recipes)):.1%}."
    )


HOLE_SHARE = 0.05
"""Share of the clips below which a unit of the MOS scale is a hole. Spread evenly, each of the four has 0.25; with
a fifth of that, a thousand clips leave fewer than fifty to learn a grade of the scale from."""
EDGES: Mapping[str, tuple[float, ...]] = {
    **dict.fromkeys((target.label for target in QUEST), (1.0, 2.0, 3.0, 4.0, 5.0)),
    "pesq": (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 4.64),
    "stoi": (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
    "sdi": (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0),
}
"""Ends of intervals, of SDI in log10. Narrower in the range of most degraded speech."""
BINS = 10
"""Of a parameter's histogram"""
NOT_SPREAD = frozenset({"seed", "start", "starts", "grow_at", "shrink_at"})
"""Seeds and samples, which do not describe the strength of a step."""
BAR = 12
"""Characters of the longest bar"""
BLOCKS = " ▏▎▍▌▋▊▉█"
HEIGHTS = "▁▂▃▄▅▆▇█"

Array = NDArray[np.float64]
Recordings = Mapping[str, Mapping[str, str]] | None


@dataclass(frozen=True)
class Part:
    """One split, or all of them."""

    name: str
    clips: int
    hours: float
    speakers: int
    use: Use
    """Of recordings"""


@dataclass(frozen=True)
class Interval:
    """Clips whose label is from `low` up to `high`."""

    low: float
    high: float
    clips: int
    share: float
    hole: bool


@dataclass(frozen=True)
class Parameter:
    """Values of one number of a step, over all clips that have the step."""

    name: str
    quartiles: tuple[float, float, float, float, float]
    """Smallest, first quartile, median, third quartile, largest"""
    histogram: tuple[int, ...]
    """Clips in each of BINS equal intervals between smallest and largest"""


@dataclass(frozen=True)
class Degradation:
    """One kind of step."""

    name: str
    clips: int
    share: float
    means: tuple[float, ...]
    """S-, N- and G-MOS of the clips that have it"""
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Description:
    """Description of a corpus."""

    parts: tuple[Part, ...]
    """Splits, and the whole last"""
    spread: Mapping[str, tuple[Interval, ...]]
    """Intervals by column: S-, N-, G-MOS, PESQ, STOI, and log10 of SDI"""
    steps: tuple[Degradation, ...]
    """The most frequent first"""
    correlation: tuple[tuple[float, ...], ...]
    """Pearson's, six by six in the order of TARGETS; NaN where a label is constant"""

    @property
    def holes(self) -> tuple[str, ...]:
        """A sentence for each hole."""
        return tuple(
            f"{short(target)} {interval.low:g} to {interval.high:g}: {interval.share:.1%} of the clips "
            f"({interval.clips}), less than {HOLE_SHARE:.0%}"
            for target in QUEST
            for interval in self.spread[target.label]
            if interval.hole
        )


def describe(rows: Sequence[Row], recordings: Recordings = None) -> Description:
    """Count the contents of these clips. Raises CorpusError if there are no clips or the table is not that of a
    corpus.

    `recordings` has the row of recordings.csv of each recording, by its path.
    """
    if not rows:
        raise CorpusError("there are no clips to describe: relax the conditions, or build the corpus")
    needed = ("split", "speaker", "seconds", "recipe", *(target.label for target in TARGETS))
    if missing := [name for name in needed if name not in rows[0]]:
        raise CorpusError(f"the table has no column {missing[0]}: only a corpus that was built can be described")
    values = {target.label: label_values(rows, target) for target in TARGETS}
    return Description(
        _parts(rows, recordings),
        {target.label: _intervals(values[target.label], target) for target in TARGETS},
        _degradations(rows, np.stack([values[target.label] for target in QUEST], axis=1)),
        _correlation(np.stack(list(values.values()))),
    )


def label_values(rows: Sequence[Row], target: Target) -> Array:
    """(clips,) of a label, clipped to its range; log10 of SDI."""
    return target.compress(np.array([float(row[target.label]) for row in rows]))


def short(target: Target) -> str:
    """A measured label's name: PESQ, and not PESQ (estimate)."""
    name = target.short_name
    return f"log10 {name}" if target.log else name


def _parts(rows: Sequence[Row], recordings: Recordings) -> tuple[Part, ...]:
    found = {row["split"] for row in rows}
    names = [*(split for split in SPLITS if split in found), *sorted(found - set(SPLITS))]
    parts = {name: [row for row in rows if row["split"] == name] for name in names} | {"all": rows}
    return tuple(_part(name, part, recordings) for name, part in parts.items())


def _part(name: str, rows: Sequence[Row], recordings: Recordings) -> Part:
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    return Part(name, len(rows), hours, len({row["speaker"] for row in rows}), use_of(rows, recordings))


def _intervals(values: Array, target: Target) -> tuple[Interval, ...]:
    edges = EDGES[target.label]
    counts, _ = np.histogram(values, edges)
    return tuple(
        Interval(low, high, int(count), count / len(values), target in QUEST and count < HOLE_SHARE * len(values))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    )


def _degradations(rows: Sequence[Row], quest: Array) -> tuple[Degradation, ...]:
    where: dict[str, set[int]] = defaultdict(set)
    numbers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for clip, row in enumerate(rows):
        for step in flat(json.loads(row["recipe"])["steps"]):
            where[step["step"]].add(clip)
            for name, value in step.items():
                numbers[step["step"]][name] += _numbers(name, value)
    made = [
        Degradation(
            name,
            len(clips),
            len(clips) / len(rows),
            tuple(quest[sorted(clips)].mean(axis=0).tolist()),
            tuple(_parameter(key, found) for key, found in numbers[name].items() if found),
        )
        for name, clips in where.items()
    ]
    return tuple(sorted(made, key=lambda step: (-step.clips, step.name)))


def _numbers(name: str, value: Any) -> list[float]:
    """Return the numbers in a parameter: itself, or the elements of a list; not text, booleans and seeds."""
    values = value if isinstance(value, list) else [value]
    if name in NOT_SPREAD:
        return []
    return [float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]


def _parameter(name: str, found: Sequence[float]) -> Parameter:
    low, first, median, third, high = np.quantile(found, (0, 0.25, 0.5, 0.75, 1)).tolist()
    counts, _ = np.histogram(found, BINS, (low, high if high > low else low + 1))
    return Parameter(name, (low, first, median, third, high), tuple(counts.tolist()))


def _correlation(values: Array) -> tuple[tuple[float, ...], ...]:
    """(labels, clips) -> Pearson's, without numpy's warning for what is constant."""
    centred = values - values.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.sum(centred**2, axis=1))
    spread[np.ptp(values, axis=1) == 0] = np.nan
    return tuple(map(tuple, (centred @ centred.T / np.outer(spread, spread)).tolist()))


def tables(description: Description) -> list[Table]:
    """For a terminal: splits, labels, correlation, holes, steps, parameters."""
    spreads = [_spread_table(target, description.spread[target.label]) for target in TARGETS]
    beside = Table.grid(padding=(0, 3, 1, 0))
    beside.add_row(*spreads[:3])
    beside.add_row(*spreads[3:])
    others = (_hole_table, _correlation_table, _step_table, _parameter_table)
    return [_part_table(description), _use_table(description), beside, *(made(description) for made in others)]


def _part_table(description: Description) -> Table:
    table = _table("Clips", "split", "clips", "hours", "speakers")
    for part in description.parts:
        table.add_row(part.name, str(part.clips), f"{part.hours:.2f}", str(part.speakers))
    return table


def _use_table(description: Description) -> Table:
    heads = ("split", "speech min", "sentences", "speakers", "languages", "noise min", "noises", "clips/sentence")
    table = _table("Unique recordings; most clips of one of them", *heads, "clips/noise")
    for part in description.parts:
        use = part.use
        speakers = f"{part.speakers}" + (f" + {use.unlabelled} unlabelled" if use.unlabelled else "")
        table.add_row(
            part.name, f"{use.speech_minutes:.1f}", str(use.sentences), speakers, str(len(use.languages) or "?"),
            "?" if use.noise_minutes is None else f"{use.noise_minutes:.1f}", str(use.noises),
            str(use.clips_per_sentence), str(use.clips_per_noise),
        )  # fmt: skip
    return table


def _spread_table(target: Target, intervals: Sequence[Interval]) -> Table:
    table = Table(box=None, pad_edge=False, title=short(target), title_style="bold", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=BAR, no_wrap=True)
    longest = max(interval.share for interval in intervals)
    for interval in intervals:
        colour, word = ("bold red", " hole") if interval.hole else ("cyan", "")  # not everybody sees red
        drawn = Text(bar(interval.share / longest, BAR) + word, colour)
        name, share = f"{interval.low:g} to {interval.high:g}", f"{interval.share:.1%}"
        table.add_row(name, share, drawn, style="bold red" if interval.hole else "")
    return table


def _hole_table(description: Description) -> Table:
    table = Table.grid(padding=(0, 0, 1, 0))
    for hole in description.holes:
        table.add_row(f"hole: {hole}", style="bold red")
    if not description.holes:
        table.add_row("No hole in S-, N- or G-MOS.", style="green")
    return table


def _correlation_table(description: Description) -> Table:
    names = [short(target) for target in TARGETS]
    table = _table("Correlation of labels (Pearson)", "", *names)
    for name, line in zip(names, description.correlation, strict=True):
        table.add_row(name, *("-" if np.isnan(value) else f"{value:.2f}" for value in line))
    return table


def _step_table(description: Description) -> Table:
    table = _table("Steps: clips that have it, and mean labels", "step", "clips", "share", *map(short, QUEST))
    table.add_column("", width=2 * BAR, no_wrap=True)
    longest = max((step.share for step in description.steps), default=1.0)
    for step in description.steps:
        means = (f"{mean:.2f}" for mean in step.means)
        drawn = Text(bar(step.share / longest, 2 * BAR), "cyan")
        table.add_row(step.name, str(step.clips), f"{step.share:.1%}", *means, drawn)
    return table


def _parameter_table(description: Description) -> Table:
    table = _table("Parameters of steps", "step", "parameter", "min", "25 %", "median", "75 %", "max")
    table.columns[1].justify = "left"
    table.add_column("spread", no_wrap=True, min_width=BINS)
    for step in description.steps:
        for number, parameter in enumerate(step.parameters):
            figures = map(_figure, parameter.quartiles)
            name = step.name if number == 0 else ""
            table.add_row(name, parameter.name, *figures, Text(columns(parameter.histogram), "cyan"))
    return table


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _table(title: str, first: str, *heads: str) -> Table:
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def bar(share: float, width: int) -> str:
    """A bar of block characters with a resolution of an eighth; values above zero are visible."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def columns(counts: Sequence[int]) -> str:
    """A histogram as one line of block characters; a blank for zero."""
    most = max(counts)
    return "".join(HEIGHTS[(count * (len(HEIGHTS) - 1)) // most] if count else " " for count in counts)
