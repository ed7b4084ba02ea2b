"""The recordings that one split may draw from, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import reading
from mtqnet.audio.level import FLOOR_DB, rms_level
from mtqnet.corpus.sources import SPLITS, Item, Split, of_split, scan
from mtqnet.errors import AudioError, CorpusError

MIN_SPEECH_S = 2.0
"""Seconds. Shorter recordings are not used as clean references."""


@dataclass(frozen=True)
class Pool:
    """One split's speech, noise and rooms, each ordered by path."""

    speech: tuple[Item, ...]
    noise: tuple[Item, ...]
    rooms: tuple[Item, ...]
    without: tuple[str, ...] = ()
    """Kinds of processing that no clip goes through, because their tool is not installed"""
    clips_per_sentence: int | None = None
    """Most clips of one speech recording; None draws without a limit"""
    clips_per_noise: int | None = None
    """Most clips of one noise recording; it applies only together with a limit per sentence"""


@dataclass(frozen=True)
class Sources:
    """Folders to build from."""

    speech: tuple[Path, ...]
    noise: tuple[Path, ...]
    rooms: tuple[Path, ...] = ()


def pools(sources: Sources, split_seed: int, needed: Sequence[Split] = SPLITS) -> dict[Split, Pool]:
    """Scan the folders and split them by speaker, by noise file and by room.

    Raises CorpusError where a split that is needed would be left without speech or noise.
    """
    speech = [item for item in scan(sources.speech, by_speaker=True) if item.seconds >= MIN_SPEECH_S]
    noise = scan(sources.noise, by_speaker=False)
    rooms = scan(sources.rooms, by_speaker=False)
    made: dict[Split, Pool] = {}
    for split in SPLITS:
        made[split] = Pool(
            tuple(of_split(speech, split, split_seed)),
            tuple(of_split(noise, split, split_seed)),
            tuple(of_split(rooms, split, split_seed)),
        )
        if split in needed and not (made[split].speech and made[split].noise):
            raise CorpusError(
                f"too few speakers or noise files: the {split} split is empty. "
                f"There are {len({i.group for i in speech})} speakers and {len(noise)} noise files: add some, "
                "or try another split seed."
            )
    return made


def pick(items: Sequence[Item], rng: np.random.Generator) -> Item:
    """One item: first a group, then one of its recordings, so that no speaker drowns the others."""
    groups = sorted({item.group for item in items})
    group = groups[int(rng.integers(len(groups)))]
    members = [item for item in items if item.group == group]
    return members[int(rng.integers(len(members)))]


@lru_cache(maxsize=64)
def load(path: str) -> NDArray[np.float32]:
    """Samples at 16 kHz, kept for the next clip that uses them. Read-only."""
    try:
        samples = reading.read(path).samples
    except AudioError as error:
        raise CorpusError(f"{path}: {error}") from error
    samples.setflags(write=False)
    return samples


def looped(path: str, start: int, length: int) -> NDArray[np.float32]:
    """`length` samples from `start`, begun again where the recording ends, with a 20 ms cross-fade.

    An all-silent stretch is replaced by the recording's beginning.
    """
    samples = load(path)
    fade = min(320, len(samples) // 4)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    period = np.array(samples[: len(samples) - fade])
    if fade:
        period[:fade] = period[:fade] * np.sqrt(ramp) + samples[len(samples) - fade :] * np.sqrt(1 - ramp)
    take = period[np.arange(start, start + length) % len(period)]
    if rms_level(take) <= FLOOR_DB + 10:
        take = period[np.arange(length) % len(period)]
    return take
