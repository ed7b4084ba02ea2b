"""Conditions on the clips of a corpus: `s_mos<2`, `split=test`, `steps=Opus`, `Opus.kbps<12`.

The left side is a column of the table, `steps`, or a parameter of a step; then comes one of < <= > >= = !=.
Numbers take all six, words take = and !=.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, get_args, get_type_hints

from mtqnet.corpus.chain import scene_names
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.recipe import flat
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import COLUMNS, TEXT
from mtqnet.errors import CorpusError, UsageError

SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "==": operator.eq,
    "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
"""Longer signs first: `<=` must not be read as `<`."""
EQUALITY = ("=", "==", "!=")
KNOWN = tuple(name for name in COLUMNS if name != "recipe")
"""Columns that a condition may name. Recipes are queried by the parameters of their steps."""
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
FORM = re.compile(r"\s*(\w+)(?:\.(\w+))?\s*(" + "|".join(SIGNS) + r")\s*(.*\S)\s*")
SHOWN = 12
"""Words that an error lists of what there is in a corpus"""

Row = Mapping[str, Any]
Value = float | str | bool


@dataclass(frozen=True)
class Condition:
    """Call with a row of the table; returns whether its clip matches."""

    text: str
    """As it was written"""
    name: str
    """A column, or a step if there is a parameter"""
    parameter: str
    """Of the step; empty for a column"""
    sign: str
    wanted: Value

    def __call__(self, row: Row) -> bool:
        """A step that occurs twice, or a parameter that is a list, fits if one of its values does.

        A clip without the step fits no condition on its parameters. `steps!=Opus`: Opus is nowhere in the clip.
        """
        found = self.values(row)
        if self.name == "steps":
            return (self.wanted in found) == (self.sign != "!=")
        return any(SIGNS[self.sign](value, self.wanted) for value in found)

    def values(self, row: Row) -> list[Value]:
        """Return the values of the row for the left side of the condition."""
        if self.parameter:
            return [self._typed(value) for value in _parameters(row, self.name, self.parameter)]
        stored = row.get(self.name)
        if self.name == "steps":
            return list(stored or ())
        return [] if stored is None else [self._typed(stored)]

    def _typed(self, value: Any) -> Value:
        if isinstance(self.wanted, bool):
            return bool(value)
        if isinstance(self.wanted, float):
            return float(value)
        return PurePath(value).name if self.parameter else str(value)


def parse(text: str) -> Condition:
    """Words -> condition. Raises UsageError with what is known where something is not."""
    match = FORM.fullmatch(text)
    if not match:
        raise UsageError(
            f"{text!r} is no condition: write as 's_mos<2', 'split=test', 'steps=Opus' or 'Opus.kbps<12', in "
            "quotes, for a shell takes < and > for itself"
        )
    name, parameter, sign, value = match.group(1), match.group(2) or "", match.group(3), match.group(4)
    kind = _parameter_type(text, name, parameter) if parameter else _column_type(text, name)
    if kind is not float and sign not in EQUALITY:
        left = f"{name}.{parameter}" if parameter else name
        raise UsageError(f"{text!r}: {left} is no number: it takes = and != only")
    return Condition(text, name, parameter, sign, _value(text, kind, value, _words(name, parameter)))


def select(rows: Sequence[dict[str, Any]], conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """Return the rows that match all conditions. Raises CorpusError if no row matches."""
    fitting = [row for row in rows if all(condition(row) for condition in conditions)]
    if fitting:
        return fitting
    if not rows or not conditions:
        raise CorpusError("the corpus has no clips: build it with --clips above 0")
    asked = " and ".join(condition.text for condition in conditions)
    alone = "; ".join(_alone(rows, condition) for condition in conditions)
    raise CorpusError(f"no clip of {len(rows)} matches {asked}. Individually: {alone}. Relax a condition")


def _alone(rows: Sequence[Row], condition: Condition) -> str:
    """What one condition leaves, and what there is to ask for."""
    count = sum(map(condition, rows))
    found = [value for row in rows for value in condition.values(row)]
    left = f"{condition.name}.{condition.parameter}" if condition.parameter else condition.name
    if not found:
        return f"{condition.text} fits none (no clip has {left})"
    return f"{condition.text} fits {count or 'none'} ({left} {_there(found)})"


def _there(found: Sequence[Value]) -> str:
    if isinstance(found[0], float):
        numbers = [float(value) for value in found]
        return f"goes from {min(numbers):g} to {max(numbers):g}"
    names = [str(value) for value, _ in Counter(found).most_common()]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"is {_listed(names[:SHOWN])}{more}"


def _parameters(row: Row, step: str, parameter: str) -> Iterable[Any]:
    """Every value of a step's parameter in a clip's recipe; lists are opened."""
    if step not in (row.get("steps") or ()):
        return
    for entry in flat(json.loads(row["recipe"])["steps"]):
        if entry["step"] == step and parameter in entry:
            value = entry[parameter]
            yield from value if isinstance(value, list) else [value]


def _column_type(text: str, name: str) -> type[Value]:
    if name in KNOWN:
        return str if name == "steps" or COLUMNS[name] == TEXT else float
    hint = f"; for clips with that step write steps={name}" if name in STEPS else ""
    raise UsageError(
        f"{text!r}: there is no column {name!r}{hint}. Columns are {_listed(KNOWN)}; a step's parameter is "
        "written as Opus.kbps"
    )


def _parameter_type(text: str, step: str, parameter: str) -> type[Value]:
    """float, bool or str. Of a list, the type of what is in it."""
    if step not in STEPS:
        raise UsageError(f"{text!r}: there is no step {step!r}. Steps are {_listed(sorted(STEPS))}")
    known = [field.name for field in fields(STEPS[step])]
    if parameter not in known:
        have = f"Its parameters are {_listed(known)}" if known else "It has no parameters"
        raise UsageError(f"{text!r}: {step} has no parameter {parameter!r}. {have}")
    hint = get_type_hints(STEPS[step])[parameter]
    kinds = {hint, *get_args(hint)}
    if bool in kinds:
        return bool
    return float if kinds & {int, float} else str


def _words(name: str, parameter: str) -> Sequence[str]:
    """Values that a column can have, where that is known; empty where anything goes."""
    known: Mapping[str, Sequence[str]] = {
        "split": SPLITS,
        "scene": scene_names(),
        "steps": sorted(STEPS),
    }
    return () if parameter else known.get(name, ())


def _value(text: str, kind: type[Value], value: str, words: Sequence[str]) -> Value:
    if kind is bool:
        if value.lower() not in TRUTH:
            raise UsageError(f"{text!r}: {value!r} is neither true nor false")
        return TRUTH[value.lower()]
    if kind is float:
        return _number(text, value)
    if words and value not in words:
        raise UsageError(f"{text!r}: there is no {value!r}. Known are {_listed(words)}")
    return value


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{text!r}: {value!r} is not a number")
    return number


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
