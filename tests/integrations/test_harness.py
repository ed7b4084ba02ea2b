"""A harness gets the served scores as plain numbers, and NaN instead of an end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.integrations.harness import Harness
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS

Samples = NDArray[np.float32]


def test_numbers_are_those_that_are_served(toy_model: Path, voice: Callable[..., Samples]) -> None:
    samples = voice(1.0, rate=24_000)
    row = Harness(toy_model)(samples, 24_000)
    scores = Predictor(toy_model).score(samples, 24_000)
    assert row == {f"mtqnet_{key}": scores.value(key) for key in KEYS}
    assert json.loads(json.dumps(row)) == row


def test_three_lines_do(toy_model: Path, voice: Callable[..., Samples]) -> None:
    row: dict[str, float] = {"other": 1.0}
    quality = Harness(toy_model, prefix="")
    row.update(quality(voice(1.0), 16_000))
    assert set(row) == {"other", *KEYS}


def test_what_cannot_be_scored_is_nan_throughout(toy_model: Path, voice: Callable[..., Samples]) -> None:
    quality = Harness(toy_model)
    for samples in (np.zeros(16_000), voice(0.1), np.full(16_000, np.nan)):
        row = quality(samples, 16_000)
        assert tuple(row) == tuple(quality.names.values())
        assert all(math.isnan(value) for value in row.values())


def test_mistakes_of_the_caller_are_not_hidden(toy_model: Path) -> None:
    with pytest.raises(UsageError):
        Harness(toy_model)(np.zeros((2, 16_000)), 16_000)
