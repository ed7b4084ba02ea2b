"""The targets: their ranges, and the conversion to the training scale and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtqnet.targets import BY_KEY, KEYS, OBJECTIVE, QUEST, TARGETS, Target, named

each_target = pytest.mark.parametrize("target", TARGETS, ids=KEYS)
shares = st.floats(0, 1)


@each_target
@given(share=shares)
def test_round_trip_through_the_training_scale(target: Target, share: float) -> None:
    value = np.array([target.low + share * (target.high - target.low)])
    there = target.to_training(value)
    assert np.abs(there) <= 2 + 1e-9
    np.testing.assert_allclose(target.from_training(there), value, rtol=1e-9, atol=1e-12)


@each_target
def test_range_fills_the_training_scale(target: Target) -> None:
    np.testing.assert_allclose(target.to_training(np.array([target.low, target.high])), [-2, 2], atol=1e-12)


@each_target
@given(first=shares, second=shares)
def test_training_scale_keeps_the_order(target: Target, first: float, second: float) -> None:
    low, high = sorted([first, second])
    values = target.low + np.array([low, high]) * (target.high - target.low)
    ends = target.to_training(values)
    assert ends[0] <= ends[1]


@each_target
def test_values_outside_are_clipped(target: Target) -> None:
    assert target.clip(target.low - 1) == target.low
    assert target.clip(target.high + 1) == target.high
    np.testing.assert_allclose(target.to_training(np.array([target.high + 9])), 2)


@each_target
def test_missing_labels_stay_missing(target: Target) -> None:
    assert np.isnan(target.to_training(np.array([np.nan]))).all()


def test_a_decade_of_sdi_is_as_long_everywhere() -> None:
    decades = BY_KEY["sdi_est"].to_training(np.array([1e-3, 1e-2, 1e-1, 1.0]))
    np.testing.assert_allclose(np.diff(decades), np.diff(decades)[0])


def test_keys_and_groups() -> None:
    assert KEYS == ("s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est")
    assert QUEST + OBJECTIVE == TARGETS
    assert [target.key for target in TARGETS if not target.higher_is_better] == ["sdi_est"]
    assert [target.key for target in named(("sdi_est", "s_mos"))] == ["sdi_est", "s_mos"]
    with pytest.raises(KeyError):
        list(named(("mos",)))
