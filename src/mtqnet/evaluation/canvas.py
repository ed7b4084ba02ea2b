"""What all pictures share: an empty figure, colours, and how it becomes a file. Needs matplotlib, no display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtqnet.errors import UsageError, missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
"""Okabe and Ito's, told apart by colour-blind people too (jfly.uni-koeln.de/color, 2008)."""
INK, SOFT, RULE = "#1b1f24", "#57606a", "#d5dae0"
SUFFIXES = (".png", ".svg")
DPI = 110
"""Of PNG"""


def check(path: Path) -> None:
    """Raise UsageError for a path that no picture can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: pictures end in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


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
