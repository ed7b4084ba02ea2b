"""The shipped models have the recorded scores: features, windows and weights are unchanged."""

from __future__ import annotations

import json

import pytest
from record import FILE, MODELS, scores

TOLERANCE = 1e-5
"""Processors differ in the last bits of a float32 sum"""


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_as_recorded(model: str) -> None:
    expected = json.loads(FILE.read_text())[model]
    measured = scores(model)
    assert measured.keys() == expected.keys()
    for name, row in expected.items():
        if isinstance(row, str):
            assert measured[name] == row, name
        else:
            assert measured[name] == pytest.approx(row, abs=TOLERANCE), name
