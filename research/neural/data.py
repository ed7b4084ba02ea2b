"""Training examples: random segments of speech and noise of the corpus' training speakers and noise files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.degradations import generative
from mtqnet.corpus.degradations.generative import HOP
from mtqnet.corpus.sources import Sources, Split, load, pools
from research.neural.layers import SAMPLE_RATE

Array = NDArray[np.float32]
Samples = Array

LEVEL_DB = -26.0
"""Level of the speech in dB relative to full scale, RMS of a segment"""
QUIET_DB = -60.0
"""Segments of speech below are drawn again."""


@dataclass(frozen=True)
class Material:
    """Recordings of one split, grouped by speaker or noise file; stored as 16-bit integers."""

    speech: dict[str, list[NDArray[np.int16]]]
    noise: dict[str, list[NDArray[np.int16]]]
    pitch: dict[int, tuple[NDArray[np.float64], ...]]
    """Of each recording of speech, by the identity of its array: frequency and voicing. Filled for the vocoder
    only.
    """

    @property
    def hours(self) -> tuple[float, float]:
        return _hours(self.speech), _hours(self.noise)


def material(
    speech: Sequence[Path], noise: Sequence[Path], split: Split, *, pitch_cache: Path | None, split_seed: int = 0
) -> Material:
    """Read what the corpus builder would use for `split`: the same split by speaker and noise file."""
    pool = pools(Sources(tuple(speech), tuple(noise)), split_seed, [split])[split]
    groups: tuple[dict[str, list[NDArray[np.int16]]], ...] = ({}, {})
    for group, items in zip(groups, (pool.speech, pool.noise), strict=True):
        for item in items:
            samples = np.clip(np.round(load(item.path) * 32767), -32768, 32767).astype(np.int16)
            group.setdefault(item.group, []).append(samples)
    recordings = [recording for members in groups[0].values() for recording in members]
    tracked = _pitch(recordings, pitch_cache) if pitch_cache else {}
    return Material(groups[0], groups[1], tracked)


def _pitch(recordings: list[NDArray[np.int16]], cache: Path) -> dict[int, tuple[NDArray[np.float64], ...]]:
    """Frequency and voicing of each recording, from `cache` if stored: a minute for each hour of speech."""
    known: dict[str, NDArray[np.float64]] = {}
    if cache.exists():
        with np.load(cache) as stored:
            known = dict(stored)
    names = [hashlib.sha256(recording.tobytes()).hexdigest()[:16] for recording in recordings]
    missing = {name: recording for name, recording in zip(names, recordings, strict=True) if name not in known}
    for name, recording in missing.items():
        known[name] = np.stack(generative.pitch(as_float(recording))).astype(np.float32)
    if missing:
        unfinished = cache.with_suffix(".unfinished.npz")
        np.savez(unfinished, **known)  # type: ignore[arg-type]
        unfinished.replace(cache)
    return {
        id(recording): tuple(known[name].astype(float)) for name, recording in zip(names, recordings, strict=True)
    }


def as_float(recording: NDArray[np.int16]) -> Samples:
    return recording.astype(np.float32) / np.float32(32767)


def segment(
    groups: dict[str, list[NDArray[np.int16]]], length: int, rng: np.random.Generator, least_db: float = -300.0
) -> Samples:
    """(length,) of a random recording, begun again where it is too short."""
    recording, start = _place(groups, length, rng, least_db)
    return _cut(recording, start, length)


def _place(
    groups: dict[str, list[NDArray[np.int16]]], length: int, rng: np.random.Generator, least_db: float
) -> tuple[NDArray[np.int16], int]:
    """A recording and a first sample, a multiple of HOP.

    Recordings of a group are drawn in proportion to their length, groups in proportion to the root of theirs.
    """
    names = list(groups)
    weights = np.array([np.sqrt(sum(len(r) for r in groups[name])) for name in names])
    for _ in range(20):
        recordings = groups[names[rng.choice(len(names), p=weights / weights.sum())]]
        sizes = np.array([len(r) for r in recordings], dtype=float)
        recording = recordings[rng.choice(len(recordings), p=sizes / sizes.sum())]
        start = int(rng.integers(max(1, (len(recording) - length) // HOP + 1))) * HOP
        if level(_cut(recording, start, length)) > least_db:
            break
    return recording, start


def _cut(recording: NDArray[np.int16], start: int, length: int) -> Samples:
    return as_float(np.take(recording, range(start, start + length), mode="wrap"))


def level(samples: Samples) -> float:
    """RMS in dB relative to full scale."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-30))


def at_level(samples: Samples, wanted_db: float) -> Samples:
    return samples * np.float32(10 ** ((wanted_db - max(level(samples), -90.0)) / 20))


def speech_batch(source: Material, count: int, length: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """Samples, pitch, pulses and noise as `vocoder.Vocoder.generate` takes them, a row for each of `count`
    segments.

    A third has background noise at 5 to 40 dB SNR; levels vary by 6 dB. `length` is a multiple of HOP.
    """
    rows = []
    frames = 1 + length // HOP
    for _ in range(count):
        recording, start = _place(source.speech, length, rng, QUIET_DB)
        wanted = LEVEL_DB + rng.uniform(-6, 6)
        samples = at_level(_cut(recording, start, length), wanted)
        if rng.random() < 1 / 3:
            samples = samples + at_level(segment(source.noise, length, rng), wanted - rng.uniform(5, 40))
        place = np.arange(start // HOP, start // HOP + frames)
        frequency, voicing = (np.take(part, place, mode="clip") for part in source.pitch[id(recording)])
        rows.append((samples, *generative.inputs(frequency, voicing, length, rng)))
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def noisy_batch(source: Material, count: int, length: int, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """Clean and noisy, (count, length) each: for the enhancer.

    SNR -5 to 25 dB; one in ten without noise. In one of five the noisy speech is low-pass filtered at 2.5 to 7
    kHz, so that the network learns to generate what is missing. The noisy speech has LEVEL_DB, as at inference.
    """
    pairs = []
    for _ in range(count):
        clean = at_level(segment(source.speech, length, rng, QUIET_DB), 0.0)
        noisy = clean
        if rng.random() < 0.9:
            noise = segment(source.noise, length, rng)
            if rng.random() < 0.2:
                noise = noise + at_level(segment(source.noise, length, rng), level(noise))
            noisy = clean + at_level(noise, -rng.uniform(-5, 25))
        if rng.random() < 0.2:
            noisy = low_passed(noisy, rng.uniform(2500, 7000))
        gain = np.float32(10 ** ((LEVEL_DB + rng.uniform(-3, 3) - level(noisy)) / 20))
        pairs.append((noisy * gain, clean * gain))
    noisy_rows, clean_rows = zip(*pairs, strict=True)
    return np.stack(clean_rows), np.stack(noisy_rows)


def low_passed(samples: Samples, edge_hz: float) -> Samples:
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum / (1 + (hertz / edge_hz) ** 24), len(samples)).astype(np.float32)


def _hours(groups: dict[str, list[NDArray[np.int16]]]) -> float:
    return sum(len(r) for members in groups.values() for r in members) / SAMPLE_RATE / 3600
