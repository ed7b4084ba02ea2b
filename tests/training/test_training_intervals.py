"""Calibration: coverage, input-dependent width, and the smallest number of clips."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.causes import Calibration
from mtqnet.errors import ModelError
from mtqnet.scoring.intervals import terms
from mtqnet.targets import KEYS, TARGETS
from mtqnet.training import evaluation

Values = dict[str, NDArray[np.float64]]


def clips(count: int, seed: int) -> tuple[Values, Values]:
    """Scores and labels: three times as far off where N-MOS is low."""
    rng = np.random.default_rng(seed)
    place = {target.key: rng.uniform(-1.8, 1.8, count) for target in TARGETS}
    spread = 0.1 * np.where(place["n_mos"] < 0, 3.0, 1.0)
    scores = {t.key: t.from_training(place[t.key]) for t in TARGETS}
    labels = {t.key: t.from_training(place[t.key] + spread * rng.standard_normal(count)) for t in TARGETS}
    return scores, labels


def test_intervals_contain_nine_of_ten_labels_of_other_clips() -> None:
    made = evaluation.fit(*clips(1200, 1), KEYS)
    for found in evaluation.covered("test", made, *clips(4000, 2)):
        assert found["share"] == pytest.approx(0.9, abs=0.025), found["target"]
        assert found["clips"] == 4000


def test_intervals_are_wider_for_larger_errors() -> None:
    made = evaluation.fit(*clips(1200, 1), KEYS)
    scores, labels = clips(4000, 3)
    noisy = scores["n_mos"] < 2.8

    def width(which: NDArray[np.bool_]) -> float:
        picked = [{key: said[which] for key, said in values.items()} for values in (scores, labels)]
        return float({c["target"]: c["width"] for c in evaluation.covered("x", made, *picked)}["g_mos"])

    assert width(noisy) > 1.7 * width(~noisy)


def test_clips_without_a_label_are_ignored() -> None:
    scores, labels = clips(1000, 4)
    holes = {key: np.where(np.arange(1000) % 2 == 0, np.nan, said) for key, said in labels.items()}
    made = evaluation.fit(scores, holes, KEYS)
    found = evaluation.covered("test", made, scores, holes)
    assert {c["clips"] for c in found} == {500}
    nothing = {**holes, "s_mos": np.full(1000, np.nan)}
    assert [c["target"] for c in evaluation.covered("test", made, scores, nothing)] == list(KEYS[1:])


def test_clips_without_a_score_are_ignored() -> None:
    scores, labels = clips(1000, 4)
    refused = {key: np.where(np.arange(1000) == 7, np.nan, said) for key, said in scores.items()}
    rest = np.arange(1000) != 7
    made = evaluation.fit(refused, labels, KEYS)
    assert not np.isnan([band.factor for band in made.bands.values()]).any()
    found = evaluation.covered("test", made, refused, labels)
    assert found == evaluation.covered("test", made, *(evaluation.selected(rest, v) for v in (scores, labels)))
    assert {c["clips"] for c in found} == {999}


def test_the_same_seed_gives_the_same_intervals() -> None:
    assert evaluation.fit(*clips(200, 1), KEYS) == evaluation.fit(*clips(200, 1), KEYS)


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(ModelError, match="calibration clips with a label"):
        evaluation.fit(*clips(30, 1), KEYS)


def test_logistic_calibration_recovers_the_odds() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, 20_000)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-(0.6 * odds - 0.5)))).astype(float)
    truth[:50] = np.nan
    found = evaluation.logistic(1 / (1 + np.exp(-odds)), truth)
    assert (found.slope, found.offset) == pytest.approx((0.6, -0.5), abs=0.05)
    assert evaluation.logistic(np.full(10, 0.3), np.zeros(10)) == Calibration()


def test_a_factor_of_the_errors_is_one_of_the_widths() -> None:
    scores, labels = clips(1000, 5)
    twice = {target.key: np.full(1000, 2.0) for target in TARGETS}
    plain, wide = (evaluation.fit(scores, labels, KEYS, factors=factors) for factors in (None, twice))
    x = terms(list(TARGETS), scores)
    for key in KEYS:
        ratio = wide.bands[key].half_width(x) / plain.bands[key].half_width(x)
        np.testing.assert_allclose(ratio, 2.0, rtol=0.06)


def test_difference_error_is_that_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    label = rng.uniform(1, 5, 3000)
    scores = {"g_mos": label + 0.3 * rng.standard_normal(3000)}
    speech = [f"speech{n // 3}" for n in range(3000)]
    found = evaluation.difference_error(scores, {"g_mos": label}, speech, ["g_mos"])
    assert found["g_mos"] == pytest.approx(0.3 * 2**0.5, rel=0.1)
    few = evaluation.difference_error({"g_mos": label[:30]}, {"g_mos": label[:30]}, speech[:30], ["g_mos"])
    assert few == {}  # 30 pairs
