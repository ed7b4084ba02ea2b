"""Comparison of two uploaded sets of recordings, by evaluation/compare.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtqnet.errors import UsageError
from mtqnet.evaluation import compare
from mtqnet.evaluation.recordings import Recordings, Row
from mtqnet.scoring.scores import Scores, digits
from mtqnet.targets import BY_KEY

SIDES = ("A", "B")
SAME = {"stoi_est": 0.01, "sdi_est": 0.05}
"""Differences below this are reported as "about the same"; SDI in log10"""
SAME_MOS = 0.1
"""The same for scores on a MOS scale: smaller differences are not audible"""


@dataclass(frozen=True)
class Compared:
    """Result of a comparison."""

    first: tuple[Scores, ...]
    second: tuple[Scores, ...]
    result: dict[str, Any]
    """Result of evaluation.compare.as_json, or only the verdict if no comparison was possible"""


def compared(first: Sequence[Scores], second: Sequence[Scores], paired: bool) -> Compared:
    """Compare B with A, paired by name if `paired`; two single recordings are always a pair."""
    alone = paired and len(first) == len(second) == 1
    sides = [[replace(one, file="recording") if alone else one for one in side] for side in (first, second)]
    sets = [
        Recordings(name, Path(), tuple(Row(one, {}) for one in side))
        for name, side in zip(SIDES, sides, strict=True)
    ]
    try:
        result = json.loads(compare.as_json(compare.compare(sets, paired, "", None)))
    except UsageError as error:
        result = {"verdict": [str(error)], "comparisons": []}
    if alone and result["comparisons"]:
        result["verdict"] = _of_one_pair(first[0], second[0], result["comparisons"])
    return Compared(tuple(first), tuple(second), result)


def _of_one_pair(first: Scores, second: Scores, comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """Return the verdict for two single recordings."""
    higher: list[str] = []
    lower: list[str] = []
    same: list[str] = []
    for one in comparisons:
        target = BY_KEY[one["target"]]
        before, after = first.value(target.key), second.value(target.key)
        assert before is not None and after is not None
        name = target.name.removesuffix(" (estimate)")
        better = (after > before) == target.higher_is_better
        # The table shows the same result as the sentence.
        words = f"{name} ({digits(target, before)} to {digits(target, after)})"
        small = abs(one["difference"]) < SAME.get(target.key, SAME_MOS)
        one["better"] = None if small else SIDES[1] if better else SIDES[0]
        (same if small else higher if better else lower).append(name if small else words)
    parts = [
        f"{start} {', '.join(names)}"
        for start, names in (("B is better on", higher), ("A is better on", lower), ("about the same:", same))
        if names
    ]
    text = "; ".join(parts)
    return [
        f"{text[0].upper()}{text[1:]}.",
        "One recording per system does not allow a conclusion about the systems: compare ten or more.",
    ]
