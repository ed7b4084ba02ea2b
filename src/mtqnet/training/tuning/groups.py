"""Which recordings teach and which test: whole groups on one side, the same ones at every call.

A group is a talker, a condition, a room: whatever the column of --by names. Its place is told by a hash of its
name, so that neither the order of the table nor a seed has a say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError

TEST_SHARE = 0.2
"""Of the recordings, or as much more as the last group brings"""
MOST_ROUNDS = 10
"""Of leaving out: more groups than these are left out several at a time"""
FOLDS = 5
"""In which the number of epochs is looked for"""
ONE_FOLD_FROM = 500
"""Recordings to learn from: with so many, one held-out part says when to stop as well as five"""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Round:
    """One tuning: places of the recordings it learns from, and of those that judge it."""

    train: Places
    test: Places


@dataclass(frozen=True)
class Plan:
    """What is tuned how often, and what the model that is kept learns from."""

    rounds: tuple[Round, ...]
    final: Places
    words: str
    """How recordings were parted, for people"""

    @property
    def test(self) -> Places:
        """All recordings that judge, in the order of the rounds."""
        return np.concatenate([each.test for each in self.rounds])


def plan(groups: Sequence[str], by: str, hold_out: Sequence[str], each: bool) -> Plan:
    """The rounds of a tuning. `hold_out`: groups that test; none: a fifth. `each`: every group tests once.

    Raises UsageError for a single group, and for one that is not there.
    """
    names = sorted(set(groups), key=_hash)
    if len(names) < 2:
        raise UsageError(
            f"all recordings are of one group ({by} is {names[0]!r} throughout): nothing is left to test on"
        )
    if each and hold_out:
        raise UsageError("--leave-out-each holds out every group in turn: leave --hold-out away")
    everything = np.arange(len(groups))
    if each:
        parts = shared(everything, groups, MOST_ROUNDS)
        rounds = tuple(Round(np.setdiff1d(everything, part), part) for part in parts)
        return Plan(rounds, everything, _words_each(len(names), len(parts), by))
    chosen = _chosen(names, groups, by, hold_out)
    test = np.flatnonzero([name in chosen for name in groups])
    train = np.setdiff1d(everything, test)
    return Plan((Round(train, test),), train, _words(sorted(chosen), by, len(test), len(groups)))


def folds(places: Places, groups: Sequence[str]) -> list[Places]:
    """Parts of the recordings at these places, each of which is left out once to say when to stop.

    By groups; where all are of one, by recording.
    """
    single = len({groups[place] for place in places}) < 2
    names = [str(place) for place in range(len(groups))] if single else groups
    if len(places) < ONE_FOLD_FROM:
        return shared(places, names, FOLDS)
    return shared(places, names, round(1 / TEST_SHARE))[:1]


def shared(places: Places, groups: Sequence[str], most: int) -> list[Places]:
    """At most `most` parts of about the same size, no group in two of them."""
    members: dict[str, list[int]] = {}
    for place in places.tolist():
        members.setdefault(groups[place], []).append(place)
    parts: list[list[int]] = [[] for _ in range(min(most, len(members)))]
    for name in sorted(members, key=lambda name: (-len(members[name]), _hash(name))):
        min(parts, key=len).extend(members[name])
    return [np.array(sorted(part)) for part in parts]


def _chosen(names: list[str], groups: Sequence[str], by: str, hold_out: Sequence[str]) -> set[str]:
    if unknown := [name for name in hold_out if name not in names]:
        known = ", ".join(sorted(names)[:10])
        raise UsageError(f"no recording has {by or 'the name'} {unknown[0]!r}: there are {known}")
    if hold_out:
        if len(set(hold_out)) == len(names):
            raise UsageError("--hold-out names every group: nothing is left to learn from")
        return set(hold_out)
    chosen: list[str] = []
    while sum(groups.count(name) for name in chosen) < TEST_SHARE * len(groups) and len(chosen) < len(names) - 1:
        chosen.append(names[len(chosen)])
    return set(chosen)


def _words(chosen: list[str], by: str, test: int, total: int) -> str:
    if not by:
        return (
            f"{test} of {total} recordings are held out, one by one as no --by was given: a talker or a condition "
            "may be on both sides, and then the figures flatter"
        )
    named = ", ".join(chosen[:5]) + (", ..." if len(chosen) > 5 else "")
    return f"{test} of {total} recordings are held out: those whose {by} is {named}"


def _words_each(groups: int, parts: int, by: str) -> str:
    what = by or "recording"
    kept = "the model that is kept learnt from all"
    if parts == groups:
        return f"each of {groups} groups ({what}) was left out once; {kept}"
    return f"{groups} groups ({what}) were left out in {parts} parts, each once; {kept}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
