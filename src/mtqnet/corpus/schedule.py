"""Which recording each clip of a split uses, so that no sentence and no noise file is used too often.

The schedule is drawn clip after clip from the seed alone. A clip's place in it does not depend on how many clips
follow, so that a corpus can grow, and every process draws the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mtqnet.corpus.sources import Item
from mtqnet.errors import CorpusError

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
