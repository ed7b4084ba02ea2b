"""What a page shows of a measurement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure."""

    measure: str
    value: float
    unit: str
