"""Weights are trained on only if they are those of the graph and the record beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_model
from mtqnet.errors import ModelError
from mtqnet.training import weights
from mtqnet.training.export import PARITY, WEIGHTS_SHA256


@pytest.fixture(params=[False, True], ids=["32 bits", "8 bits"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = "channel" if request.param else "plain"
    return tiny_model.write(tmp_path / "one", kind, seed=1, int8=request.param)


def changed(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = model / "one.json"
    told = json.loads(record.read_text())
    change(told)
    record.write_text(json.dumps(told))


def without_digest(model: Path) -> None:
    """As records were before they had it."""
    changed(model, lambda told: told.pop(WEIGHTS_SHA256))


def test_record_has_the_digest_of_the_weights(model: Path) -> None:
    told = json.loads((model / "one.json").read_text())
    assert told[WEIGHTS_SHA256] == hashlib.sha256((model / "one.safetensors").read_bytes()).hexdigest()
    assert (model / "one.safetensors").stat().st_mode & 0o044  # as readable for others as the graph


def test_weights_are_opened_without_the_graph_being_run(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(weights, "parity")
    opened = weights.load(model)
    assert opened.int8 == (max(json.loads((model / "one.json").read_text())["parity"].values()) > PARITY)
    assert not opened.network.training


def test_weights_of_another_training_are_refused(model: Path, tmp_path: Path) -> None:
    kind = "channel" if weights.load(model).int8 else "plain"
    other = tiny_model.write(tmp_path / "two", kind, seed=2)
    (model / "one.safetensors").write_bytes((other / "two.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"one\.safetensors is not the file .* two trainings"):
        weights.load(model)


def test_without_a_digest_weights_are_held_against_the_graph(model: Path, tmp_path: Path) -> None:
    opened = weights.load(model)
    without_digest(model)
    again = weights.load(model)
    assert all(torch.equal(again.network.state_dict()[k], v) for k, v in opened.network.state_dict().items())
    other = tiny_model.write(tmp_path / "two", "channel" if opened.int8 else "plain", seed=2)
    (model / "one.safetensors").write_bytes((other / "two.safetensors").read_bytes())
    with pytest.raises(ModelError, match="scores unlike"):
        weights.load(model)


def test_damaged_weights_are_named(model: Path) -> None:
    (model / "one.safetensors").write_bytes(b"no tensors")
    without_digest(model)
    with pytest.raises(ModelError, match="is damaged"):
        weights.load(model)
