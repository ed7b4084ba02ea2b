"""The consensus label: peers on the anchored scale, and no narrower than that scale."""

from __future__ import annotations

import numpy as np
import pytest

from mtqnet.training import consensus

RNG = np.random.default_rng(3)
TRUTH = RNG.uniform(1.3, 4.7, 4_000)
ANCHORED = np.clip(TRUTH + 0.3 * RNG.standard_normal(4_000), 1, 5)
SAID = {
    "distillmos": 2 + 0.4 * TRUTH + 0.1 * RNG.standard_normal(4_000),
    "dnsmos_p808": 1 + 0.3 * TRUTH + 0.1 * RNG.standard_normal(4_000),
}


def test_the_label_keeps_mean_and_spread_of_the_anchored_one() -> None:
    made = consensus.fit(ANCHORED, SAID, list(SAID)).label(ANCHORED, SAID)
    assert np.mean(made) == pytest.approx(np.mean(ANCHORED), abs=0.02)
    assert np.std(made) == pytest.approx(np.std(ANCHORED), abs=0.02)
    assert made.min() >= 1 and made.max() <= 5


def test_independent_errors_average_out() -> None:
    made = consensus.fit(ANCHORED, SAID, list(SAID)).label(ANCHORED, SAID)

    def lcc(x: np.ndarray) -> float:
        return float(np.corrcoef(x, TRUTH)[0, 1])

    assert lcc(made) > max(lcc(ANCHORED), *map(lcc, SAID.values()))


def test_without_peers_the_label_is_the_anchored_one() -> None:
    np.testing.assert_allclose(consensus.fit(ANCHORED, SAID, []).label(ANCHORED, SAID), ANCHORED)


def test_unknown_stays_unknown_and_moves_nothing() -> None:
    agreed = consensus.fit(ANCHORED, SAID, ["distillmos"])
    holes = ANCHORED.copy()
    holes[::7] = np.nan
    said = {"distillmos": np.where(np.arange(4_000) % 5 == 0, np.nan, SAID["distillmos"])}
    made = agreed.label(holes, said)
    unknown = np.isnan(holes) | np.isnan(said["distillmos"])
    np.testing.assert_array_equal(np.isnan(made), unknown)
    np.testing.assert_allclose(made[~unknown], agreed.label(ANCHORED, SAID)[~unknown])
