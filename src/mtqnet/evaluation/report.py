"""An HTML page about a set of recordings: distributions, the worst ones with players, flags, groups.

One HTML file that contains its audio and needs no network. The layout is in report.html.j2; this module collects
the content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet import __version__
from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import AudioError, UsageError, missing_extra
from mtqnet.evaluation import statistics
from mtqnet.evaluation.plots import worst_stretch
from mtqnet.evaluation.recordings import Recordings, Row, values
from mtqnet.scoring.scores import digits
from mtqnet.targets import BY_KEY, KEYS, Target

TEMPLATE = "report.html.j2"
WORST = 5
"""Recordings with a player"""
BINS = 24
"""Bins of a histogram"""
PLAYED_S = 20.0
"""Seconds of a recording in its player; for a longer recording, starting shortly before its worst stretch"""
LEAD_S = 3.0
"""Seconds before the worst stretch"""
MOST_ROWS = 2000
"""Recordings in the table of all; the worst ones of more"""

Block = dict[str, Any]
"""A part of the page: names in the template -> content"""


def check_sort(sort: str) -> None:
    """Raise UsageError if a report cannot be sorted by this score."""
    if sort not in KEYS:
        raise UsageError(f"--sort {sort}: no score is called so; use one of {', '.join(KEYS)}")


def write(
    recordings: Recordings, out: Path, by: str = "", groups: Mapping[str, Sequence[Row]] | None = None,
    sort: str = "g_mos",
) -> None:  # fmt: skip
    """Write the page.

    Args:
        recordings: The recordings.
        out: HTML file.
        by: Name of the grouping column.
        groups: Recordings by group.
        sort: Key of the target that decides which recordings are worst.

    Raises:
        UsageError: No recording has a score, or there is no such score.
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("a report", "analysis") from error
    shelf = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=shelf, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    html = environment.get_template(TEMPLATE).render(page=content(recordings, by, groups or {}, sort))
    out.write_text(html, encoding="utf-8")


def content(recordings: Recordings, by: str, groups: Mapping[str, Sequence[Row]], sort: str) -> Block:
    """What the page shows. Raises UsageError where no recording has a score."""
    rows = recordings.scored
    if not rows:
        raise UsageError(
            f"no recording of {recordings.name} has a score: the report would be empty; "
            "`mtqnet score` shows the reasons"
        )
    check_sort(sort)
    keys = recordings.keys
    if sort not in keys:
        raise UsageError(f"{recordings.name} does not have {sort} for every recording: sort by {', '.join(keys)}")
    targets = [BY_KEY[key] for key in keys]
    height = values(rows, sort) * (1 if BY_KEY[sort].higher_is_better else -1)
    ordered = [rows[place] for place in np.argsort(height, kind="stable")]
    return {
        "title": recordings.name,
        "recordings": len(recordings.rows),
        "minutes": sum(row.scores.duration_s or 0.0 for row in rows) / 60,
        "model": ", ".join(sorted({row.scores.model for row in rows if row.scores.model})),
        "version": __version__,
        "headings": [target.short_name for target in targets],
        "sorted_by": BY_KEY[sort].short_name,
        "spreads": [_spread(target, rows) for target in targets],
        "worst": [_line(recordings, row, targets) | _player(row) for row in ordered[:WORST]],
        "flags": Counter(flag for row in rows for flag in row.scores.flags).most_common(),
        "by": by,
        "groups": [
            {"name": name, "count": len(members), "cells": [_mean(target, members) for target in targets]}
            for name, members in groups.items()
        ],
        "unscored": recordings.unscored,
        "lines": [_line(recordings, row, targets) for row in ordered[:MOST_ROWS]],
        "left_out": max(0, len(ordered) - MOST_ROWS),
    }


def _spread(target: Target, rows: Sequence[Row]) -> Block:
    """How one target is distributed; bars are in percent of the highest, from the low end of the range on."""
    numbers = values(rows, target.key)
    low, high = _ends(target)
    counts, _ = np.histogram(np.clip(numbers, low, high), BINS, (low, high))
    ends = (numbers.min(), numbers.max()) if target.higher_is_better else (numbers.max(), numbers.min())
    shown = {"median": np.median(numbers), "worst": ends[0], "best": ends[1], "low": low, "high": high}
    return {
        "name": target.short_name,
        "says": target.says,
        "unit": target.unit if target.unit != "1" else "",
        "mean": _mean(target, rows)["text"],
        "bars": (100 * counts / counts.max()).round(1).tolist(),
        **{name: _text(target, float(number)) for name, number in shown.items()},
    }


def _mean(target: Target, rows: Sequence[Row]) -> Block:
    """Mean of a target with its interval."""
    estimate = statistics.mean(values(rows, target.key))
    text = _text(target, estimate.value)
    if not np.isnan(estimate.low):
        text += f" [{_text(target, estimate.low)}, {_text(target, estimate.high)}]"
    return {"text": text, "percent": _percent(target, estimate.value)}


def _line(recordings: Recordings, row: Row, targets: Sequence[Target]) -> Block:
    """A recording."""
    numbers = [(target, float(values([row], target.key)[0])) for target in targets]
    duration = row.scores.duration_s
    return {
        "name": recordings.short(row),
        "seconds": "" if duration is None else f"{duration:.1f} s",
        "flags": " ".join(row.scores.flags),
        "cells": [{"text": _text(target, n), "percent": _percent(target, n)} for target, n in numbers],
    }


def _player(row: Row) -> Block:
    """Sound as a data: URI, and which part it is or why there is none."""
    try:
        samples = reading.read(row.scores.file or "", row.scores.channel).samples
    except AudioError as error:
        return {"sound": "", "note": f"cannot be played: {error}"}
    length = round(PLAYED_S * SAMPLE_RATE)
    if len(samples) <= length:
        return {"sound": reading.playable(samples), "note": ""}
    stretch = worst_stretch(row.scores.track, row.scores.duration_s) if row.scores.track is not None else None
    start_s = max(0.0, stretch.start_s - LEAD_S) if stretch is not None else 0.0
    start = min(round(start_s * SAMPLE_RATE), len(samples) - length)
    note = f"{PLAYED_S:g} s from {start / SAMPLE_RATE:.1f} s on"
    return {"sound": reading.playable(samples[start : start + length]), "note": note}


def _ends(target: Target) -> tuple[float, float]:
    """Of the range, log10 where the target is a ratio."""
    low, high = target.compress(np.array([target.low, target.high]))
    return float(low), float(high)


def _percent(target: Target, number: float) -> float:
    """Of the way from the worst value of the range to the best."""
    low, high = _ends(target)
    share = (min(max(number, low), high) - low) / (high - low)
    return round(100 * (share if target.higher_is_better else 1 - share), 1)


def _text(target: Target, number: float) -> str:
    """A value as `recordings.values` gives it, in the target's own unit."""
    return digits(target, 10**number if target.log else number)
