"""Scores against ratings: one panel a target, recordings as dots and conditions as rings, with the mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtqnet.evaluation import canvas
from mtqnet.evaluation.evaluate import PER_FILE, Agreement, Evaluation
from mtqnet.targets import BY_KEY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCH = 4.2
HEAD_INCH = 1.0
"""Above the panels, for what stands there"""
MARGIN = 0.03
"""Share of a range that is left free at its ends"""


def draw(evaluation: Evaluation, path: Path) -> None:
    """Write the picture; .png or .svg. Raises UsageError for another suffix, MissingExtraError."""
    shown = [one for one in evaluation.agreements if one.level == PER_FILE]
    figure = canvas.figure(PANEL_INCH * len(shown), PANEL_INCH + HEAD_INCH)
    for number, (axes, one) in enumerate(
        zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True)
    ):
        grouped = [other for other in evaluation.agreements if other.target == one.target and other is not one]
        _panel(axes, one, grouped, canvas.COLOURS[number % len(canvas.COLOURS)])
    figure.suptitle(Path(evaluation.labels).parent.name or Path(evaluation.labels).name, fontsize=11)
    canvas.save(figure, path)


def _panel(axes: Axes, one: Agreement, grouped: list[Agreement], colour: str) -> None:
    target = BY_KEY[one.target]
    pairs = one.pairs
    if one.same_scale:
        ends = target.compress(np.array([target.low, target.high]))
        axes.plot(ends, ends, color=canvas.RULE, linewidth=1, zorder=0)
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
            markeredgecolor=canvas.INK, markeredgewidth=1.1, label=f"{len(other.pairs.names)} by {other.level}",
        )  # fmt: skip
    if (mapped := one.mapping) is not None:
        scores = np.linspace(mapped.low, mapped.high, 200)
        axes.plot(mapped(scores), scores, color=canvas.SOFT, linestyle="--", linewidth=1.2, label="mapping")
    told = f"LCC {one.figures['lcc'].value:.2f}   SRCC {one.figures['srcc'].value:.2f}"
    if one.same_scale:
        told += f"   RMSE {one.figures['rmse'].value:.2f}"
    axes.set_title(f"{target.name}\n{told}", fontsize=9.5)
    log = "log10 of " if target.log else ""
    axes.set(xlabel=f"{log}rating ({one.column})", ylabel=f"{log}score")
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=8, loc="best", framealpha=0.85)


def _span(low: float, high: float) -> tuple[float, float]:
    free = MARGIN * (high - low)
    return low - free, high + free
