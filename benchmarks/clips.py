"""The recordings that are scored: the example recordings, concatenated and cut to the required lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE, Samples

RECORDINGS = Path(__file__).resolve().parent.parent / "examples/recordings"
BLOCK_S = 60
"""Seconds that are written at a time"""
LENGTHS_S = (5.0, 10.0)
"""The shortest and the longest clip of a folder"""


def one(folder: Path, seconds: float) -> Path:
    """A 16-bit WAV at 16 kHz of this length; what is there already is taken."""
    path = folder / f"clip_{seconds:g}s.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial, sound, left = path.with_suffix(".part"), _sound(), round(seconds * SAMPLE_RATE)
        with sf.SoundFile(partial, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as file:
            while left:
                piece = np.resize(sound, min(left, BLOCK_S * SAMPLE_RATE))
                file.write(piece)
                left -= len(piece)
        partial.rename(path)
    return path


def many(folder: Path, count: int, lengths_s: tuple[float, float] = LENGTHS_S) -> list[Path]:
    """A folder of so many clips of these lengths, the same every time."""
    rng, sound = np.random.default_rng(0), _sound()
    inside = folder / (f"folder_{count}" if lengths_s == LENGTHS_S else f"short_{count}")
    inside.mkdir(parents=True, exist_ok=True)
    paths = [inside / f"{number:04d}.wav" for number in range(count)]
    for path in paths:
        length = round(rng.uniform(*lengths_s) * SAMPLE_RATE)
        start = int(rng.integers(len(sound) - length))
        if not path.exists():
            sf.write(path, sound[start : start + length], SAMPLE_RATE, subtype="PCM_16")
    return paths


def seconds_of(paths: Sequence[Path]) -> float:
    """Seconds of audio in all."""
    return float(sum(sf.info(path).duration for path in paths))


def _sound() -> Samples:
    return np.concatenate([reading.read(path).samples for path in sorted(RECORDINGS.glob("*.flac"))])
