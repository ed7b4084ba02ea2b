"""Intervals: between which two numbers the label of a recording like those of the calibration lies, 9 times in 10.

Split-conformal prediction with a width that depends on the input. On the training scale of targets.py

    half width = factor * exp(weights . terms(scores))

where the exponential says how far off the model usually is at such scores, and `factor` is the quantile of what
calibration clips showed beyond it (training/calibrate.py fits both). The promise holds for recordings that are
like the calibration clips: unseen speakers and noises, known kinds of processing. Sources: Papadopoulos et al.,
Normalized nonconformity measures for regression conformal prediction, 2008; Lei et al., JASA 113, 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.targets import Target, named

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """In the target's own unit, within its range."""

    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """The width of one target's intervals."""

    weights: tuple[float, ...]
    """Of `terms`"""
    lowest: float
    highest: float
    """Ends of weights . terms over the calibration clips: beyond them nothing is known"""
    factor: float

    def half_width(self, x: Array) -> Array:
        """(clips, terms) -> (clips,), on the training scale."""
        exponent = np.clip(x @ np.array(self.weights), self.lowest, self.highest)
        return np.asarray(self.factor * np.exp(exponent))


@dataclass(frozen=True)
class Intervals:
    """Bands of the targets of a model, which are its scores in that order."""

    coverage: float
    """Share of labels that lie within, 0 to 1"""
    bands: Mapping[str, Band]
    """By target key"""

    def of(self, values: Mapping[str, float]) -> dict[str, Interval]:
        """The interval of each score of one recording, by target."""
        low, high = self.ends({key: np.array([value]) for key, value in values.items()})
        return {key: Interval(float(low[key][0]), float(high[key][0])) for key in self.bands}

    def ends(self, values: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Scores of many recordings, (clips,) each by target -> their lower and upper ends likewise."""
        x = terms(list(named(list(self.bands))), values)
        low, high = {}, {}
        for target in named(list(self.bands)):
            middle, half = target.to_training(values[target.key]), self.bands[target.key].half_width(x)
            low[target.key], high[target.key] = (_within(target, end) for end in (middle - half, middle + half))
        return low, high


def terms(targets: Sequence[Target], values: Mapping[str, Array]) -> Array:
    """Scores (clips,) by target -> (clips, terms): 1, each score on the training scale, and all their products."""
    scores = [target.to_training(values[target.key]) for target in targets]
    products = [scores[i] * scores[j] for i in range(len(scores)) for j in range(i, len(scores))]
    return np.stack([np.ones_like(scores[0]), *scores, *products], axis=1)


def as_json(intervals: Intervals) -> dict[str, Any]:
    """What a model's record holds of them."""
    bands = {key: {**vars(band), "weights": list(band.weights)} for key, band in intervals.bands.items()}
    return {"coverage": intervals.coverage, "bands": bands}


def parse(stored: Mapping[str, Any], targets: Sequence[str]) -> Intervals:
    """What `as_json` wrote, for a model of these targets. Raises KeyError, TypeError or ValueError."""
    count = len(targets)
    expected = 1 + count + count * (count + 1) // 2
    bands = {}
    for key in targets:
        band = stored["bands"][key]
        weights = tuple(float(weight) for weight in band["weights"])
        if len(weights) != expected:
            raise ValueError(f"has {len(weights)} weights for intervals of {key}, expected {expected}")
        bands[key] = Band(weights, float(band["lowest"]), float(band["highest"]), float(band["factor"]))
    return Intervals(float(stored["coverage"]), bands)


def _within(target: Target, end: Array) -> Array:
    return np.clip(target.from_training(end), target.low, target.high)
