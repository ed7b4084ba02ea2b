"""Models: found by name or path, refused with a reason when they are not what their record says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.models import find
from mtqnet.scoring.runtime import Runtime

Maker = Callable[..., Path]


def test_a_path_and_its_folder_are_the_same_model(toy_model: Path) -> None:
    by_path, by_folder = find(toy_model), find(str(toy_model.parent))
    assert by_path == by_folder
    assert by_path.name == "toy"
    assert by_path.frame_rate_hz == 100.0


def test_unknown_name_lists_the_names(monkeypatch: pytest.MonkeyPatch, toy_model: Path) -> None:
    monkeypatch.setattr(models, "WEIGHTS", toy_model.parent)
    assert find("toy").path == toy_model
    with pytest.raises(ModelError, match=r"no model named 'tiny'.*toy"):
        find("tiny")


def test_missing_file_record_or_pair(toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        find(tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="holds 0 models"):
        find(tmp_path)
    shutil.copy(toy_model, tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=r"put x\.json beside it"):
        find(tmp_path / "x.onnx")
    for name in ("x", "y"):
        shutil.copy(toy_model, tmp_path / f"{name}.onnx")
        shutil.copy(toy_model.with_suffix(".json"), tmp_path / f"{name}.json")
    with pytest.raises(ModelError, match="holds 2 models"):
        find(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\xff", '{"name": "x", "targets": 3}'])
def test_a_record_that_is_none(make_model: Maker, text: str) -> None:
    model = make_model()
    model.with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match="export the model again"):
        find(model)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"targets": ["s_mos", "mos"]}, "unknown targets: mos"),
        ({"targets": []}, "targets"),
        ({"targets": ["s_mos", "s_mos"]}, "different"),
        ({"features": ["mfcc"]}, "unknown features: mfcc"),
        ({"frame_rate_hz": 0}, "frame_rate_hz"),
        ({"frame_rate_hz": "fast"}, "fast"),
    ],
)
def test_a_record_that_cannot_be(make_model: Maker, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        find(make_model(**changes))


def test_more_keys_are_left_alone(make_model: Maker) -> None:
    assert find(make_model(trained_on=["speech"], lcc={"s_mos": 0.9})).name == "toy"


def test_one_changed_byte_is_noticed(make_model: Maker) -> None:
    model = make_model()
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(ModelError, match=r"sha256 .* install it again"):
        Runtime(find(model))


def test_a_file_that_is_no_graph(make_model: Maker) -> None:
    import hashlib

    model = make_model(sha256=hashlib.sha256(b"letter").hexdigest())
    model.write_bytes(b"letter")
    with pytest.raises(ModelError, match="onnxruntime cannot load"):
        Runtime(find(model))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"features": ["logmel", "wave"]}, "do not agree on wave"),
        ({"features": ["spectrum"]}, "do not agree on logmel, spectrum"),
        ({"targets": ["s_mos", "n_mos"]}, "gives 6 values, its record names 2"),
    ],
)
def test_graph_and_record_must_agree(make_model: Maker, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Runtime(find(make_model(**changes)))


def test_negative_threads_are_a_mistake(toy_model: Path) -> None:
    with pytest.raises(UsageError, match="threads"):
        Runtime(find(toy_model), threads=-1)
