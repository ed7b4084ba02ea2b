"""Intervals of a tuned model. Those of its parent were promised for other scores, so they cannot just stay.

re-calibrated  ENOUGH or more held-out recordings carry a rating of the target: where the parent is how far off
               stays, how wide that must be is found anew (split-conformal, as training/calibrate.py)
widened        fewer: wide enough for every held-out rating of the target; for a target without ratings, by as
               much as nine in ten scores moved
dropped        the parent has none, and there are too few ratings of all its scores to make some
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mtqnet.scoring.intervals import Band, Intervals, terms
from mtqnet.targets import Target, named
from mtqnet.training import calibrate
from mtqnet.training.tuning.material import Array

ENOUGH = 20
"""Held-out ratings of a target. Split-conformal intervals hold with 9; with 20 the second largest miss tells the
width, and one odd rating does not."""


@dataclass(frozen=True)
class Margins:
    """What became of the intervals."""

    intervals: Intervals | None
    told: Mapping[str, str]
    """By target, or under `all`: what was done, in words"""


def margins(
    parent: Intervals | None, before: Mapping[str, Array], after: Mapping[str, Array], truth: Mapping[str, Array]
) -> Margins:
    """Scores of held-out recordings before and after, and their ratings, (recordings,) by target each."""
    if parent is None:
        return _made(after, truth)
    x = terms(list(named(list(parent.bands))), after)
    x_before = terms(list(named(list(parent.bands))), before)
    bands, told = {}, {}
    for target in named(list(parent.bands)):
        band, key = parent.bands[target.key], target.key
        known = ~np.isnan(truth[key]) if key in truth else np.zeros(len(x), dtype=bool)
        if known.any():
            miss = _apart(target, truth[key][known], after[key][known])
            bands[key], told[key] = _by_ratings(band, miss, x[known], parent.coverage)
        else:
            bands[key], told[key] = _by_movement(
                band, _apart(target, before[key], after[key]), x, x_before, parent
            )
    return Margins(Intervals(parent.coverage, bands), told)


def _made(after: Mapping[str, Array], truth: Mapping[str, Array]) -> Margins:
    """New intervals, where every target has ratings enough."""
    fewest = min(int((~np.isnan(truth[key])).sum()) if key in truth else 0 for key in after)
    if fewest < calibrate.LEAST:
        return Margins(None, {"all": "none: the parent has none, and not every score has ratings to make some of"})
    made = calibrate.fit(after, truth, list(after))
    return Margins(made, dict.fromkeys(after, f"calibrated on {fewest} or more held-out recordings"))


def _by_ratings(band: Band, miss: Array, x: Array, coverage: float) -> tuple[Band, str]:
    """The parent's shape, as wide as held-out ratings ask."""
    ratio = np.sort(miss / replace(band, factor=1.0).half_width(x))
    if len(ratio) >= ENOUGH:
        place = min(math.ceil((len(ratio) + 1) * coverage), len(ratio)) - 1
        return replace(band, factor=float(ratio[place])), f"re-calibrated on {len(ratio)} held-out recordings"
    factor = max(band.factor, float(ratio[-1]))
    return replace(
        band, factor=factor
    ), f"widened by {factor / band.factor - 1:.0%}: {len(ratio)} held-out ratings"


def _by_movement(band: Band, by: Array, x: Array, x_before: Array, parent: Intervals) -> tuple[Band, str]:
    """Wide enough for where the score was and its interval there, as often as the parent's intervals hold."""
    needed = (band.half_width(x_before) + by) / replace(band, factor=1.0).half_width(x)
    factor = max(band.factor, float(np.quantile(needed, parent.coverage)))
    return replace(band, factor=factor), f"widened by {factor / band.factor - 1:.0%}: its scores moved"


def _apart(target: Target, one: Array, other: Array) -> Array:
    """(recordings,) twice -> how far apart, on the training scale."""
    return np.abs(target.to_training(one) - target.to_training(other))
