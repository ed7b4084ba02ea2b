"""The six targets: names, ranges, units and descriptions for the command line, tables, documentation and plots.

Sources: ITU-T P.835 (three scales of noisy and processed speech), EG 202 396-3 / TS 103 281 (the names
S-MOS, N-MOS, G-MOS of 3QUEST), ITU-T P.862.2 (wideband PESQ), Taal et al. 2011 (STOI), Chen et al. 2006
(speech distortion index). S-, N- and G-MOS here are 3QUEST-style and anchored on public P.835 ratings;
they are not scores of the licensed 3QUEST instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

TRAINING_SPAN = 4.0
"""Width of every target's range on the training scale. The range of a MOS, 1 to 5, has this width, so that one unit of
the loss is one MOS point and the Huber delta has the same meaning for all six."""


@dataclass(frozen=True)
class Target:
    """One score: its names, its range, and its scale in training."""

    key: str
    """Name of the column, attribute and option"""
    name: str
    """Name for people"""
    low: float
    high: float
    higher_is_better: bool
    unit: str
    standard: str
    says: str
    """Description in one sentence"""
    log: bool = False
    """Whether log10 of the value is trained and correlated"""

    @property
    def label(self) -> str:
        """Column of the true value in a label table: `pesq` is measured, `pesq_est` is estimated."""
        return self.key.removesuffix("_est")

    @property
    def short_name(self) -> str:
        """Name without the addition that the value is an estimate: PESQ."""
        return self.name.removesuffix(" (estimate)")

    def compress(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """Clip values to the range, and take log10 if `log` is set. Any shape."""
        clipped = np.minimum(np.maximum(np.asarray(value, dtype=np.float64), self.low), self.high)
        return np.log10(clipped) if self.log else clipped

    @cached_property
    def affine(self) -> tuple[float, float]:
        """`(slope, offset)` of: compressed value = slope * value on the training scale + offset."""
        low, high = self.compress(np.array([self.low, self.high])).tolist()
        return (high - low) / TRAINING_SPAN, (high + low) / 2

    def to_training(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert values in their unit to the training scale, -2 to 2. Any shape; NaN remains NaN."""
        slope, offset = self.affine
        return (self.compress(value) - offset) / slope

    def from_training(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert values on the training scale to their unit, not clipped. Any shape."""
        slope, offset = self.affine
        compressed = np.asarray(value, dtype=np.float64) * slope + offset
        return np.power(10.0, compressed) if self.log else compressed

    def clip(self, value: float) -> float:
        """Clip a value to the range."""
        return min(max(value, self.low), self.high)


S_MOS = Target(
    "s_mos", "S-MOS", 1.0, 5.0, True, "MOS", "ITU-T P.835 SIG, 3QUEST-style",
    "how natural and undistorted the speech itself sounds",
)  # fmt: skip
N_MOS = Target(
    "n_mos", "N-MOS", 1.0, 5.0, True, "MOS", "ITU-T P.835 BAK, 3QUEST-style",
    "how little the background disturbs",
)  # fmt: skip
G_MOS = Target(
    "g_mos", "G-MOS", 1.0, 5.0, True, "MOS", "ITU-T P.835 OVRL, 3QUEST-style",
    "overall quality",
)  # fmt: skip
PESQ = Target(
    "pesq_est", "PESQ (estimate)", 1.0, 4.64, True, "MOS-LQO", "ITU-T P.862.2 wideband",
    "estimate of wideband PESQ, which needs a clean reference",
)  # fmt: skip
STOI = Target(
    "stoi_est", "STOI (estimate)", 0.0, 1.0, True, "1", "Taal et al., IEEE TASLP 2011",
    "estimate of the intelligibility index STOI, which needs a clean reference",
)  # fmt: skip
SDI = Target(
    "sdi_est", "SDI (estimate)", 1e-4, 10.0, False, "1", "Chen et al., IEEE TASLP 2006",
    "energy of distortion and noise relative to the energy of the clean speech",
    log=True,
)  # fmt: skip

TARGETS: tuple[Target, ...] = (S_MOS, N_MOS, G_MOS, PESQ, STOI, SDI)
QUEST: tuple[Target, ...] = (S_MOS, N_MOS, G_MOS)
"""Targets with real labels: the supervised part of MPL"""
OBJECTIVE: tuple[Target, ...] = (PESQ, STOI, SDI)
"""Targets of MOSA-Net: the pseudo labels of MPL"""
BY_KEY: dict[str, Target] = {target.key: target for target in TARGETS}
KEYS: tuple[str, ...] = tuple(BY_KEY)


def _peer(key: str, name: str, says: str) -> Target:
    return Target(key, name, 1.0, 5.0, True, "MOS", "another predictor", says)


PEERS: tuple[Target, ...] = (
    _peer("dnsmos_sig", "DNSMOS SIG", "speech quality by DNSMOS P.835"),
    _peer("dnsmos_bak", "DNSMOS BAK", "background quality by DNSMOS P.835"),
    _peer("dnsmos_ovrl", "DNSMOS OVRL", "overall quality by DNSMOS P.835"),
    _peer("dnsmos_p808", "DNSMOS P.808", "overall quality by DNSMOS P.808"),
    _peer("distillmos", "Distill-MOS", "overall quality by Distill-MOS"),
)
"""Scores of existing models that were trained on ratings: further pseudo labels in training, not predicted"""
_ALL: dict[str, Target] = {target.key: target for target in (*TARGETS, *PEERS)}


def named(keys: tuple[str, ...] | list[str]) -> Iterator[Target]:
    """Return the targets of these keys in order; PEERS (DNSMOS, Distill-MOS) are accepted. Raises KeyError."""
    return (_ALL[key] for key in keys)
