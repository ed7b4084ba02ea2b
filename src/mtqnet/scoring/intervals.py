"""90 % prediction intervals by split conformal prediction, with input-dependent width.

On the training scale of targets.py

    half width = factor * exp(weights . terms(scores))

The exponential is the typical error of the model at these scores, and `factor` is the quantile of the errors of
calibration clips relative to it (training/evaluation.py fits both). The terms are the scores, their products and,
for a model that measures it, the logarithm of the distance from the training clips. The coverage applies to
recordings like the calibration clips: unseen speakers and noises, known kinds of processing. Sources: Papadopoulos et
al., Normalized nonconformity measures for regression conformal prediction, 2008; Lei et al., JASA 113, 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.targets import Target, named

Array = NDArray[np.float64]
DISTANCE = "distance"
"""Key of the distance from the training clips among the scores"""
SMALLEST_DISTANCE = 1e-3

WIDEST = 100.0
"""Limit of a half width on the training scale, which is wider than the range of every target"""


@dataclass(frozen=True)
class Interval:
    """Ends of a 90 % prediction interval in the unit of the target, within its range.

    90 % of the labels of recordings like the calibration clips are within the interval (unseen speakers and noises,
    known kinds of processing).
    """

    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """Width of the intervals of one target."""

    weights: tuple[float, ...]
    """Weights of `terms`"""
    lowest: float
    highest: float
    """Largest weights . terms of the calibration clips; the exponent is clipped to `lowest` and `highest`"""
    factor: float

    def half_width(self, x: Array) -> Array:
        """Return the half widths (clips,) on the training scale for (clips, terms)."""
        with np.errstate(over="ignore"):  # the ends are clipped to the range of the target
            exponent = np.minimum(np.maximum(x @ np.array(self.weights), self.lowest), self.highest)
            return np.asarray(np.minimum(self.factor * np.exp(exponent), WIDEST))


@dataclass(frozen=True)
class Intervals:
    """Prediction intervals of a model, for its targets in their order."""

    coverage: float
    """Fraction of labels within the intervals, 0 to 1"""
    bands: Mapping[str, Band]
    """Width by target key"""

    def of(self, values: Mapping[str, float]) -> dict[str, Interval]:
        """Return the interval of each score of one recording by target key."""
        low, high = self.ends({key: np.array([value]) for key, value in values.items()})
        return {key: Interval(float(low[key][0]), float(high[key][0])) for key in self.bands}

    def ends(self, values: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return lower and upper ends, (clips,) each by target key, for scores of the same form."""
        x = terms(list(named(list(self.bands))), values)
        low, high = {}, {}
        for target in named(list(self.bands)):
            centre, half = target.to_training(values[target.key]), self.bands[target.key].half_width(x)
            low[target.key], high[target.key] = (_within(target, end) for end in (centre - half, centre + half))
        return low, high


def terms(targets: Sequence[Target], values: Mapping[str, Array]) -> Array:
    """Return (clips, terms) for scores (clips,) by target key: 1, each score on the training scale, all products.

    If `values` has DISTANCE, the last term is its logarithm.
    """
    scores = [target.to_training(values[target.key]) for target in targets]
    products = [scores[i] * scores[j] for i in range(len(scores)) for j in range(i, len(scores))]
    distance = [np.log(np.maximum(values[DISTANCE], SMALLEST_DISTANCE))] if DISTANCE in values else []
    return np.stack([np.ones_like(scores[0]), *scores, *products, *distance], axis=1)


def as_json(intervals: Intervals) -> dict[str, Any]:
    """Return the JSON form for a model's record."""
    bands = {key: {**vars(band), "weights": list(band.weights)} for key, band in intervals.bands.items()}
    return {"coverage": intervals.coverage, "bands": bands}


def parse(stored: Mapping[str, Any], targets: Sequence[str], distance: bool = False) -> Intervals:
    """Read the result of `as_json` for these targets, some of which may have no intervals.

    Raises KeyError, TypeError or ValueError.
    """
    calibrated = [key for key in targets if key in stored["bands"]]
    if not calibrated:
        raise ValueError("has intervals of none of its targets")
    count = len(calibrated)
    expected = 1 + count + count * (count + 1) // 2 + distance
    bands = {}
    for key in calibrated:
        band = stored["bands"][key]
        weights = tuple(float(weight) for weight in band["weights"])
        if len(weights) != expected:
            raise ValueError(f"has {len(weights)} weights for intervals of {key}, expected {expected}")
        bands[key] = Band(weights, float(band["lowest"]), float(band["highest"]), float(band["factor"]))
        numbers = (*weights, bands[key].lowest, bands[key].highest, bands[key].factor)
        if not np.isfinite(numbers).all() or bands[key].lowest > bands[key].highest or bands[key].factor < 0:
            raise ValueError(f"intervals of {key} with impossible numbers")
    coverage = float(stored["coverage"])
    if not 0 < coverage < 1:
        raise ValueError(f"intervals with a coverage of {coverage}")
    return Intervals(coverage, bands)


def _within(target: Target, end: Array) -> Array:
    return np.minimum(np.maximum(target.from_training(end), target.low), target.high)
