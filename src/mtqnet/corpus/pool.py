"""The recordings that one split may draw from, how they are read, and which one each clip uses.

The schedule limits how often a sentence or a noise file is used. It is drawn clip after clip from the seed alone. A
clip's place in it does not depend on how many clips follow, so that a corpus can grow, and every process draws the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
                f"too few speakers or noise files for the split {split}: there are {len({i.group for i in speech})} "
                f"speakers and {len(noise)} noise files; add some, or build no such clips (--clips {split}=0)"
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


USUAL_LIMIT = 20
"""Clips per sentence and per noise file, if the recordings are many enough"""
MIN_NOISE_WEIGHT_S, MAX_NOISE_WEIGHT_S = 5.0, 60.0
"""A noise recording is drawn in proportion to its length within these limits."""


class Quota:
    """Draw items by group, each item at most `limit` times; without a limit as often as asked.

    A group is drawn in proportion to its weight as long as it has items left; within a group the items take turns.
    """

    def __init__(
        self, items: Sequence[Item], weights: dict[str, float], limit: int | None, rng: np.random.Generator
    ) -> None:
        self._rng = rng
        names = sorted({item.group for item in items})
        self._members: dict[str, list[Item]] = {name: [] for name in names}
        for item in items:
            self._members[item.group].append(item)
        self._names = names
        self._weights = np.array([weights[name] for name in names])
        self._orders = [rng.permutation(len(self._members[name])) for name in names]
        self._taken = np.zeros(len(names), dtype=np.int64)
        sizes = np.array([len(self._members[name]) for name in names])
        self._most = sizes * limit if limit else np.full(len(names), np.iinfo(np.int64).max)

    def next(self) -> Item:
        """Return the next item. Raises CorpusError if every item was used as often as allowed."""
        odds = np.cumsum(np.where(self._taken < self._most, self._weights, 0.0))
        if odds[-1] <= 0:
            raise CorpusError("every recording was used as often as the limit allows: add recordings or raise it")
        group = int(np.searchsorted(odds, self._rng.random() * odds[-1], side="right"))
        order = self._orders[group]
        item: Item = self._members[self._names[group]][order[self._taken[group] % len(order)]]
        self._taken[group] += 1
        return item


class Schedule:
    """Speech and noise recordings of the clips of one split."""

    def __init__(
        self,
        speech: Sequence[Item],
        noise: Sequence[Item],
        limits: tuple[int | None, int | None],
        needs: Callable[[int], int],
        entropy: Sequence[int],
    ) -> None:
        """Args: `limits` of clips per sentence and per noise file; `needs`: clip -> noise files it mixes in."""
        self._speech = Quota(speech, speech_weights(speech), limits[0], np.random.default_rng([*entropy, 0]))
        self._noise = Quota(noise, noise_weights(noise), limits[1], np.random.default_rng([*entropy, 1]))
        self._needs = needs
        self._clips: list[tuple[Item, tuple[Item, ...]]] = []

    def clip(self, number: int) -> tuple[Item, tuple[Item, ...]]:
        """Return the speech recording and the noise recordings of a clip."""
        while len(self._clips) <= number:
            count = self._needs(len(self._clips))
            self._clips.append((self._speech.next(), tuple(self._noise.next() for _ in range(count))))
        return self._clips[number]


def speech_weights(items: Sequence[Item]) -> dict[str, float]:
    """Return the weight of each speaker: 1, or the number of people behind one identifier."""
    return {item.group: float(item.speakers) for item in items}


def noise_weights(items: Sequence[Item]) -> dict[str, float]:
    """Return the weight of each noise recording: its length within limits."""
    seconds: dict[str, float] = {}
    for item in items:
        seconds[item.group] = seconds.get(item.group, 0.0) + item.seconds
    return {
        name: float(np.clip(length, MIN_NOISE_WEIGHT_S, MAX_NOISE_WEIGHT_S)) for name, length in seconds.items()
    }


def resolve(asked: int | None, clips: int, items: int, what: str) -> int | None:
    """Return the limit for `clips` uses of `items` recordings.

    Not asked: USUAL_LIMIT if it suffices, otherwise none. Raises CorpusError if what is asked cannot be met.
    """
    if asked is None:
        return USUAL_LIMIT if clips <= USUAL_LIMIT * items else None
    if clips > asked * items:
        raise CorpusError(
            f"{items} {what} allow at most {asked * items} clips at {asked} clips each, but {clips} are needed: add "
            f"recordings, build fewer clips, or set a limit of at least {-(-clips // max(items, 1))}"
        )
    return asked
