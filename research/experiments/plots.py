"""Pictures of a table: bars of mean LCC with intervals, lines over the number of labels, scores against truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtqnet.evaluation import plots as canvas
from mtqnet.evaluation.plots import COLOURS
from mtqnet.targets import QUEST
from research.experiments.arms import Result
from research.experiments.material import Test
from research.experiments.pages import SAYS
from research.experiments.study import Table
from research.experiments.summary import MEAN, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLITS = ("test", "unseen", "csp835", "noizeus")
DPI = 90
MOST_ARMS = 4
"""In the scatter: the reference and the best others"""


def draw(
    table: Table,
    summary: Summary,
    results: Mapping[str, Sequence[Result]],
    tests: Mapping[str, Test],
    labelled: Mapping[str, int],
    folder: Path,
) -> None:
    """TABLE.svg and TABLE_scatter.png. `labelled` is the number of clips with labels of each arm."""
    counts = {labelled[arm] for arm in table.arms if summary.arm(arm, "test", MEAN)}
    figure = _over_labels(table, summary, labelled) if len(counts) > 1 else _bars(table, summary)
    figure.savefig(folder / f"{table.name}.svg", metadata={"Date": None})
    _scatter(table, summary, results, tests["unseen"]).savefig(folder / f"{table.name}_scatter.png", dpi=DPI)


def _bars(table: Table, summary: Summary) -> Figure:
    arms = [arm for arm in table.arms if summary.arm(arm, "test", MEAN)]
    figure = canvas.figure(3.2 * len(SPLITS) + 1.5, 0.34 * len(arms) + 1.6)
    axes = figure.subplots(1, len(SPLITS), sharey=True)
    for place, (axis, split) in enumerate(zip(axes, SPLITS, strict=True)):
        rows = [summary.arm(arm, split, MEAN) for arm in arms]
        for height, row in enumerate(rows):
            if row is not None:
                colour = COLOURS[1] if row.arm == table.reference else COLOURS[0]
                axis.barh(height, row.lcc.mean, xerr=row.lcc.half, color=colour, ecolor="#333333", capsize=2)
        known = [row.lcc for row in rows if row is not None]
        low, high = min(one.low for one in known), max(one.high for one in known)
        axis.set_xlim(max(0.0, low - 0.15 * (high - low) - 0.005), min(1.0, high + 0.005))
        axis.set_title(SAYS[split], fontsize=9)
        axis.set_xlabel("mean LCC over S, N, G", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.3)
        if place == 0:
            axis.set_yticks(range(len(arms)), arms)
    axes[0].invert_yaxis()
    return figure


def _over_labels(table: Table, summary: Summary, labelled: Mapping[str, int]) -> Figure:
    """Lines of arms that share the first part of their name, over the number of labelled clips."""
    figure = canvas.figure(3.2 * len(SPLITS) + 1.5, 4.0)
    axes = figure.subplots(1, len(SPLITS))
    arms = [arm for arm in table.arms if summary.arm(arm, "test", MEAN)]
    kinds = list(dict.fromkeys(arm.rsplit("_", 1)[0] for arm in arms))
    for place, (axis, split) in enumerate(zip(axes, SPLITS, strict=True)):
        for kind, colour in zip(kinds, COLOURS, strict=False):
            members = sorted((a for a in arms if a.rsplit("_", 1)[0] == kind), key=lambda a: labelled[a])
            rows = [row for row in (summary.arm(arm, split, MEAN) for arm in members) if row is not None]
            x = np.array([labelled[row.arm] for row in rows], dtype=float)
            y = np.array([(row.lcc.low, row.lcc.mean, row.lcc.high) for row in rows])
            axis.plot(x, y[:, 1], "o-", color=colour, label=kind, markersize=4)
            axis.fill_between(x, y[:, 0], y[:, 2], color=colour, alpha=0.13, linewidth=0)
        axis.set_xscale("log")
        counts = sorted({labelled[arm] for arm in arms})
        axis.set_xticks(counts, [f"{count:,}" for count in counts], fontsize=8)
        axis.minorticks_off()
        axis.set_title(SAYS[split], fontsize=9)
        axis.set_xlabel("clips with S/N/G labels", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if place == 0:
            axis.set_ylabel("mean LCC over S, N, G", fontsize=8)
            axis.legend(fontsize=8)
    return figure


def _scatter(table: Table, summary: Summary, results: Mapping[str, Sequence[Result]], test: Test) -> Figure:
    """Scores of the first seed against truth, on unseen processing."""
    means = {row.arm: row.lcc.mean for row in summary.arms if (row.split, row.target) == ("unseen", MEAN)}
    best = sorted(means, key=lambda arm: (arm != table.reference, -means[arm]))[:MOST_ARMS]
    arms = [arm for arm in table.arms if arm in best]
    figure = canvas.figure(2.7 * len(arms) + 0.6, 7.6)
    grid = figure.subplots(len(QUEST), len(arms), squeeze=False, sharex=True, sharey=True)
    for column, arm in enumerate(arms):
        for row, target in enumerate(QUEST):
            axis: Axes = grid[row][column]
            axis.plot([1, 5], [1, 5], color="#999999", linewidth=0.8)
            said = results[arm][0].scores["unseen"][target.key]
            axis.plot(test.truth[target.key], said, ".", color=COLOURS[row], markersize=2.5, alpha=0.5)
            axis.tick_params(labelsize=7)
            if row == 0:
                axis.set_title(arm, fontsize=9)
            if column == 0:
                axis.set_ylabel(f"{target.name}, predicted", fontsize=8)
            if row == len(QUEST) - 1:
                axis.set_xlabel("label", fontsize=8)
    figure.suptitle("Unseen processing, first seed", fontsize=9)
    return figure
