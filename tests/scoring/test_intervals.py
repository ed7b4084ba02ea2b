"""Intervals: around the score, within the range, with a width that depends on the scores; and their form in a
record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import ModelError
from mtqnet.scoring import intervals, models
from mtqnet.scoring.intervals import Band, Intervals
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, TARGETS, named

TERMS = 1 + 6 + 21
FLAT = Band((0.0,) * TERMS, -1.0, 1.0, 0.5)
"""Half a unit of the training scale to either side, independent of the scores"""
MIDDLE = {target.key: float(target.from_training(np.array(0.0))) for target in TARGETS}


def steep() -> Band:
    """Wider where S-MOS is higher."""
    weights = np.zeros(TERMS)
    weights[1] = 0.5
    return Band(tuple(weights.tolist()), -0.3, 0.6, 0.5)


def test_a_flat_band_is_equally_wide_on_every_scale() -> None:
    made = Intervals(0.9, dict.fromkeys(KEYS, FLAT)).of(MIDDLE)
    for target in TARGETS:
        ends = target.to_training(np.array([made[target.key].low, made[target.key].high]))
        np.testing.assert_allclose(ends, [-0.5, 0.5], atol=1e-9)


@pytest.mark.parametrize("height", [-2.0, 2.0])
def test_ends_stay_within_the_range_and_the_score_within_the_ends(height: float) -> None:
    values = {target.key: float(target.from_training(np.array(height))) for target in TARGETS}
    for key, interval in Intervals(0.9, dict.fromkeys(KEYS, FLAT)).of(values).items():
        (target,) = named([key])
        assert target.low <= interval.low <= target.clip(values[key]) <= interval.high <= target.high


def test_width_follows_the_scores_as_far_as_calibration_went() -> None:
    bands = Intervals(0.9, dict.fromkeys(KEYS, steep()))

    def half(s_mos: float) -> float:
        interval = bands.of({**MIDDLE, "s_mos": s_mos})["g_mos"]
        return (interval.high - interval.low) / 2

    assert half(3.5) == pytest.approx(0.5 * np.exp(0.25))
    assert half(5.0) == pytest.approx(
        0.5 * np.exp(0.6)
    )  # not exp(1): beyond the largest error of the calibration clips
    assert half(1.0) == pytest.approx(0.5 * np.exp(-0.3))


def test_a_record_keeps_them() -> None:
    made = Intervals(0.9, dict.fromkeys(KEYS, steep()))
    assert intervals.parse(json.loads(json.dumps(intervals.as_json(made))), KEYS) == made


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": 1.5}, {"coverage": 0.0}, {"coverage": float("nan")}, {"factor": float("nan")}, {"factor": -1.0},
        {"weights": 1}, {"weights": -1}, {"weights": float("inf")}, {"lowest": 9.0}, {"highest": float("inf")},
    ],
)  # fmt: skip
def test_impossible_intervals_are_refused(change: dict[str, float]) -> None:
    stored = intervals.as_json(Intervals(0.9, dict.fromkeys(KEYS, steep())))
    ((name, value),) = change.items()
    band = stored["bands"]["g_mos"]
    if name == "coverage":
        stored["coverage"] = value
    elif name == "weights":
        band["weights"] = [*band["weights"], value] if value != -1 else band["weights"][:-1]
    else:
        band[name] = value
    with pytest.raises(ValueError, match=r"weights|impossible|coverage"):
        intervals.parse(stored, KEYS)


def test_many_recordings_at_once_are_as_one_by_one() -> None:
    made = Intervals(0.9, dict.fromkeys(KEYS, steep()))
    rng = np.random.default_rng(0)
    values = {target.key: target.from_training(rng.uniform(-2, 2, 5)) for target in TARGETS}
    low, high = made.ends(values)
    for place in range(5):
        alone = made.of({key: float(said[place]) for key, said in values.items()})
        assert [(low[key][place], high[key][place]) for key in KEYS] == [(i.low, i.high) for i in alone.values()]


def with_intervals(model: Path, stored: object) -> Path:
    record = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps(record | {"intervals": stored}))
    return model


def test_scores_carry_the_intervals_of_their_model(
    make_model: Callable[..., Path], voice: Callable[..., Samples]
) -> None:
    model = make_model()
    plain = Predictor(model).score(voice(3.0), SAMPLE_RATE)
    assert plain.intervals == {} and plain.as_row()["s_mos_low"] is None
    keys = models.find(model).targets
    count = len(keys)
    flat = Band((0.0,) * (1 + count + count * (count + 1) // 2), -1.0, 1.0, 0.25)
    made = Intervals(0.9, dict.fromkeys(keys, flat))
    scores = Predictor(with_intervals(model, intervals.as_json(made))).score(voice(3.0), SAMPLE_RATE)
    assert set(scores.intervals) == set(keys)
    row = scores.as_row()
    for key in keys:
        assert scores.value(key) == plain.value(key)
        assert row[f"{key}_low"] == scores.intervals[key].low
        assert row[f"{key}_high"] == scores.intervals[key].high


@pytest.mark.parametrize("stored", [{}, {"coverage": 0.9, "bands": {}}, {"coverage": 0.9, "bands": 3}])
def test_a_record_with_half_of_them_is_refused(make_model: Callable[..., Path], stored: object) -> None:
    with pytest.raises(ModelError, match="export the model again"):
        Predictor(with_intervals(make_model(), stored))


@pytest.mark.parametrize("distance", [False, True])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_number_of_weights_follows_from_targets_and_distance(more: int, distance: bool) -> None:
    """Of two scores: one constant, two linear and three quadratic terms, and the logarithm of the distance."""
    band = Band((0.1,) * (6 + distance + more), -1.0, 1.0, 2.0)
    stored = intervals.as_json(Intervals(0.9, dict.fromkeys(KEYS[:2], band)))
    if more:
        with pytest.raises(ValueError, match=f"expected {6 + distance}"):
            intervals.parse(stored, KEYS[:2], distance)
    else:
        assert intervals.parse(stored, KEYS[:2], distance).bands[KEYS[0]] == band


@pytest.mark.parametrize("coverage", [-0.1, 0.0, 1.0, 1.5])
def test_a_coverage_outside_0_and_1_is_refused(coverage: float) -> None:
    stored = intervals.as_json(Intervals(coverage, dict.fromkeys(KEYS[:1], Band((0.1,) * 3, -1.0, 1.0, 2.0))))
    with pytest.raises(ValueError):
        intervals.parse(stored, KEYS[:1])
