"""One picture of a corpus: distribution of the labels by split, steps, correlation, and S against N.

python -m research.corpus_picture CORPUS PICTURE.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.describe import Description, describe, label_values, short
from mtqnet.corpus.table import Row, read_rows
from mtqnet.errors import UsageError, missing_extra
from mtqnet.targets import G_MOS, N_MOS, QUEST, S_MOS, TARGETS, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
SIZE_INCH = (17.0, 11.0)
DPI = 110
"""1870 by 1210 pixels"""
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Of splits: Okabe and Ito's, distinguishable by colour-blind people (jfly.uni-koeln.de/color, 2008)."""
GRADES = "viridis"
"""Of MOS: dark is bad"""
MOS_SPAN = (1.0, 5.0)
BINS = 24
MOST_POINTS = 3000
"""Of the scatter; more make a blot and a large SVG"""
MOST_STEPS = 60
"""Maximum number of distinguishable bars"""
DARK = 0.6
"""Correlation beyond which a number is white on its colour"""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw these clips into a .png or .svg file.

    Raises UsageError for another kind of file, CorpusError where there are no clips.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot draw {path.name}: name a file that ends in {' or '.join(SUFFIXES)}")
    description = describe(rows)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise missing_extra("pictures", "corpus") from error
    figure = Figure(
        figsize=SIZE_INCH, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.02, hspace=0.02)
    )
    FigureCanvasAgg(figure)
    _fill(figure, rows, description)
    kind = path.suffix.lower().removeprefix(".")
    figure.savefig(path, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)


def _fill(figure: Figure, rows: Sequence[Row], description: Description) -> None:
    whole = description.parts[-1]
    figure.suptitle(
        f"{whole.clips} clips, {whole.hours:.2f} hours, {whole.speakers} speakers", fontsize=16, weight="bold"
    )
    places = figure.add_gridspec(3, 4, width_ratios=(1.25, 1, 1, 1), height_ratios=(1, 1, 1.45))
    beside = places[:, 0].subgridspec(2, 1, height_ratios=(50, 1))
    _steps(figure.add_subplot(beside[0]), figure.add_subplot(beside[1]), description)
    for number, target in enumerate(TARGETS):
        axes = figure.add_subplot(places[number // 3, 1 + number % 3])
        _spread(axes, rows, target, description, first=number % 3 == 0)
    below = places[2, 1:].subgridspec(1, 2, width_ratios=(1.1, 1))
    _correlation(figure, figure.add_subplot(below[0]), description)
    _scatter(figure, figure.add_subplot(below[1]), rows)


def _spread(axes: Axes, rows: Sequence[Row], target: Target, description: Description, *, first: bool) -> None:
    """Each split's own shares, so that small and large splits are comparable; empty ranges are shaded."""
    values = label_values(rows, target)
    low, high = target.compress(np.array([target.low, target.high]))
    edges = np.linspace(low, high, BINS + 1)
    names = np.array([row["split"] for row in rows])
    for part, colour in zip(description.parts[:-1], COLOURS, strict=False):
        mine = values[names == part.name]
        shares = np.histogram(mine, edges)[0] / len(mine)
        axes.stairs(100 * shares, edges, color=colour, linewidth=1.8, label=f"{part.name} ({part.clips})")
    for interval in description.spread[target.label]:
        if interval.hole:
            axes.axvspan(interval.low, interval.high, color="red", alpha=0.12, linewidth=0)
            middle = (interval.low + interval.high) / 2
            axes.text(middle, 0.97, f"hole\n{interval.share:.1%}", color="#b00000", ha="center", va="top",
                      transform=axes.get_xaxis_transform())  # fmt: skip
    better = "" if target.higher_is_better else "; lower is better"
    unit = "index, 0 to 1" if target.unit == "1" else target.unit
    axes.set(title=short(target), xlim=(low, high), ylim=(0, None))
    axes.set_xlabel(f"log10 of the index{better}" if target.log else f"{unit}{better}")
    if first:
        axes.set_ylabel("% of the split's clips")
    if target is S_MOS:
        axes.legend(title="split (clips)", fontsize=9, title_fontsize=9)


def _steps(axes: Axes, key: Axes, description: Description) -> None:
    """Logarithmic, so that rare and frequent steps are visible."""
    shown = description.steps[:MOST_STEPS][::-1]
    grades = np.array([step.means[QUEST.index(G_MOS)] for step in shown])
    scale = _scale(grades)
    counts = [step.clips for step in shown]
    bars = axes.barh([step.name for step in shown], counts, color=scale.to_rgba(grades), log=True)
    axes.bar_label(bars, labels=[f"{step.share:.1%}" for step in shown], padding=3, fontsize=8)
    axes.set(title="Clips with each step", xlabel="clips (logarithmic)", ylim=(-0.6, len(shown) - 0.4))
    axes.set_xlim(0.7, 5 * max(counts))
    axes.tick_params(axis="y", labelsize=8.5)
    axes.figure.colorbar(scale, cax=key, label="mean G-MOS of those clips", orientation="horizontal")


def _scale(grades: NDArray[np.float64]) -> ScalarMappable:
    """Colours from the lowest grade to the highest."""
    from matplotlib.cm import ScalarMappable

    made = ScalarMappable(cmap=GRADES)
    made.set_array(grades)
    made.autoscale()
    return made


def _correlation(figure: Figure, axes: Axes, description: Description) -> None:
    names = [short(target) for target in TARGETS]
    values = np.array(description.correlation)
    image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", color="white" if abs(value) > DARK else "black")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_title("Correlation of labels")
    figure.colorbar(image, ax=axes, label="Pearson's r")


def _scatter(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    s, n, g = (label_values(rows, target) for target in (S_MOS, N_MOS, G_MOS))
    kept = np.random.default_rng(0).permutation(len(rows))[:MOST_POINTS]
    points = axes.scatter(s[kept], n[kept], c=g[kept], cmap=GRADES, s=10, alpha=0.8, linewidths=0)
    count = "" if len(kept) == len(rows) else f", {len(kept)} of {len(rows)} clips"
    axes.set(title=f"S against N{count}", xlabel="S-MOS", ylabel="N-MOS", xlim=MOS_SPAN, ylim=MOS_SPAN)
    axes.set_xticks(range(1, 6))
    axes.set_yticks(range(1, 6))
    axes.grid(linewidth=0.4, alpha=0.5)
    figure.colorbar(points, ax=axes, label="G-MOS")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of a corpus")
    parser.add_argument("picture", type=Path, help="file to write: .png or .svg")
    arguments = parser.parse_args()
    draw(read_rows(arguments.corpus), arguments.picture)
