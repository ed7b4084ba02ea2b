"""All kinds of processing, by group, with what each needs; and the ordinary case among clips."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtqnet.corpus import chain
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.coding import Coding
from mtqnet.corpus.degradations.packages import Need, missing
from mtqnet.corpus.recipe import flat

FULL_STRENGTH: Mapping[str, float] = {"wet": 1.0, "passes": 1, "share": 1.0, "limit_db": 100.0, "auto_gain": 0}
"""Parameter of a suppressor -> its value at full strength; a suppressor without any of them always counts."""


@dataclass(frozen=True)
class Kind:
    """One kind of processing."""

    name: str
    group: str
    """codec, suppressor or other"""
    held_out: str
    """Split whose clips alone go through it; empty if it may occur in any"""
    missing: tuple[Need, ...]
    """What is not installed of what it needs"""


def group(name: str) -> str:
    """codec, suppressor or other."""
    step = STEPS[name]
    if issubclass(step, Coding):
        return "codec"
    return "suppressor" if hasattr(step, "full") else "other"


def kinds() -> list[Kind]:
    """All kinds in the order of a chain."""
    held_out = {name: split for split, names in chain.HELD_OUT.items() for name in names}
    return [Kind(name, group(name), held_out.get(name, ""), tuple(missing(name))) for name in STEPS]


def is_ordinary(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last processing is one suppressor at full strength, without a codec or other suppressor before.

    `steps` are those of a recipe as data; only the level of the playback may follow.
    """
    processed = [step for step in flat(steps) if step["step"] != "Playback"]
    groups = [group(step["step"]) if step["step"] in STEPS else "other" for step in processed]
    if not groups or groups[-1] != "suppressor" or len(groups) - groups.count("other") > 1:
        return False
    spliced = any(step["step"] == "Splice" for step in processed)
    last = processed[-1]
    return not spliced and all(last[name] == full for name, full in FULL_STRENGTH.items() if name in last)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many kinds of processing occur in the clips of a table, and how many clips are the ordinary case."""
    recipes = [json.loads(row["recipe"])["steps"] for row in rows]
    found = {step["step"] for steps in recipes for step in flat(steps)} & set(STEPS)
    codecs, suppressors = (sum(group(name) == kind for name in found) for kind in ("codec", "suppressor"))
    ordinary = sum(is_ordinary(steps) for steps in recipes)
    return (
        f"{len(found)} of {len(STEPS)} kinds of processing occur, {codecs} codecs and {suppressors} suppressors among "
        f"them. The ordinary case (one suppressor at full strength, no other processing after it): {ordinary} clips, "
        f"{ordinary / max(1, len(recipes)):.1%}."
    )
