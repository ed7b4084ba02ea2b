"""Fitted parameters of the labeller: curves.json, written by `python -m research.labeller fit`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CURVES = Path(__file__).with_name("curves.json")


@dataclass(frozen=True)
class Curves:
    """Fitted numbers. Every field is written by the fit of the labeller."""

    q_db: tuple[float, ...]
    """dB, rising: MNRU levels at which clean talkers were measured ..."""
    pesq_at_q: tuple[float, ...]
    """... their mean PESQ there, rising ..."""
    envelope_at_q: tuple[float, ...]
    """... and their mean envelope distance in dB, falling (labels/speech.py)."""
    narrow_q_at_q: tuple[float, ...]
    """dB, rising: the equivalent Q that these two give narrowband speakers with narrowband MNRU of each Q
    (labels/speech.py)."""
    speech: tuple[float, ...]
    """Parameters of three_signal.speech_mos."""
    noise: tuple[float, ...]
    """Parameters of three_signal.noise_mos."""
    general: tuple[float, ...]
    """Coefficients of three_signal.general_mos: 1, S, N, S N, S^2, N^2."""


@lru_cache(maxsize=1)
def curves() -> Curves:
    """The fitted curves that ship with the package."""
    stored = json.loads(CURVES.read_text())["curves"]
    return Curves(**{name: tuple(values) for name, values in stored.items()})
