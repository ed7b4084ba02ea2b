"""Division of recordings into training and test data; groups are never divided.

A group is a speaker, a condition or a room: the value of the column that --by names. The division depends on a
hash of the groups' names, so that it is the same for every call, every order of the table and every seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError

TEST_SHARE = 0.2
"""Fraction of test recordings; the last group may make it larger"""
MOST_NAMED = 10
"""Groups that a message names"""
MOST_ROUNDS = 10
"""Largest number of rounds; if there are more groups, several are tested at a time"""
FOLDS = 5
"""Number of parts in the search for the number of epochs"""
ONE_FOLD_FROM = 500
"""With this many recordings, one validation part is used in that search, because it is as reliable as five"""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Round:
    """One training: recordings for training and for testing."""

    train: Indices
    test: Indices


@dataclass(frozen=True)
class Plan:
    """All trainings of a fine-tuning."""

    rounds: tuple[Round, ...]
    final: Indices
    """Recordings on which the resulting model is trained"""
    description: str
    """How recordings were divided, for people"""

    @property
    def test(self) -> Indices:
        """All test recordings, in the order of the rounds."""
        return np.concatenate([each.test for each in self.rounds])


def plan(groups: Sequence[str], by: str, hold_out: Sequence[str], each: bool) -> Plan:
    """Divide recordings.

    Args:
        groups: Group of each recording.
        by: Name of the grouping column, for messages; empty: every recording is a group.
        hold_out: Groups for testing; empty: a fifth of the recordings.
        each: Whether every group is tested once, and the resulting model is trained on all recordings.

    Raises:
        UsageError: If there is only one group, or a group in `hold_out` does not exist.
    """
    names = sorted(set(groups), key=by_hash)
    if len(names) < 2:
        raise UsageError(one_group(by, names[0]))
    if each and hold_out:
        raise UsageError("--leave-out-each and --hold-out exclude each other: delete one of them")
    everything = np.arange(len(groups))
    if each:
        parts = divided(everything, groups, MOST_ROUNDS)
        rounds = tuple(Round(np.setdiff1d(everything, part), part) for part in parts)
        return Plan(rounds, everything, _description_each(len(names), len(parts), by))
    chosen = _chosen(names, groups, by, hold_out)
    test = np.flatnonzero([name in chosen for name in groups])
    train = np.setdiff1d(everything, test)
    return Plan((Round(train, test),), train, _description(sorted(chosen), by, len(test), len(groups)))


def one_group(by: str, name: str) -> str:
    """Return the message for recordings that are all in one group; `by` is empty if recordings are the groups."""
    if by:
        return (
            f"all recordings have the same group ({by} is {name!r}), so that no group can be tested separately: use "
            "another column for --by"
        )
    return f"all rows are about the same recording ({name}), so that none can be tested separately: add recordings"


def folds(recordings: Indices, groups: Sequence[str]) -> list[Indices]:
    """Divide these recordings into the parts of a cross-validation, by group or, within one group, by
    recording."""
    single = len({groups[index] for index in recordings}) < 2
    names = [str(index) for index in range(len(groups))] if single else groups
    if len(recordings) < ONE_FOLD_FROM:
        return divided(recordings, names, FOLDS)
    return divided(recordings, names, round(1 / TEST_SHARE))[:1]


def divided(recordings: Indices, groups: Sequence[str], most: int) -> list[Indices]:
    """Divide recordings into at most `most` parts of similar size without dividing a group."""
    members: dict[str, list[int]] = {}
    for index in recordings.tolist():
        members.setdefault(groups[index], []).append(index)
    parts: list[list[int]] = [[] for _ in range(min(most, len(members)))]
    for name in sorted(members, key=lambda name: (-len(members[name]), by_hash(name))):
        min(parts, key=len).extend(members[name])
    return [np.array(sorted(part)) for part in parts]


def _chosen(names: list[str], groups: Sequence[str], by: str, hold_out: Sequence[str]) -> set[str]:
    if unknown := [name for name in hold_out if name not in names]:
        known = ", ".join([*sorted(names)[:MOST_NAMED], *(["..."] if len(names) > MOST_NAMED else [])])
        if not by:
            raise UsageError(
                f"--hold-out: no recording is {unknown[0]!r}: name the grouping column with --by, or give one of the "
                f"recordings: {known}"
            )
        raise UsageError(f"--hold-out: no recording has {by} {unknown[0]!r}; known values: {known}")
    if hold_out:
        if len(set(hold_out)) == len(names):
            raise UsageError(
                "--hold-out names every group, so that no recording is left for training: delete one of them"
            )
        return set(hold_out)
    chosen: list[str] = []
    while sum(groups.count(name) for name in chosen) < TEST_SHARE * len(groups) and len(chosen) < len(names) - 1:
        chosen.append(names[len(chosen)])
    return set(chosen)


def _description(chosen: list[str], by: str, test: int, total: int) -> str:
    if not by:
        return (
            f"{test} of {total} recordings are held out one by one, because --by was not given: the same speaker "
            "or condition may be in training and held-out data, which makes the results too optimistic"
        )
    names = ", ".join(chosen[:5]) + (", ..." if len(chosen) > 5 else "")
    return f"{test} of {total} recordings are held out: those whose {by} is {names}"


def _description_each(groups: int, parts: int, by: str) -> str:
    what = by or "recording"
    result = "the resulting model is trained on all recordings"
    if parts == groups:
        return f"each of {groups} groups ({what}) was held out once; {result}"
    return f"{groups} groups ({what}) were held out in {parts} parts, each once; {result}"


def by_hash(name: str) -> str:
    """Return a sort key in an order that does not depend on the table."""
    return hashlib.sha256(name.encode()).hexdigest()
