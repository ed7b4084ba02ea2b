"""Prediction intervals of a fine-tuned model; those of the original model belong to other scores.

re-calibrated  with at least ENOUGH test ratings of a target: the shape of the original intervals is kept and
               their width is fitted again (split conformal, as in calibration.py)
widened        with fewer: wide enough for every test rating; for a target without ratings, by as much as nine
               in ten scores changed
dropped        if the original model has no intervals, and there are too few ratings to fit new ones
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mtqnet.scoring.intervals import Band, Intervals, terms
from mtqnet.targets import Target, named
from mtqnet.training import calibration
from mtqnet.training.finetune.data import Array

ENOUGH = 20
"""Held-out ratings of a target. Split conformal intervals are valid from 9 on; with 20 the second largest error
determines the width, so that one outlier does not"""


@dataclass(frozen=True)
class TunedIntervals:
    """Intervals of the fine-tuned model, and how they were determined."""

    intervals: Intervals | None
    messages: Mapping[str, str]
    """By target, or for `all`"""


def tuned_intervals(
    original: Intervals | None,
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    truth: Mapping[str, Array],
) -> TunedIntervals:
    """Determine the intervals of a fine-tuned model.

    Args:
        original: Intervals of the original model.
        before: Scores of test recordings by the original model, (recordings,) by target.
        after: Scores by the fine-tuned model.
        truth: Ratings; NaN where unknown.
    """
    if original is None:
        return _fitted(after, truth)
    x = terms(list(named(list(original.bands))), after)
    x_before = terms(list(named(list(original.bands))), before)
    bands, messages = {}, {}
    for target in named(list(original.bands)):
        band, key = original.bands[target.key], target.key
        known = ~np.isnan(truth[key]) if key in truth else np.zeros(len(x), dtype=bool)
        if known.any():
            error = _distance(target, truth[key][known], after[key][known])
            bands[key], messages[key] = _by_ratings(band, error, x[known], original.coverage)
        else:
            change = _distance(target, before[key], after[key])
            bands[key], messages[key] = _by_change(band, change, x, x_before, original)
    return TunedIntervals(Intervals(original.coverage, bands), messages)


def _fitted(after: Mapping[str, Array], truth: Mapping[str, Array]) -> TunedIntervals:
    """Fit new intervals, if every target has enough ratings."""
    fewest = min(int((~np.isnan(truth[key])).sum()) if key in truth else 0 for key in after)
    if fewest < calibration.LEAST:
        message = (
            f"none: the original model has none, and not every score has {calibration.LEAST} held-out ratings to "
            "fit new ones"
        )
        return TunedIntervals(None, {"all": message})
    intervals = calibration.fit(after, truth, list(after))
    return TunedIntervals(intervals, dict.fromkeys(after, f"calibrated on at least {fewest} held-out recordings"))


def _by_ratings(band: Band, error: Array, x: Array, coverage: float) -> tuple[Band, str]:
    """Keep the original shape, as wide as the test ratings require."""
    ratio = error / replace(band, factor=1.0).half_width(x)
    if len(ratio) >= ENOUGH:
        factor = calibration.conformal_quantile(ratio, coverage)
        return replace(band, factor=factor), f"re-calibrated on {len(ratio)} held-out recordings"
    factor = max(band.factor, float(ratio.max()))
    widened = factor / band.factor - 1
    return replace(band, factor=factor), f"widened by {widened:.0%}: {len(ratio)} held-out ratings"


def _by_change(band: Band, change: Array, x: Array, x_before: Array, original: Intervals) -> tuple[Band, str]:
    """Wide enough to contain the original intervals, as often as these contain the label."""
    needed = (band.half_width(x_before) + change) / replace(band, factor=1.0).half_width(x)
    factor = max(band.factor, float(np.quantile(needed, original.coverage)))
    return replace(band, factor=factor), f"widened by {factor / band.factor - 1:.0%}: its scores changed"


def _distance(target: Target, one: Array, other: Array) -> Array:
    """(recordings,) twice -> absolute difference on the training scale."""
    return np.abs(target.to_training(one) - target.to_training(other))
