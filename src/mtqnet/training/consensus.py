"""The G-MOS label as a consensus: the anchored label and what predictors say that learned from people.

An anchored G-MOS knows the noise and the damage exactly but was fitted to few listeners; DNSMOS P.808 and
Distill-MOS learned from many listeners' votes but see no reference. Each is brought to the mean and spread of the
anchored label, then all are averaged, and the mean is brought to that mean and spread once more: averaging
narrows, and a scale must keep its ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.targets import G_MOS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """y = slope x + offset"""

    slope: float
    offset: float

    def __call__(self, x: Array) -> Array:
        return self.slope * x + self.offset


@dataclass(frozen=True)
class Consensus:
    """Fitted on the training clips, used on all."""

    peers: Mapping[str, Line]
    """By key: from the peer's scale to the anchored one"""
    widen: Line
    """From the mean of all to the anchored scale"""

    def label(self, anchored: Array, said: Mapping[str, Array]) -> Array:
        """(clips,) anchored labels and the peers' scores -> (clips,), 1 to 5; NaN where a part is unknown."""
        mean = _mean(anchored, [line(said[key]) for key, line in self.peers.items()])
        return np.clip(self.widen(mean), G_MOS.low, G_MOS.high)


def fit(anchored: Array, said: Mapping[str, Array], keys: Sequence[str]) -> Consensus:
    """From (clips,) anchored labels and scores of peers by key; clips with NaN in either count for nothing."""
    peers = {key: _line(said[key], anchored) for key in keys}
    mean = _mean(anchored, [line(said[key]) for key, line in peers.items()])
    return Consensus(peers, _line(mean, anchored))


def _mean(anchored: Array, others: Sequence[Array]) -> Array:
    return np.asarray(np.mean([anchored, *others], axis=0))


def _line(x: Array, y: Array) -> Line:
    """What brings x to the mean and spread of y, over the clips that have both."""
    both = ~np.isnan(x) & ~np.isnan(y)
    slope = float(np.std(y[both]) / np.std(x[both]))
    return Line(slope, float(np.mean(y[both]) - slope * np.mean(x[both])))
