"""Add scores to the cuts of a Lhotse manifest, and write those with a G-MOS of at least 3.

Needs: pip install mtqnet lhotse
"""

from __future__ import annotations

from collections.abc import Callable

from lhotse import CutSet
from lhotse.cut import MonoCut

import mtqnet


def add_score(predictor: mtqnet.Predictor) -> Callable[[MonoCut], MonoCut]:
    """Return a function for `CutSet.map`: custom["g_mos"] is the score of a cut; None if it cannot be scored."""

    def add(cut: MonoCut) -> MonoCut:
        cut.custom = {**(cut.custom or {}), "g_mos": predictor.score(cut.load_audio(), cut.sampling_rate).g_mos}
        return cut

    return add


def good(cuts: CutSet, least: float, model: str = "small") -> CutSet:
    """Return the cuts whose G-MOS is at least `least`."""
    scored = cuts.map(add_score(mtqnet.load(model))).to_eager()
    return scored.filter(lambda cut: (cut.custom["g_mos"] or 0.0) >= least).to_eager()


if __name__ == "__main__":
    import sys

    manifest, output = sys.argv[1:]
    good(CutSet.from_file(manifest), 3.0).to_file(output)
