"""Pictures: a recording with its scores over time, scores against ratings, and differences between sets.

All are drawn with matplotlib (extra `analysis`), without a display; the same figure gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import missing_extra
from mtqnet.scoring.scores import Scores, Track, spoken
from mtqnet.scoring.tables import check_output
from mtqnet.targets import BY_KEY, G_MOS, KEYS, PESQ, QUEST, S_MOS, SDI, STOI, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mtqnet.evaluation.compare import Compared, Comparison
    from mtqnet.evaluation.evaluate import Agreement, Evaluation

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
"""Okabe and Ito's colours, which colour-blind people can distinguish (jfly.uni-koeln.de/color, 2008)."""
INK, SOFT, RULE = "#1b1f24", "#57606a", "#d5dae0"
SUFFIXES = (".png", ".svg")
DPI = 110
"""Resolution of PNG files"""
SIZE_INCH = (12.0, 9.0)
COLUMNS = 2000
"""Columns of waveform, spectrogram and lines: more than the picture has pixels"""
WINDOW = 512
"""Samples, 32 ms: pitch and formants are both visible"""
SHORTEST_HOP = 64
"""Samples"""
RANGE_DB = 75.0
"""Below the loudest point; less is drawn as silence"""
MARGIN = 0.05
"""Fraction of the time axis after the end of the recording, for the intervals"""
SHORTEST_S = 2.5
"""Shortest recording whose worst stretch is marked"""
SHORTEST_STRETCH_S = 0.6
LONGEST_SHARE = 0.7
"""Longest worst stretch, as a fraction of the recording: the rest is what it is compared with"""
LENGTH_POWER = 0.6
"""0.5 would choose the stretch whose mean differs most significantly from the rest; more prefers longer stretches"""
CAUSE_WEIGHT = 0.2
"""MOS per unit of the sum of the log odds of the causes, with which a frame counts as worse"""
LEAST_ODDS = 1e-3
"""Probabilities of causes are limited to this and to 1 minus this"""
MOST_FRAMES = 600
"""More frames are averaged in groups before the worst stretch is looked for"""
STANDS_OUT, STANDS_OUT_WITH_CAUSES = 0.2, 1.0
"""MOS by which the worst stretch must be below the rest to be marked, without and with the causes"""

SHADE = "#D55E00"
SCATTER_INCH = 4.2
HEAD_INCH = 1.0
"""Height of the title above the panels"""
FREE = 0.03
"""Fraction of a range that is empty at its ends"""
PANEL_INCH = 2.5
LINE_INCH = 0.34
HALVES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Half of the axis of differences, in MOS; as on the page (serving/page/comparison.js)"""
MORE, LESS, SAME = COLOURS[2], COLOURS[5], COLOURS[6]
"""Better, worse, no difference found"""

Array = NDArray[np.float64]


def check(path: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Raise UsageError for a path that no picture must be written to; `inputs` are files that the command reads."""
    check_output(path, SUFFIXES, inputs)


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches. Raises MissingExtraError without matplotlib."""
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("drawing", "analysis") from error
    matplotlib.rcParams["svg.hashsalt"] = "mtqnet"  # the same picture is the same file
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Figure, path: Path) -> None:
    """Write .png or .svg; the same figure gives the same bytes."""
    check(path)
    if path.suffix.lower() == ".svg":
        made.savefig(path, metadata={"Date": None})
    else:
        made.savefig(path, dpi=DPI)


@dataclass(frozen=True)
class Stretch:
    """Where a recording is worst, in seconds from its beginning."""

    start_s: float
    stop_s: float
    value: float
    """Mean score in it"""


def draw_recording(samples: Samples, scores: Scores, path: Path) -> None:
    """Write the picture of (samples,) at 16 kHz and their scores; .png or .svg.

    Raises UsageError for another suffix, MissingExtraError without matplotlib.
    """
    check(path)
    drawn = figure(*SIZE_INCH)
    wave, spectrum, mos, ratio = drawn.subplots(4, 1, sharex=True, height_ratios=(1, 2.2, 2.2, 1.4))
    _wave(wave, samples)
    _spectrum(spectrum, samples)
    _lines(mos, scores, (*QUEST, PESQ))
    mos.set(ylim=(0.9, 5.1), ylabel="MOS")
    _lines(ratio, scores, (STOI,))
    ratio.set(ylim=(-0.03, 1.03), ylabel="STOI")
    other = ratio.twinx()
    _lines(other, scores, (SDI,))
    other.set_yscale("log")
    other.set(ylim=(SDI.low, SDI.high), ylabel="SDI (less is better)")
    for axes, parts in ((mos, (mos,)), (ratio, (ratio, other))):
        axes.grid(linewidth=0.4, alpha=0.5)
        lines = [line for part in parts for line in part.get_lines()]
        axes.legend(
            handles=lines, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1, ncols=4, fontsize=9,
            frameon=False,
        )  # fmt: skip
    worst = worst_stretch(scores.track, scores.duration_s) if scores.track is not None else None
    if worst is not None:
        for axes in (wave, mos, ratio):
            axes.axvspan(worst.start_s, worst.stop_s, color=SHADE, alpha=0.16, linewidth=0)
        for edge in (worst.start_s, worst.stop_s):  # a shade would hide what is to be seen
            spectrum.axvline(edge, color="white", linewidth=1.2, linestyle="--")
        wave.set_title(
            f"worst: {worst.start_s:.1f} to {worst.stop_s:.1f} s, {spoken(G_MOS, worst.value)}",
            fontsize=9, color=SHADE, loc="right",
        )  # fmt: skip
    flags = f"   flags: {', '.join(scores.flags)}" if scores.flags else ""
    wave.set_title(f"{Path(scores.file or 'recording').name}{flags}", fontsize=11, loc="left")
    if scores.cause:
        drawn.supxlabel(scores.cause, fontsize=9.5, x=0.01, ha="left")
    seconds = len(samples) / SAMPLE_RATE
    for axes, targets in ((mos, (*QUEST, PESQ)), (ratio, (STOI,)), (other, (SDI,))):
        _intervals(axes, scores, targets, seconds)
    ratio.set(xlabel="seconds", xlim=(0, seconds * (1 + MARGIN if scores.intervals else 1)))
    save(drawn, path)


def worst_stretch(track: Track, duration_s: float | None = None) -> Stretch | None:
    """Find where a recording is worst, by G-MOS and causes over time.

    It is the stretch whose mean differs most from that of the rest, weighted by (n m / (n + m)) ** LENGTH_POWER for n
    frames inside and m outside. The parameters were chosen on clips of validation speakers with one degraded part
    (docs/results/localisation.md).

    Args:
        track: Scores over time.
        duration_s: Duration of the recording in seconds; the last frame may reach beyond it.

    Returns:
        The stretch, with its mean G-MOS. None if no stretch is clearly worse than the rest (STANDS_OUT), if the track
        has no G-MOS, or if the recording is shorter than SHORTEST_S.
    """
    if G_MOS.key not in track.targets or len(track.times_s) < 2:
        return None
    frame_s = float(np.median(np.diff(track.times_s)))
    g = track.values[:, track.targets.index(G_MOS.key)]
    if len(g) * frame_s < SHORTEST_S:
        return None
    good, least = g, STANDS_OUT
    if track.causes is not None:
        p = np.clip(track.causes, LEAST_ODDS, 1 - LEAST_ODDS)
        good, least = g - CAUSE_WEIGHT * np.log(p / (1 - p)).sum(axis=1), STANDS_OUT_WITH_CAUSES
    starts = np.arange(0, len(g), -(-len(g) // MOST_FRAMES))
    ends = np.append(starts[1:], len(g))
    sums = np.append(0.0, np.cumsum(good))[np.append(starts, len(g))]
    seconds = frame_s * (starts[1] - starts[0])
    most, first, last = -np.inf, 0, 0
    for length in range(max(1, int(SHORTEST_STRETCH_S / seconds)), int(LONGEST_SHARE * len(starts)) + 1):
        inside = sums[length:] - sums[:-length]
        n = ends[length - 1 :] - starts[: len(starts) - length + 1]
        m = len(g) - n
        contrast = ((sums[-1] - inside) / m - inside / n) * (n * m / len(g)) ** LENGTH_POWER
        place = int(contrast.argmax())
        if contrast[place] > most:
            most, first, last = float(contrast[place]), int(starts[place]), int(ends[place + length - 1])
    if np.append(good[:first], good[last:]).mean() - good[first:last].mean() < least:
        return None
    start, stop = track.times_s[first] - frame_s / 2, track.times_s[last - 1] + frame_s / 2
    stop = float(stop) if duration_s is None else min(float(stop), duration_s)
    return Stretch(max(0.0, float(start)), stop, float(g[first:last].mean()))


def _wave(axes: Axes, samples: Samples) -> None:
    """Lowest and highest sample of each column."""
    edges = np.linspace(0, len(samples), min(COLUMNS, len(samples)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    axes.fill_between(edges / SAMPLE_RATE, low, high, color=COLOURS[0], linewidth=0.3, step="mid")
    top = max(1e-4, float(np.abs(samples).max())) * 1.05
    axes.set(ylim=(-top, top), ylabel="samples")
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)


def _spectrum(axes: Axes, samples: Samples) -> None:
    """Power of windows in dB below the loudest; of a long recording, as many as there are columns."""
    hop = max(SHORTEST_HOP, len(samples) // COLUMNS)
    padded = np.pad(samples, (WINDOW // 2, WINDOW // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::hop]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW))) ** 2
    level = 10 * np.log10(np.maximum(power, 1e-12)).T
    extent = (0.0, len(windows) * hop / SAMPLE_RATE, 0.0, SAMPLE_RATE / 2000)
    top = float(level.max())
    axes.imshow(
        level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - RANGE_DB, vmax=top,
        interpolation="nearest",
    )  # fmt: skip
    axes.set(ylabel="kHz")


def _lines(axes: Axes, scores: Scores, targets: tuple[Target, ...]) -> None:
    """A line over time for each target the model has; the score itself where there is no track."""
    track = scores.track
    for target in targets:
        value = scores.value(target.key)
        if value is None:
            continue
        style = {"color": _colour(target), "label": spoken(target, value), "linewidth": 1.6}
        if track is not None and target.key in track.targets:
            drawn = thinned(track)
            axes.plot(drawn.times_s, drawn.values[:, drawn.targets.index(target.key)], **style)  # type: ignore[arg-type]
        else:
            axes.axhline(value, **style)  # type: ignore[arg-type]


def _intervals(axes: Axes, scores: Scores, targets: tuple[Target, ...], seconds: float) -> None:
    """Behind the end: each score of the whole recording with its interval."""
    places = {key: seconds * (1 + MARGIN * (0.2 + 0.2 * (number % 4))) for number, key in enumerate(BY_KEY)}
    for target in targets:
        value, interval = scores.value(target.key), scores.intervals.get(target.key)
        if value is None or interval is None:
            continue
        place, colour = places[target.key], _colour(target)
        axes.vlines(place, interval.low, interval.high, color=colour, linewidth=2, alpha=0.7)
        axes.scatter([place], [value], color=colour, s=14, zorder=3)


def _colour(target: Target) -> str:
    return COLOURS[list(BY_KEY).index(target.key)]


def thinned(track: Track) -> Track:
    """Means over neighbours, so that at most COLUMNS points are left."""
    each = -(-len(track.times_s) // COLUMNS)
    edges = np.arange(0, len(track.times_s), each)
    counts = np.diff(np.append(edges, len(track.times_s)))
    times, values = np.add.reduceat(track.times_s, edges), np.add.reduceat(track.values, edges, axis=0)
    causes = None if track.causes is None else np.add.reduceat(track.causes, edges, axis=0) / counts[:, None]
    return Track(times / counts, values / counts[:, None], track.targets, causes, track.cause_keys)


def draw_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the picture; .png or .svg. Raises UsageError for another suffix, MissingExtraError."""
    from mtqnet.evaluation.evaluate import PER_FILE

    shown = [one for one in evaluation.agreements if one.level == PER_FILE]
    drawn = figure(SCATTER_INCH * len(shown), SCATTER_INCH + HEAD_INCH)
    for number, (axes, one) in enumerate(zip(drawn.subplots(1, len(shown), squeeze=False)[0], shown, strict=True)):
        grouped = [other for other in evaluation.agreements if other.target == one.target and other is not one]
        _panel(axes, one, grouped, COLOURS[number % len(COLOURS)])
    drawn.suptitle(Path(evaluation.labels).parent.name or Path(evaluation.labels).name, fontsize=11)
    save(drawn, path)


def _panel(axes: Axes, one: Agreement, grouped: list[Agreement], colour: str) -> None:
    target = BY_KEY[one.target]
    pairs = one.pairs
    if one.same_scale:
        ends = target.compress(np.array([target.low, target.high]))
        axes.plot(ends, ends, color=RULE, linewidth=1, zorder=0)
        axes.set(xlim=_span(*ends), ylim=_span(*ends))
        axes.set_aspect("equal")
        if target.unit == "MOS":
            axes.set_xticks(range(1, 6))
            axes.set_yticks(range(1, 6))
    half = np.nan_to_num(pairs.half)
    axes.errorbar(
        pairs.rating, pairs.score, xerr=half, fmt="o", color=colour, markersize=3.5, alpha=0.55, elinewidth=0.5,
        label=f"{len(pairs.names)} recordings", markeredgewidth=0,
    )  # fmt: skip
    for other in grouped:
        axes.plot(
            other.pairs.rating, other.pairs.score, "o", markersize=8, markerfacecolor="none",
            markeredgecolor=INK, markeredgewidth=1.1, label=f"{len(other.pairs.names)} by {other.level}",
        )  # fmt: skip
    if (mapped := one.mapping) is not None:
        scores = np.linspace(mapped.low, mapped.high, 200)
        axes.plot(mapped(scores), scores, color=SOFT, linestyle="--", linewidth=1.2, label="mapping")
    told = f"LCC {one.figures['lcc'].value:.2f}   SRCC {one.figures['srcc'].value:.2f}"
    if one.same_scale:
        told += f"   RMSE {one.figures['rmse'].value:.2f}"
    axes.set_title(f"{target.name}\n{told}", fontsize=9.5)
    log = "log10 of " if target.log else ""
    axes.set(xlabel=f"{log}rating ({one.column})", ylabel=f"{log}score")
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=8, loc="best", framealpha=0.85)


def _span(low: float, high: float) -> tuple[float, float]:
    free = FREE * (high - low)
    return low - free, high + free


def draw_comparison(compared: Compared, path: Path) -> None:
    """Write the picture; .png or .svg. Raises UsageError for another suffix, MissingExtraError."""
    keys = [key for key in KEYS if any(one.target == key for one in compared.comparisons)]
    lines = list(dict.fromkeys(_label(one, compared) for one in compared.comparisons))
    drawn = figure(PANEL_INCH * len(keys) + 1.6, LINE_INCH * len(lines) + 1.9)
    panels = drawn.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    half = _half_axis(compared.comparisons)
    for axes, key in zip(panels, keys, strict=True):
        target = BY_KEY[key]
        axes.set_xlim(-half * _in_mos(target), half * _in_mos(target))
        axes.axvline(0, color=SOFT, linewidth=1)
        for one in (one for one in compared.comparisons if one.target == key):
            height, difference = lines.index(_label(one, compared)), one.difference
            axes.plot([difference.low, difference.high], [height, height], color=_shade(one), linewidth=2.2)
            face = _shade(one) if difference.enough else "white"
            axes.plot(difference.value, height, "o", color=_shade(one), markersize=6, markerfacecolor=face)
        axes.set_yticks(range(len(lines)), lines, fontsize=9)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_title(target.name, fontsize=9.5)
        unit = "log10" if target.log else target.unit.replace("1", "")
        better = "" if target.higher_is_better else "less is better"
        axes.set_xlabel(", ".join(word for word in (unit, better) if word), fontsize=8.5)
        axes.tick_params(axis="x", labelsize=8)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    how = "pairs" if compared.paired else "unpaired"
    last, first = compared.comparisons[0].second, compared.comparisons[0].first
    subject = f"{last} less {first}" if len(compared.names) == 2 else "second less first"
    drawn.suptitle(
        f"{subject}, {how}, 95 % intervals; green: the second is better, orange: worse, grey: no difference found, "
        "hollow: too few recordings\nthe same axis for all scores on a MOS scale; STOI and SDI: the same fraction of "
        "their range",
        fontsize=9.5,
    )
    save(drawn, path)


def _in_mos(target: Target) -> float:
    """Difference on this target (log10 of a ratio) that is the same fraction of its range as one MOS of 1 to 5."""
    if target.unit.startswith("MOS"):
        return 1.0
    low, high = target.compress(np.array([target.low, target.high]))
    return float(high - low) / (S_MOS.high - S_MOS.low)


def _half_axis(comparisons: Sequence[Comparison]) -> float:
    """The first of HALVES that all differences and intervals fit into, in MOS."""
    ends = [
        abs(end) / _in_mos(BY_KEY[one.target])
        for one in comparisons
        for end in (one.difference.value, one.difference.low, one.difference.high)
        if np.isfinite(end)
    ]
    return next((half for half in HALVES if half >= max(ends, default=0.0)), HALVES[-1])


def _label(one: Comparison, compared: Compared) -> str:
    sets = f"{one.first} → {one.second}" if len(compared.names) > 2 else ""
    group = one.group or ("all" if any(other.group for other in compared.comparisons) or not sets else "")
    return ": ".join(part for part in (sets, group) if part)


def _shade(one: Comparison) -> str:
    if not one.difference.found:
        return SAME
    return MORE if one.second_is_better else LESS
