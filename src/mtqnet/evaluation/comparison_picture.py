"""Differences with their intervals: one panel a target, one line a comparison."""

from __future__ import annotations

from pathlib import Path

from mtqnet.evaluation import canvas
from mtqnet.evaluation.compare import Compared, Comparison
from mtqnet.targets import BY_KEY, KEYS

PANEL_INCH = 2.5
LINE_INCH = 0.34
MORE, LESS, SAME = canvas.COLOURS[2], canvas.COLOURS[5], canvas.COLOURS[6]
"""Better, worse, no difference found"""


def draw(compared: Compared, path: Path) -> None:
    """Write the picture; .png or .svg. Raises UsageError for another suffix, MissingExtraError."""
    keys = [key for key in KEYS if any(one.target == key for one in compared.comparisons)]
    lines = list(dict.fromkeys(_label(one, compared) for one in compared.comparisons))
    figure = canvas.figure(PANEL_INCH * len(keys) + 1.6, LINE_INCH * len(lines) + 1.9)
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        target = BY_KEY[key]
        axes.axvline(0, color=canvas.SOFT, linewidth=1)
        for one in (one for one in compared.comparisons if one.target == key):
            height, difference = lines.index(_label(one, compared)), one.difference
            axes.plot([difference.low, difference.high], [height, height], color=_colour(one), linewidth=2.2)
            face = _colour(one) if difference.enough else "white"
            axes.plot(difference.value, height, "o", color=_colour(one), markersize=6, markerfacecolor=face)
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
    said = f"{last} less {first}" if len(compared.names) == 2 else "second less first"
    figure.suptitle(
        f"{said}, {how}, 95 % intervals; green: the second is better, orange: worse, grey: no difference found, "
        "hollow: too few recordings to tell",
        fontsize=9.5,
    )
    canvas.save(figure, path)


def _label(one: Comparison, compared: Compared) -> str:
    sets = f"{one.first} → {one.second}" if len(compared.names) > 2 else ""
    group = one.group or ("all" if any(other.group for other in compared.comparisons) or not sets else "")
    return ": ".join(part for part in (sets, group) if part)


def _colour(one: Comparison) -> str:
    if not one.difference.found:
        return SAME
    return MORE if one.second_is_better else LESS
