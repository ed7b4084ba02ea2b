"""One recording in one picture: waveform, spectrogram, the six scores over time, and where it is worst."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.evaluation import canvas
from mtqnet.scoring.scores import Scores, Track, spoken
from mtqnet.targets import BY_KEY, G_MOS, PESQ, QUEST, SDI, STOI, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCH = (12.0, 9.0)
COLUMNS = 2000
"""Of waveform, spectrogram and lines: more than the picture has pixels across"""
WINDOW = 512
"""Samples, 32 ms: pitch and formants are both seen"""
SHORTEST_HOP = 64
"""Samples"""
RANGE_DB = 75.0
"""Below the loudest point; less is drawn as silence"""
MARGIN = 0.05
"""Share of the picture's time behind the end of the recording, where intervals stand"""
STRETCH_S = 2.0
"""Seconds over which scores over time are averaged to find the worst stretch: about one phrase"""
STANDS_OUT = 0.1
"""MOS by which a stretch has to lie below the mean to be marked, and within which its neighbours are as bad: less
is not heard."""

Array = NDArray[np.float64]
SHADE = "#D55E00"


@dataclass(frozen=True)
class Stretch:
    """Where a recording is worst, in seconds from its beginning."""

    start_s: float
    stop_s: float
    value: float
    """Mean score in it"""


def draw(samples: Samples, scores: Scores, path: Path) -> None:
    """Write the picture of (samples,) at 16 kHz and their scores; .png or .svg.

    Raises UsageError for another suffix, MissingExtraError without matplotlib.
    """
    canvas.check(path)
    figure = canvas.figure(*SIZE_INCH)
    wave, spectrum, mos, ratio = figure.subplots(4, 1, sharex=True, height_ratios=(1, 2.2, 2.2, 1.4))
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
    worst = worst_stretch(scores.track) if scores.track is not None else None
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
    seconds = len(samples) / SAMPLE_RATE
    for axes, targets in ((mos, (*QUEST, PESQ)), (ratio, (STOI,)), (other, (SDI,))):
        _intervals(axes, scores, targets, seconds)
    ratio.set(xlabel="seconds", xlim=(0, seconds * (1 + MARGIN if scores.intervals else 1)))
    canvas.save(figure, path)


def worst_stretch(track: Track) -> Stretch | None:
    """Where G-MOS over time is lowest: the worst STRETCH_S, and all around it that is as bad.

    None where no stretch stands out, or where the recording has no G-MOS, or is hardly longer than one.
    """
    if G_MOS.key not in track.targets or len(track.times_s) < 2:
        return None
    frame_s = float(np.median(np.diff(track.times_s)))
    frames = track.values[:, track.targets.index(G_MOS.key)]
    count = round(STRETCH_S / frame_s)
    if len(frames) < 2 * count:
        return None
    sums = np.cumsum(np.concatenate([[0.0], frames]))
    means = (sums[count:] - sums[:-count]) / count
    place = int(means.argmin())
    if frames.mean() - means[place] < STANDS_OUT:
        return None
    better = np.flatnonzero(means > means[place] + STANDS_OUT)
    first = int(max(better[better < place], default=-1)) + 1
    last = int(min(better[better > place], default=len(means))) - 1 + count
    start, stop = track.times_s[first] - frame_s / 2, track.times_s[last - 1] + frame_s / 2
    return Stretch(float(start), float(stop), float(frames[first:last].mean()))


def _wave(axes: Axes, samples: Samples) -> None:
    """Lowest and highest sample of each column."""
    edges = np.linspace(0, len(samples), min(COLUMNS, len(samples)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    axes.fill_between(edges / SAMPLE_RATE, low, high, color=canvas.COLOURS[0], linewidth=0.3, step="mid")
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
    return canvas.COLOURS[list(BY_KEY).index(target.key)]


def thinned(track: Track) -> Track:
    """Means over neighbours, so that at most COLUMNS points are left."""
    each = -(-len(track.times_s) // COLUMNS)
    edges = np.arange(0, len(track.times_s), each)
    counts = np.diff(np.append(edges, len(track.times_s)))
    times, values = np.add.reduceat(track.times_s, edges), np.add.reduceat(track.values, edges, axis=0)
    return Track(times / counts, values / counts[:, None], track.targets)
