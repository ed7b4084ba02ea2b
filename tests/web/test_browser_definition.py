"""web/definition.json agrees with the modules that it is written from."""

from __future__ import annotations

import json

import numpy as np

from mtqnet.audio.features import mel_matrix
from mtqnet.audio.flags import BY_KEY
from mtqnet.scoring import models
from research import browser_definition


def test_file_is_current() -> None:
    stored = browser_definition.OUTPUT.read_text(encoding="utf-8")
    assert stored == browser_definition.text(), "run: python -m research.browser_definition"


def test_filter_bank_is_that_of_the_features() -> None:
    logmel = json.loads(browser_definition.OUTPUT.read_text(encoding="utf-8"))["features"]["logmel"]
    dense = np.zeros((logmel["window"] // 2 + 1, logmel["width"]), dtype=np.float32)
    for column, band in enumerate(logmel["bands"]):
        dense[band["first"] : band["first"] + len(band["weights"]), column] = band["weights"]
    assert np.array_equal(dense, mel_matrix())


def test_records_are_those_of_the_shipped_models() -> None:
    stored = json.loads(browser_definition.OUTPUT.read_text(encoding="utf-8"))["models"]
    assert set(stored) == set(models.complete())
    for name, record in stored.items():
        assert record["sha256"] == models.find(name).sha256


def test_omitted_flags_exist() -> None:
    assert set(browser_definition.NOT_MEASURED) <= set(BY_KEY)
