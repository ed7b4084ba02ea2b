"""The six targets as data: the one table from which CLI, columns, docs and plots take their words.

Sources: ITU-T P.835 (three scales of noisy and processed speech), EG 202 396-3 / TS 103 281 (the names
S-MOS, N-MOS, G-MOS of 3QUEST), ITU-T P.862.2 (wideband PESQ), Taal et al. 2011 (STOI), Chen et al. 2006
(speech distortion index). S-, N- and G-MOS here are 3QUEST-style and anchored on public P.835 ratings;
they are not scores of the licensed 3QUEST instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRAINING_SPAN = 4.0
"""Width of every target's range on the training scale. A MOS scale, 1 to 5, is 4 wide: so one unit of loss
is one MOS point, and the Huber delta means the same for all six."""


@dataclass(frozen=True)
class Target:
    """One score: what it is called, where it lives, and how the network sees it."""

    key: str
    """Column, attribute and option name."""
    name: str
    """What people call it."""
    low: float
    high: float
    higher_is_better: bool
    unit: str
    standard: str
    says: str
    """One sentence for help texts and pictures."""
    log: bool = False
    """Trained and correlated as log10 of the value."""

    @property
    def label(self) -> str:
        """Column of the true value in a label table: `pesq` is measured, `pesq_est` is estimated."""
        return self.key.removesuffix("_est")

    def compress(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values in their own unit -> clipped to the range, log10 where `log` says so. Any shape."""
        clipped = np.clip(np.asarray(value, dtype=np.float64), self.low, self.high)
        return np.log10(clipped) if self.log else clipped

    def _ends(self) -> tuple[float, float]:
        low, high = self.compress(np.array([self.low, self.high]))
        return float(low), float(high)

    @property
    def affine(self) -> tuple[float, float]:
        """`(slope, offset)` with compressed value = slope * training value + offset."""
        low, high = self._ends()
        return (high - low) / TRAINING_SPAN, (high + low) / 2

    def to_training(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values in their own unit -> the training scale, -2 to 2. Any shape; NaN stays NaN."""
        slope, offset = self.affine
        return (self.compress(value) - offset) / slope

    def from_training(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """Training scale -> values in their own unit (not clipped). Any shape."""
        slope, offset = self.affine
        compressed = np.asarray(value, dtype=np.float64) * slope + offset
        return np.power(10.0, compressed) if self.log else compressed

    def clip(self, value: float) -> float:
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
    "how good the whole sounds",
)  # fmt: skip
PESQ = Target(
    "pesq_est", "PESQ (estimate)", 1.0, 4.64, True, "MOS-LQO", "ITU-T P.862.2 wideband",
    "what wideband PESQ would say if it had the clean reference",
)  # fmt: skip
STOI = Target(
    "stoi_est", "STOI (estimate)", 0.0, 1.0, True, "1", "Taal et al., IEEE TASLP 2011",
    "what the intelligibility index STOI would say if it had the clean reference",
)  # fmt: skip
SDI = Target(
    "sdi_est", "SDI (estimate)", 1e-4, 10.0, False, "1", "Chen et al., IEEE TASLP 2006",
    "share of the clean speech's energy that came out as distortion or noise",
    log=True,
)  # fmt: skip

TARGETS: tuple[Target, ...] = (S_MOS, N_MOS, G_MOS, PESQ, STOI, SDI)
QUEST: tuple[Target, ...] = (S_MOS, N_MOS, G_MOS)
"""Carried by real labels: the supervised part of MPL."""
OBJECTIVE: tuple[Target, ...] = (PESQ, STOI, SDI)
"""MOSA-Net's targets: the pseudo labels of MPL."""
BY_KEY: dict[str, Target] = {target.key: target for target in TARGETS}
KEYS: tuple[str, ...] = tuple(BY_KEY)


def _peer(key: str, name: str, says: str) -> Target:
    return Target(key, name, 1.0, 5.0, True, "MOS", "another predictor", says)


PEERS: tuple[Target, ...] = (
    _peer("dnsmos_sig", "DNSMOS SIG", "what DNSMOS P.835 says of the speech"),
    _peer("dnsmos_bak", "DNSMOS BAK", "what DNSMOS P.835 says of the background"),
    _peer("dnsmos_ovrl", "DNSMOS OVRL", "what DNSMOS P.835 says of the whole"),
    _peer("dnsmos_p808", "DNSMOS P.808", "what DNSMOS P.808 says of the whole"),
    _peer("distillmos", "Distill-MOS", "what Distill-MOS says of the whole"),
)
"""Scores of predictors that learned from people: further pseudo labels in training. No model serves them."""
_ALL: dict[str, Target] = {target.key: target for target in (*TARGETS, *PEERS)}


def named(keys: tuple[str, ...] | list[str]) -> Iterator[Target]:
    """Targets of these keys, those of peers too, in that order. KeyError for a key that does not exist."""
    return (_ALL[key] for key in keys)
