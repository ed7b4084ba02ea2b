"""Which of several sets of recordings is better: differences per target, with intervals, effects and a verdict.

Two sets are compared recording by recording where their names agree (paired: what the recordings differ in among
themselves does not count), or as wholes (unpaired). SDI is a ratio: its differences are of log10, told as factors.
Every interval is one of 95 % by itself: of twenty differences that are none, one is found by chance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import bootstrap, matching
from mtqnet.evaluation.bootstrap import Difference, Estimate
from mtqnet.evaluation.recordings import Recordings, Row, groups, natural, values
from mtqnet.targets import BY_KEY, KEYS, Target

WHOLE = ""
"""Group of all recordings"""

Pair = tuple[Row, Row]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two sets on one target, in one group."""

    target: str
    group: str
    """Value of the column asked for; WHOLE for all recordings"""
    first: str
    second: str
    first_mean: Estimate
    second_mean: Estimate
    difference: Difference
    """Second less first; of log10 for SDI"""

    @property
    def second_is_better(self) -> bool:
        return (self.difference.value > 0) == BY_KEY[self.target].higher_is_better


@dataclass(frozen=True)
class Compared:
    """What came out."""

    names: tuple[str, ...]
    paired: bool
    comparisons: tuple[Comparison, ...]
    unscored: tuple[tuple[str, str], ...]
    """Recordings that have no score, and why"""
    alone: tuple[str, ...]
    """Recordings that no other set has"""
    recordings: int


def compare(sets: Sequence[Recordings], paired: bool, by: str, table: Path | None) -> Compared:
    """Every two of the sets, over all recordings and within each value of the column `by` (unless that is empty).

    Raises UsageError for fewer than two sets, and where two have no score or no name in common.
    """
    if len(sets) < 2:
        raise UsageError("name two or more sets of recordings to compare")
    names = _names(sets)
    told = [_groups(one, by, table) for one in sets]
    found: list[Comparison] = []
    alone: set[str] = set()
    for first, second in combinations(range(len(sets)), 2):
        a, b, both = sets[first], sets[second], (names[first], names[second])
        keys = _shared_keys(a, b)
        if paired:
            pairs = pair(a, b)
            alone |= _alone(a, b, pairs)
            found += [one for key in keys for one in _paired(key, both, pairs, told[first])]
        else:
            found += [one for key in keys for one in _unpaired(key, both, a, b, (told[first], told[second]))]
    unscored = tuple(reason for one in sets for reason in one.unscored)
    return Compared(
        names, paired, tuple(found), unscored, tuple(sorted(alone)), sum(len(one.rows) for one in sets)
    )


def pair(first: Recordings, second: Recordings) -> list[Pair]:
    """Scored recordings of both that are the same by path from their folders, or, if none is, by name alone.

    Raises UsageError where no name is in both.
    """
    rows = second.scored
    shorts = [first.short(row) for row in first.scored]
    places = matching.match_or_bare(shorts, first.root, [row.file for row in rows])
    pairs = [(row, rows[place]) for row, place in zip(first.scored, places, strict=True) if place is not None]
    if not pairs:
        raise UsageError(
            f"no recording has the same name in {first.name} and {second.name}: compare them with --unpaired"
        )
    return pairs


def verdict(compared: Compared) -> list[str]:
    """A plain sentence for every two sets and every group; groups with too few recordings share one."""
    seen: dict[tuple[str, str, str], list[Comparison]] = {}
    for one in compared.comparisons:
        seen.setdefault((one.first, one.second, one.group), []).append(one)
    sentences, small = [], dict[tuple[str, str], list[str]]()
    for (first, second, group), those in seen.items():
        if those[0].difference.enough or group == WHOLE:
            sentences.append(_sentence(those))
        else:
            small.setdefault((first, second), []).append(group)
    sentences += [
        f"{_list(names)}: too few recordings to tell {second} from {first}."
        for (first, second), names in small.items()
    ]
    return sentences


def said(target: Target, difference: Estimate) -> str:
    """How much, for people: "by 0.31 [0.22, 0.40]", or "by a factor of 1.52 [1.20, 1.92]"."""
    value, low, high = difference.value, difference.low, difference.high
    if value < 0:
        value, low, high = -value, -high, -low
    if target.log:
        return f"by a factor of {10**value:.2f} [{10**low:.2f}, {10**high:.2f}]"
    decimals = 2 if target.high > 1 else 3
    return f"by {value:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def _sentence(those: Sequence[Comparison]) -> str:
    one = those[0]
    where = f"{one.group}: " if one.group != WHOLE else ""
    items = one.difference.items
    if not one.difference.enough:
        return f"{where}{items} recordings are too few to tell {one.second} from {one.first}."
    parts = []
    for better in (True, False):
        told = [
            f"{_name(c.target)} {said(BY_KEY[c.target], c.difference)}"
            for c in those
            if c.difference.found and c.second_is_better is better
        ]
        if told:
            parts.append(f"{one.second} is {'better' if better else 'worse'} than {one.first} on {_list(told)}")
    if same := [_name(c.target) for c in those if not c.difference.found]:
        parts.append(
            f"no difference was found on {_list(same)}"
            if parts
            else f"no difference was found between {one.first} and {one.second} on {_list(same)}"
        )
    return f"{where}{'; '.join(parts)}."


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _name(key: str) -> str:
    return BY_KEY[key].name.removesuffix(" (estimate)")


def _paired(key: str, names: tuple[str, str], pairs: list[Pair], told: dict[str, str]) -> list[Comparison]:
    found = []
    for group in _in_order(told[a.file] for a, _ in pairs if a.file in told):
        inside = [(a, b) for a, b in pairs if group == WHOLE or told.get(a.file) == group]
        first, second = values([a for a, _ in inside], key), values([b for _, b in inside], key)
        found.append(_comparison(key, group, names, first, second, bootstrap.paired(first, second)))
    return found


def _unpaired(
    key: str, names: tuple[str, str], a: Recordings, b: Recordings, told: tuple[dict[str, str], dict[str, str]]
) -> list[Comparison]:
    found = []
    both = set(told[0].values()) & set(told[1].values())
    for group in _in_order(both):
        first, second = (
            values([row for row in one.scored if group == WHOLE or names_of.get(row.file) == group], key)
            for one, names_of in zip((a, b), told, strict=True)
        )
        found.append(_comparison(key, group, names, first, second, bootstrap.unpaired(first, second)))
    return found


def _comparison(
    key: str, group: str, names: tuple[str, str], first: Array, second: Array, difference: Difference
) -> Comparison:
    return Comparison(key, group, *names, bootstrap.mean(first), bootstrap.mean(second), difference)


def _in_order(told: Iterable[str]) -> list[str]:
    return [WHOLE, *sorted(set(told), key=natural)]


def _groups(recordings: Recordings, by: str, table: Path | None) -> dict[str, str]:
    """Group of each file that has one."""
    if not by:
        return {}
    return {row.file: name for name, rows in groups(recordings, by, table).items() for row in rows}


def _shared_keys(first: Recordings, second: Recordings) -> list[str]:
    for one in (first, second):
        if not one.scored:
            raise UsageError(f"{one.name} has no recording with a score")
    keys = [key for key in KEYS if key in first.keys and key in second.keys]
    if not keys:
        raise UsageError(f"{first.name} and {second.name} have no score in common")
    return keys


def _alone(first: Recordings, second: Recordings, pairs: Sequence[Pair]) -> set[str]:
    both = {row.file for pair_ in pairs for row in pair_}
    return {row.file for one in (first, second) for row in one.scored if row.file not in both}


def _names(sets: Sequence[Recordings]) -> tuple[str, ...]:
    """Last part of each path; whole paths where two would read alike."""
    short = [Path(one.name).stem if Path(one.name).is_file() else Path(one.name).name for one in sets]
    chosen = short if len(set(short)) == len(short) and all(short) else [one.name for one in sets]
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"{next(name for name in chosen if chosen.count(name) > 1)} is named twice")
    return tuple(chosen)


def as_json(compared: Compared) -> str:
    """All of it, the verdict too, as one object."""
    record = {
        "sets": compared.names,
        "paired": compared.paired,
        "verdict": verdict(compared),
        "comparisons": [_record(one) for one in compared.comparisons],
        "unscored": [{"file": file, "reason": reason} for file, reason in compared.unscored],
        "without_partner": compared.alone,
    }
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)


def _record(one: Comparison) -> dict[str, object]:
    """A comparison for JSON; what does not exist is null."""
    difference = one.difference
    numbers = {
        "first_mean": one.first_mean.value, "second_mean": one.second_mean.value, "difference": difference.value,
        "low": difference.low, "high": difference.high, "effect": difference.effect,
    }  # fmt: skip
    return {
        "target": one.target, "group": one.group or None, "first": one.first, "second": one.second,
        "scale": "log10" if BY_KEY[one.target].log else BY_KEY[one.target].unit,
        **{name: round(number, 4) if math.isfinite(number) else None for name, number in numbers.items()},
        "items": difference.items, "found": difference.found,
        "better": (one.second if one.second_is_better else one.first) if difference.found else None,
    }  # fmt: skip
