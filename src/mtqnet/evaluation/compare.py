"""Compare sets of recordings: differences per target with intervals, effect sizes and a verdict.

Two sets are compared recording by recording (paired: recordings with the same name, so that differences between
the recordings of one set do not matter), or set by set (unpaired). SDI is a ratio: its differences are those of
log10, shown as factors. Each interval has 95 % coverage by itself: on average, one of twenty comparisons without
a true difference shows one by chance.

This module needs numpy only, so that `mtqnet compare` works in the core installation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import statistics
from mtqnet.evaluation.recordings import Recordings, Row, groups, match_or_bare, natural, values
from mtqnet.evaluation.statistics import Difference, Estimate
from mtqnet.scoring import models
from mtqnet.scoring.models import ModelRecord
from mtqnet.targets import BY_KEY, KEYS, Target

WHOLE = ""
"""Group of all recordings"""
WITHOUT_PAIRS = "use `mtqnet compare --unpaired` for sets of different recordings"
"""What to do if no recording is in both sets"""

Pair = tuple[Row, Row]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two sets on one target, in one group."""

    target: str
    group: str
    """Value of the grouping column; WHOLE for all recordings"""
    first: str
    second: str
    first_mean: Estimate
    second_mean: Estimate
    difference: Difference
    """Second minus first; of log10 for SDI"""
    probability: float | None = None
    """That the second is better; None if the error of the model's differences is not known"""

    @property
    def second_is_better(self) -> bool:
        return (self.difference.value > 0) == BY_KEY[self.target].higher_is_better


@dataclass(frozen=True)
class Compared:
    """Result of `mtqnet compare`."""

    names: tuple[str, ...]
    paired: bool
    comparisons: tuple[Comparison, ...]
    unscored: tuple[tuple[str, str], ...]
    """Recordings without a score, with the reason"""
    alone: tuple[str, ...]
    """Recordings that no other set has"""
    recordings: int
    notes: tuple[str, ...] = ()
    """What the user should know: duplicated rows, scores of different models"""


def compare(
    sets: Sequence[Recordings], paired: bool, by: str, table: Path | None, model: ModelRecord | None = None
) -> Compared:
    """Compare every two of the sets.

    Args:
        sets: Two or more sets of recordings.
        paired: Compare recordings with the same name; else the sets as a whole.
        by: Column whose values are compared separately, too; empty for none.
        table: CSV file with the column `by`; None: the tables of scores have it.
        model: Record of a model that the sets may have been scored by, in addition to the shipped ones.

    Raises:
        UsageError: Fewer than two sets, or two sets without a common score or name.
    """
    if len(sets) < 2:
        raise UsageError("compare needs two or more sets of recordings: give two folders or tables")
    names = _names(sets)
    group_of = [_group_of(one, by, table) for one in sets]
    errors = difference_errors(sets, model) if paired else {}
    found: list[Comparison] = []
    alone: set[str] = set()
    for first, second in combinations(range(len(sets)), 2):
        a, b = sets[first], sets[second]
        keys = _shared_keys(a, b)
        rows_a, rows_b = a.scored, b.scored
        groups_a, groups_b = ([group_of[n].get(row.file) for row in sets[n].scored] for n in (first, second))
        if paired:
            rows_a, rows_b = zip(*pair(a, b), strict=True)
            groups_a = groups_b = [group_of[first].get(row.file) for row in rows_a]
            alone |= {row.file for row in (*a.scored, *b.scored)} - {row.file for row in (*rows_a, *rows_b)}
        common = {group for group in groups_a if group is not None} & set(groups_b)
        for key in keys:
            values_a, values_b = values(rows_a, key), values(rows_b, key)
            for group in (WHOLE, *sorted(common, key=natural)):
                x, y = (
                    numbers[[group in (WHOLE, one) for one in groups]]
                    for numbers, groups in ((values_a, groups_a), (values_b, groups_b))
                )
                difference = statistics.paired(x, y) if paired else statistics.unpaired(x, y)
                means = statistics.mean(x), statistics.mean(y)
                one = Comparison(key, group, names[first], names[second], *means, difference)
                found.append(replace(one, probability=probability(one, errors.get(key))))
    notes = [note for one in sets for note in one.notes]
    if len(frozenset[str]().union(*(one.models for one in sets))) > 1:
        notes.append(
            "the scores come from different models: a difference may be one of the models, not of the recordings"
        )
    unscored = tuple(reason for one in sets for reason in one.unscored)
    total = sum(len(one.rows) for one in sets)
    return Compared(names, paired, tuple(found), unscored, tuple(sorted(alone)), total, tuple(notes))


def difference_errors(sets: Sequence[Recordings], model: ModelRecord | None = None) -> Mapping[str, float]:
    """Return the error of differences by target of the model that scored all these sets; empty if unknown."""
    used = frozenset[str]().union(*(one.models for one in sets))
    if len(used) != 1:
        return {}
    records = chain([model] if model else [], map(models.find, models.shipped()))
    return next((each.difference_error for each in records if each.sha256 in used), {})


def probability(one: Comparison, error: float | None) -> float | None:
    """Return the probability that the second set is better than the first, in the order of the labels.

    The variance of the difference is that of its mean over the recordings plus that of the model, whose error for a
    kind of processing does not become smaller with more recordings. So the probability is calibrated for a single
    pair, and cautious for many.
    """
    d = one.difference
    if error is None or not math.isfinite(d.value):
        return None
    half_width = (d.high - d.low) / 2 if math.isfinite(d.high - d.low) else 0.0
    spread = half_width / NormalDist().inv_cdf((1 + statistics.LEVEL) / 2)
    above = NormalDist(0, math.hypot(error, spread)).cdf(d.value)
    return above if BY_KEY[one.target].higher_is_better else 1 - above


def pair(first: Recordings, second: Recordings, without: str = WITHOUT_PAIRS) -> list[Pair]:
    """Scored recordings of both sets with the same path within their folders; if there are none, the same name.

    Raises UsageError if no name is in both; `without` is what to do then with sets of different recordings.
    """
    rows = second.scored
    shorts = [first.short(row) for row in first.scored]
    places = match_or_bare(shorts, first.root, [row.file for row in rows])
    pairs = [(row, rows[place]) for row, place in zip(first.scored, places, strict=True) if place is not None]
    if not pairs:
        raise UsageError(
            f"no recording has the same name in {first.name} and {second.name}: give both sets the same file names, or "
            f"{without}"
        )
    return pairs


def verdict(compared: Compared) -> list[str]:
    """One sentence for every two sets and every group; groups with too few recordings share one."""
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
        f"{_list(names)}: too few recordings to detect a difference between {first} and {second}."
        for (first, second), names in small.items()
    ]
    return sentences


def said(target: Target, difference: Estimate) -> str:
    """The size of a difference in words: "by 0.31 [0.22, 0.40]", or "by a factor of 23 [18, 29]"."""
    value, low, high = difference.value, difference.low, difference.high
    if value < 0:
        value, low, high = -value, -high, -low
    if target.log:
        decimals = 2 if 10**value < 2 else 1 if 10**value < 10 else 0
        return f"by a factor of {10**value:.{decimals}f} [{10**low:.{decimals}f}, {10**high:.{decimals}f}]"
    decimals = 2 if target.high > 1 else 3
    return f"by {value:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def _sentence(those: Sequence[Comparison]) -> str:
    one = those[0]
    where = f"{one.group}: " if one.group != WHOLE else ""
    items = one.difference.items
    if not one.difference.enough:
        return (
            f"{where}{items} recordings are too few to detect a difference between {one.first} and {one.second}."
        )
    parts = []
    for better in (True, False):
        told = [
            f"{BY_KEY[c.target].short_name} {said(BY_KEY[c.target], c.difference)}"
            for c in those
            if c.difference.found and c.second_is_better is better
        ]
        if told:
            parts.append(f"{one.second} is {'better' if better else 'worse'} than {one.first} on {_list(told)}")
    if same := [BY_KEY[c.target].short_name for c in those if not c.difference.found]:
        parts.append(
            f"no difference was found on {_list(same)}"
            if parts
            else f"no difference was found between {one.first} and {one.second} on {_list(same)}"
        )
    return f"{where}{'; '.join(parts)}."


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _group_of(recordings: Recordings, by: str, table: Path | None) -> dict[str, str]:
    """Group of each file that has one."""
    found = groups(recordings, by, table) if by else {}
    return {row.file: name for name, rows in found.items() for row in rows}


def _shared_keys(first: Recordings, second: Recordings) -> list[str]:
    for one in (first, second):
        if not one.scored:
            raise UsageError(
                f"{one.name} has no recording with a score: mtqnet score {one.name} states the reasons"
            )
    keys = [key for key in KEYS if key in first.keys and key in second.keys]
    if not keys:
        raise UsageError(f"{first.name} and {second.name} have no score in common: score both with the same model")
    return keys


def _names(sets: Sequence[Recordings]) -> tuple[str, ...]:
    """Last part of each path; the full paths if two of these are equal."""
    short = [Path(one.name).stem if Path(one.name).is_file() else Path(one.name).name for one in sets]
    chosen = short if len(set(short)) == len(short) and all(short) else [one.name for one in sets]
    if len(set(chosen)) < len(chosen):
        raise UsageError(
            f"{next(name for name in chosen if chosen.count(name) > 1)} is named twice: give different sets"
        )
    return tuple(chosen)


def as_json(compared: Compared) -> str:
    """The result and the verdict as one JSON object; a value that does not exist is null."""

    def record(one: Comparison) -> dict[str, object]:
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
            "probability_second_better": None if one.probability is None else round(one.probability, 4),
            "better": (one.second if one.second_is_better else one.first) if difference.found else None,
        }  # fmt: skip

    result = {
        "sets": compared.names,
        "paired": compared.paired,
        "verdict": verdict(compared),
        "comparisons": [record(one) for one in compared.comparisons],
        "unscored": [{"file": file, "reason": reason} for file, reason in compared.unscored],
        "without_partner": compared.alone,
        "notes": compared.notes,
    }
    return json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
