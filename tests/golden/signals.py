"""Fifty signals for golden scores: speech from the examples and synthetic sounds, degraded in a fixed way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RECORDINGS = Path(__file__).resolve().parents[2] / "examples/recordings"
RATES = (8000, 16000, 22050, 44100, 48000)
"""Hz; the generated signals take turns"""


def signals() -> Iterator[tuple[str, Samples, int]]:
    """Yield (name, (samples,) float32, sample rate in Hz) of every signal, always the same."""
    speech, rate = soundfile.read(RECORDINGS / "1_clean.flac", dtype="float32")
    for index in range(50):
        random = np.random.default_rng(index)
        length = int(rate * (1.0 + 0.31 * index))
        start = int(random.integers(0, max(1, len(speech) - length)))
        part = np.resize(speech[start : start + length], length)
        kind = index % 10
        signal = _degraded(part, kind, random)
        new_rate = RATES[index % len(RATES)]
        yield f"{index:02d}_{KINDS[kind]}_{new_rate}", _at_rate(signal, rate, new_rate), new_rate


KINDS = ("plain", "noise", "quiet", "clipped", "hum", "gaps", "lowpass", "coarse", "echo", "tones")


def _degraded(speech: NDArray[Any], kind: int, random: np.random.Generator) -> Samples:
    level = float(np.sqrt(np.mean(speech**2)) + 1e-9)
    time = np.arange(len(speech)) / 16000
    if kind == 1:
        speech = speech + level * random.uniform(0.05, 1.5) * random.standard_normal(len(speech)).astype(
            np.float32
        )
    elif kind == 2:
        speech = speech * np.float32(random.uniform(0.005, 0.1))
    elif kind == 3:
        speech = np.clip(speech, -0.8 * level, 0.8 * level)
    elif kind == 4:
        speech = speech + np.float32(0.5 * level) * np.sin(2 * np.pi * 50 * time).astype(np.float32)
    elif kind == 5:
        speech = speech * np.repeat(random.random(len(speech) // 320 + 1) > 0.1, 320)[: len(speech)].astype(
            np.float32
        )
    elif kind == 6:
        speech = np.convolve(speech, np.hanning(9) / np.hanning(9).sum(), mode="same").astype(np.float32)
    elif kind == 7:
        speech = np.round(speech * 64) / 64
    elif kind == 8:
        speech = speech + np.float32(0.5) * np.concatenate([np.zeros(1600, np.float32), speech])[: len(speech)]
    elif kind == 9:
        speech = (
            sum(np.sin(2 * np.pi * f * time) for f in random.uniform(100, 3000, 5)) * 0.05 * (time % 0.4 < 0.2)
        )
    return np.asarray(speech, np.float32)


def _at_rate(signal: Samples, rate: int, new_rate: int) -> Samples:
    length = int(len(signal) * new_rate / rate)
    places = np.arange(length) * rate / new_rate
    return np.interp(places, np.arange(len(signal)), signal).astype(np.float32)
