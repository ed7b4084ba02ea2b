"""An HTML page about a set of recordings: distributions, the worst ones with players, flags, groups.

One HTML file that contains its audio and needs no network. The layout is in report.html.j2; this module collects
the content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtqnet import __version__
from mtqnet.audio import reading
from mtqnet.audio.reading import playable
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import AudioError, UsageError, missing_extra
from mtqnet.evaluation import statistics
from mtqnet.evaluation.plots import worst_stretch
from mtqnet.evaluation.recordings import Recordings, Row, values
from mtqnet.evaluation.statistics import Estimate
from mtqnet.scoring.scores import digits
from mtqnet.targets import BY_KEY, KEYS, Target

TEMPLATE = "report.html.j2"
BINS = 24
"""Bins of a histogram"""
PLAYED_S = 20.0
"""Seconds of a recording in its player; for a longer recording, starting shortly before its worst stretch"""
LEAD_S = 3.0
"""Seconds before the worst stretch"""
MOST_ROWS = 2000
"""Recordings in the table of all; the worst ones of more"""


@dataclass(frozen=True)
class Cell:
    """A score for the page."""

    text: str
    percent: float
    """Of the way from the worst value to the best"""


@dataclass(frozen=True)
class Spread:
    """How one target is distributed."""

    name: str
    says: str
    unit: str
    mean: str
    interval: str
    median: str
    worst: str
    best: str
    low: str
    high: str
    """Ends of the range"""
    bars: tuple[float, ...]
    """Percent of the highest bar, from the low end of the range to the high one"""


@dataclass(frozen=True)
class Line:
    """A recording."""

    name: str
    seconds: str
    flags: str
    cells: tuple[Cell, ...]
    """One a target"""
    sound: str
    """A data: URI; empty for no player"""
    note: str
    """Excerpt in the player, or why there is no player"""


@dataclass(frozen=True)
class Group:
    """Recordings of one kind."""

    name: str
    count: int
    cells: tuple[Cell, ...]
    """Mean and interval of each target"""


@dataclass(frozen=True)
class Page:
    """All that the page shows."""

    title: str
    recordings: int
    minutes: float
    model: str
    version: str
    headings: tuple[str, ...]
    """Names of the targets"""
    sorted_by: str
    spreads: tuple[Spread, ...]
    worst: tuple[Line, ...]
    flags: tuple[tuple[str, int], ...]
    by: str
    groups: tuple[Group, ...]
    unscored: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    left_out: int
    """Recordings that the table of all has no room for"""


@dataclass(frozen=True)
class Wanted:
    """What a report should show."""

    by: str
    """Grouping column, or empty"""
    groups: Mapping[str, Sequence[Row]]
    sort: str
    """Key of the target that says which recording is worst"""
    worst: int
    """Recordings shown with a player"""


def write(recordings: Recordings, wanted: Wanted, out: Path) -> None:
    """Write the page. Raises UsageError if no recording has a score, MissingExtraError without jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("a report", "analysis") from error
    shelf = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=shelf, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    html = environment.get_template(TEMPLATE).render(page=gather(recordings, wanted))
    out.write_text(html, encoding="utf-8")


def gather(recordings: Recordings, wanted: Wanted) -> Page:
    """What the page shows. Raises UsageError where no recording has a score."""
    rows = recordings.scored
    if not rows:
        raise UsageError(f"no recording of {recordings.name} has a score: the report would be empty")
    keys = recordings.keys
    if wanted.sort not in KEYS:
        raise UsageError(f"--sort {wanted.sort}: no such score; expected one of {', '.join(keys)}")
    if wanted.sort not in keys:
        raise UsageError(
            f"{recordings.name} does not have {wanted.sort} for every recording: sort by {', '.join(keys)}"
        )
    targets = [BY_KEY[key] for key in keys]
    height = values(rows, wanted.sort) * (1 if BY_KEY[wanted.sort].higher_is_better else -1)
    ordered = [rows[place] for place in np.argsort(height, kind="stable")]
    flags = Counter(flag for row in rows for flag in row.scores.flags)
    return Page(
        title=recordings.name,
        recordings=len(recordings.rows),
        minutes=sum(row.scores.duration_s or 0.0 for row in rows) / 60,
        model=", ".join(sorted({row.scores.model for row in rows if row.scores.model})),
        version=__version__,
        headings=tuple(target.short_name for target in targets),
        sorted_by=BY_KEY[wanted.sort].short_name,
        spreads=tuple(_spread(target, rows) for target in targets),
        worst=tuple(_line(recordings, row, targets, True) for row in ordered[: wanted.worst]),
        flags=tuple(flags.most_common()),
        by=wanted.by,
        groups=tuple(_group(name, members, targets) for name, members in wanted.groups.items()),
        unscored=recordings.unscored,
        lines=tuple(_line(recordings, row, targets, False) for row in ordered[:MOST_ROWS]),
        left_out=max(0, len(ordered) - MOST_ROWS),
    )


def _spread(target: Target, rows: Sequence[Row]) -> Spread:
    numbers = values(rows, target.key)
    low, high = _ends(target)
    counts, _ = np.histogram(np.clip(numbers, low, high), BINS, (low, high))
    ends = (numbers.min(), numbers.max()) if target.higher_is_better else (numbers.max(), numbers.min())
    estimate = statistics.mean(numbers)
    return Spread(
        name=target.short_name,
        says=target.says,
        unit=target.unit if target.unit != "1" else "",
        mean=_text(target, estimate.value),
        interval=_interval(target, estimate),
        median=_text(target, float(np.median(numbers))),
        worst=_text(target, float(ends[0])),
        best=_text(target, float(ends[1])),
        low=_text(target, low),
        high=_text(target, high),
        bars=tuple((100 * counts / counts.max()).round(1).tolist()),
    )


def _group(name: str, members: Sequence[Row], targets: Sequence[Target]) -> Group:
    cells = []
    for target in targets:
        estimate = statistics.mean(values(members, target.key))
        text = f"{_text(target, estimate.value)} {_interval(target, estimate)}".strip()
        cells.append(Cell(text, _percent(target, estimate.value)))
    return Group(name, len(members), tuple(cells))


def _line(recordings: Recordings, row: Row, targets: Sequence[Target], with_sound: bool) -> Line:
    numbers = [(target, float(values([row], target.key)[0])) for target in targets]
    cells = tuple(Cell(_text(target, number), _percent(target, number)) for target, number in numbers)
    sound, note = _sound(row) if with_sound else ("", "")
    duration = row.scores.duration_s
    seconds = "" if duration is None else f"{duration:.1f} s"
    return Line(recordings.short(row), seconds, " ".join(row.scores.flags), cells, sound, note)


def _sound(row: Row) -> tuple[str, str]:
    """A player's content, and what it is."""
    try:
        samples = reading.read(row.scores.file or "", row.scores.channel).samples
    except AudioError as error:
        return "", f"cannot be played: {error}"
    length = round(PLAYED_S * SAMPLE_RATE)
    if len(samples) <= length:
        return playable(samples), ""
    stretch = worst_stretch(row.scores.track, row.scores.duration_s) if row.scores.track is not None else None
    start_s = max(0.0, stretch.start_s - LEAD_S) if stretch is not None else 0.0
    start = min(round(start_s * SAMPLE_RATE), len(samples) - length)
    return playable(samples[start : start + length]), f"{PLAYED_S:g} s from {start / SAMPLE_RATE:.1f} s on"


def _ends(target: Target) -> tuple[float, float]:
    """Of the range, log10 where the target is a ratio."""
    low, high = target.compress(np.array([target.low, target.high]))
    return float(low), float(high)


def _percent(target: Target, number: float) -> float:
    low, high = _ends(target)
    share = (min(max(number, low), high) - low) / (high - low)
    return round(100 * (share if target.higher_is_better else 1 - share), 1)


def _text(target: Target, number: float) -> str:
    """A value as `recordings.values` gives it, in the target's own unit."""
    return digits(target, 10**number if target.log else number)


def _interval(target: Target, estimate: Estimate) -> str:
    if np.isnan(estimate.low):
        return ""
    return f"[{_text(target, estimate.low)}, {_text(target, estimate.high)}]"
