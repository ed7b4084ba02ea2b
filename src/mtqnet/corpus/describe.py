"""What is in a corpus: clips, recordings, distribution of each label with its holes, steps, correlation.

`describe` counts, `tables` shows it in a terminal of 100 columns. `kinds` lists all kinds of processing, by group,
with what each needs.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.degradations.step import Coding, Need
from mtqnet.corpus.recipe import HELD_OUT, NOISE_STEPS
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import RECORDINGS, Row, flat
from mtqnet.errors import CorpusError
from mtqnet.targets import QUEST, TARGETS, Target

FULL_STRENGTH: Mapping[str, float] = {"wet": 1.0, "passes": 1, "share": 1.0, "limit_db": 100.0, "auto_gain": 0}
"""Parameter of a suppressor -> its value at full strength; a suppressor without any of them always counts."""
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
BAR = 12
"""Characters of the longest bar"""

Recordings = Mapping[str, Mapping[str, str]]
"""Rows of recordings.csv by file; empty if the corpus has none"""


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


def kinds() -> list[Kind]:
    """All kinds of processing."""
    held_out = {name: split for split, names in HELD_OUT.items() for name in names}
    return [Kind(name, group(name), held_out.get(name, ""), tuple(missing(name))) for name in STEPS]


def group(name: str) -> str:
    """codec, suppressor or other."""
    step = STEPS.get(name, object)
    return "codec" if issubclass(step, Coding) else "suppressor" if hasattr(step, "full") else "other"


def is_ordinary(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last processing is one suppressor at full strength, without a codec or other suppressor before.

    `steps` are those of a recipe as data; only the level of the playback may follow.
    """
    processed = [step for step in flat(steps) if step["step"] != "Playback"]
    groups = [group(step["step"]) for step in processed]
    if not groups or groups[-1] != "suppressor" or len(groups) - groups.count("other") > 1:
        return False
    spliced = any(step["step"] == "Splice" for step in processed)
    last = processed[-1]
    return not spliced and all(last[name] == full for name, full in FULL_STRENGTH.items() if name in last)


def summary(rows: Sequence[Row]) -> str:
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


@dataclass(frozen=True)
class Part:
    """One split, or all of them, and the recordings that its clips are made of."""

    name: str
    clips: int
    hours: float
    speakers: int
    unlabelled: int
    """Least number of speakers whose recordings are not distinguished; 0 if all are"""
    sentences: int
    """Distinct speech recordings"""
    speech_minutes: float
    """Of distinct speech: stretches that several clips share count once"""
    languages: tuple[str, ...]
    """Empty if recordings.csv is missing or names none"""
    noises: int
    noise_minutes: float | None
    """Of the distinct noise recordings, in whole; None if recordings.csv is missing"""
    clips_per_sentence: int
    clips_per_noise: int
    """The most clips that share one recording"""


@dataclass(frozen=True)
class Interval:
    """Clips whose label is from `low` up to `high`."""

    low: float
    high: float
    clips: int
    share: float
    hole: bool


@dataclass(frozen=True)
class Degradation:
    """One kind of step."""

    name: str
    clips: int
    share: float
    means: tuple[float, ...]
    """S-, N- and G-MOS of the clips that have it"""


@dataclass(frozen=True)
class Description:
    """Description of a corpus."""

    parts: tuple[Part, ...]
    """Splits, and the whole last"""
    spread: Mapping[str, tuple[Interval, ...]]
    """Intervals by column: S-, N-, G-MOS, PESQ, STOI, and log10 of SDI"""
    steps: tuple[Degradation, ...]
    """The most frequent first"""
    correlation: NDArray[np.float64]
    """Pearson's, six by six in the order of TARGETS; NaN where a label is constant"""


def read_recordings(corpus: Path) -> Recordings:
    """Return the rows of recordings.csv by file; empty if the corpus has none."""
    table = (corpus if corpus.is_dir() else corpus.parent) / RECORDINGS
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def describe(rows: Sequence[Row], recordings: Recordings | None = None) -> Description:
    """Count the contents of these clips. Raises CorpusError if there are no clips or the table is not of a corpus."""
    if not rows:
        raise CorpusError("there are no clips to describe: relax the conditions, or build the corpus")
    needed = ("split", "speaker", "seconds", "recipe", *(target.label for target in TARGETS))
    if missing := [name for name in needed if name not in rows[0]]:
        raise CorpusError(f"the table has no column {missing[0]}: only a corpus that was built can be described")
    found = {row["split"] for row in rows}
    names = [*(split for split in SPLITS if split in found), *sorted(found - set(SPLITS))]
    parts = {name: [row for row in rows if row["split"] == name] for name in names} | {"all": rows}
    values = {target.label: label_values(rows, target) for target in TARGETS}
    labels = np.stack(list(values.values()))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.array(
            np.corrcoef(labels) if len(rows) > 1 else np.full((len(labels), len(labels)), np.nan)
        )
    constant = np.ptp(labels, axis=1) == 0
    correlation[constant] = correlation[:, constant] = np.nan
    return Description(
        tuple(count_part(name, part, recordings or {}) for name, part in parts.items()),
        {target.label: _intervals(values[target.label], target) for target in TARGETS},
        _degradations(rows, np.stack([values[target.label] for target in QUEST], axis=1)),
        correlation,
    )


def label_values(rows: Sequence[Row], target: Target) -> NDArray[np.float64]:
    """(clips,) of a label, clipped to its range; log10 of SDI."""
    return target.compress(np.array([float(row[target.label]) for row in rows]))


def short(target: Target) -> str:
    """A measured label's name: PESQ, and not PESQ (estimate)."""
    return f"log10 {target.short_name}" if target.log else target.short_name


def count_part(name: str, rows: Sequence[Row], recordings: Recordings) -> Part:
    """Count what these clips are made of, from their recipes."""
    speech: dict[str, list[tuple[int, int]]] = defaultdict(list)
    noise: Counter[str] = Counter()
    for row in rows:
        recipe = json.loads(row["recipe"])
        speech[recipe["speech"]].append((recipe["start"], recipe["start"] + recipe["samples"]))
        noise.update({step["file"] for step in flat(recipe["steps"]) if step["step"] in NOISE_STEPS})
    used = [recordings[file] for file in speech if file in recordings]
    people = {row["group"]: int(row["speakers"]) for row in used if int(row["speakers"]) > 1}
    minutes = sum(float(recordings[file]["seconds"]) for file in noise if file in recordings) / 60
    return Part(
        name,
        len(rows),
        sum(float(row["seconds"]) for row in rows) / 3600,
        speakers=len({row["speaker"] for row in rows}),
        unlabelled=sum(people.values()),
        sentences=len(speech),
        speech_minutes=sum(map(_covered, speech.values())) / SAMPLE_RATE / 60,
        languages=tuple(sorted({row["language"].split("-")[0] for row in used if row["language"]})),
        noises=len(noise),
        noise_minutes=minutes if recordings else None,
        clips_per_sentence=max(map(len, speech.values()), default=0),
        clips_per_noise=max(noise.values(), default=0),
    )


def _covered(stretches: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of stretches."""
    total, end = 0, 0
    for start, stop in sorted(stretches):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def _intervals(values: NDArray[np.float64], target: Target) -> tuple[Interval, ...]:
    edges = EDGES[target.label]
    counts, _ = np.histogram(values, edges)
    return tuple(
        Interval(low, high, int(count), count / len(values), target in QUEST and count < HOLE_SHARE * len(values))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    )


def _degradations(rows: Sequence[Row], quest: NDArray[np.float64]) -> tuple[Degradation, ...]:
    clips: dict[str, list[int]] = defaultdict(list)
    for clip, row in enumerate(rows):
        for name in {step["step"] for step in flat(json.loads(row["recipe"])["steps"])}:
            clips[name].append(clip)
    made = [
        Degradation(name, len(found), len(found) / len(rows), tuple(quest[found].mean(axis=0).tolist()))
        for name, found in clips.items()
    ]
    return tuple(sorted(made, key=lambda step: (-step.clips, step.name)))


def tables(description: Description) -> list[Table]:
    """For a terminal: splits, recordings, labels with their holes, correlation, steps."""
    parts = _table("Clips", "split", "clips", "hours", "speakers")
    heads = ("split", "speech min", "sentences", "speakers", "languages", "noise min", "noises", "clips/sentence")
    use = _table("Unique recordings; most clips of one of them", *heads, "clips/noise")
    for part in description.parts:
        parts.add_row(part.name, str(part.clips), f"{part.hours:.2f}", str(part.speakers))
        speakers = f"{part.speakers}" + (f" + {part.unlabelled} unlabelled" if part.unlabelled else "")
        noise = "?" if part.noise_minutes is None else f"{part.noise_minutes:.1f}"
        languages = str(len(part.languages) or "?")
        counts = map(str, (part.noises, part.clips_per_sentence, part.clips_per_noise))
        use.add_row(
            part.name, f"{part.speech_minutes:.1f}", str(part.sentences), speakers, languages, noise, *counts
        )
    spreads = [_spread_table(target, description.spread[target.label]) for target in TARGETS]
    labels = Table.grid(padding=(0, 3, 1, 0))
    labels.add_row(*spreads[:3])
    labels.add_row(*spreads[3:])
    names = [short(target) for target in TARGETS]
    correlation = _table("Correlation of labels (Pearson)", "", *names)
    for name, line in zip(names, description.correlation, strict=True):
        correlation.add_row(name, *("-" if np.isnan(value) else f"{value:.2f}" for value in line))
    steps = _table("Steps: clips that have it, and mean labels", "step", "clips", "share", *map(short, QUEST))
    steps.add_column("", width=2 * BAR, no_wrap=True)
    longest = max((step.share for step in description.steps), default=1.0)
    for step in description.steps:
        means = (f"{mean:.2f}" for mean in step.means)
        drawn = Bar(longest, 0, step.share, width=2 * BAR, color="cyan")
        steps.add_row(step.name, str(step.clips), f"{step.share:.1%}", *means, drawn)
    return [parts, use, labels, correlation, steps]


def _spread_table(target: Target, intervals: Sequence[Interval]) -> Table:
    table = Table(box=None, pad_edge=False, title=short(target), title_style="bold", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=BAR, no_wrap=True)
    longest = max(interval.share for interval in intervals)
    for interval in intervals:
        drawn = Bar(longest, 0, interval.share, width=BAR, color="red" if interval.hole else "cyan")
        name = f"{interval.low:g} to {interval.high:g}" + (" hole" if interval.hole else "")
        table.add_row(name, f"{interval.share:.1%}", drawn, style="bold red" if interval.hole else "")
    return table


def _table(title: str, first: str, *heads: str) -> Table:
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
