"""A target of a benchmark, and the page of the benchmarks of the service."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mtqnet import __version__


@dataclass(frozen=True)
class Bar:
    """A figure, and what it must not pass."""

    name: str
    value: float | None
    """None where this was not measured"""
    limit: float
    more_is_better: bool = False

    @property
    def kept(self) -> bool | None:
        """None where this was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.more_is_better else self.value <= self.limit

    @property
    def figures(self) -> tuple[str, str]:
        """Measured value and target, as text for a table."""
        measured = "" if self.value is None else f"{self.value:.3g}"
        return measured, f"{'at least' if self.more_is_better else 'at most'} {self.limit:g}"

    def row(self) -> str:
        return f"| {' | '.join((self.name, *self.figures))} | {'yes' if self.kept else '**no**'} |"


def write(path: Path, title: str, about: str, parts: Sequence[tuple[Sequence[str], Sequence[Bar]]]) -> bool:
    """Write the page, print it; whether every bar is kept."""
    bars = [bar for _, found in parts for bar in found]
    kept = all(bar.kept for bar in bars)
    command = shlex.join(["python", *sys.argv])
    how = f"mtqnet {__version__}, {os.cpu_count()} cores, load of the machine before it {os.getloadavg()[2]:.1f}"
    blocks = [
        f"# {title}",
        f"Written on {datetime.now(UTC):%Y-%m-%d} by `{command}`: {how}.",
        about,
        *("\n".join(lines) for lines, _ in parts),
        "\n".join(["| target | measured | limit | met |", "|---|---|---|---|", *(bar.row() for bar in bars)]),
        f"Verdict: {'every bar is kept' if kept else 'missed'}.",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return kept
