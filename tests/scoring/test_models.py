"""Models are found by name or path, and refused with a reason if they differ from their record."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
    with pytest.raises(ModelError, match="contains 0 models"):
        find(tmp_path)
    shutil.copy(toy_model, tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=r"no x\.json next to it"):
        find(tmp_path / "x.onnx")
    for name in ("x", "y"):
        shutil.copy(toy_model, tmp_path / f"{name}.onnx")
        shutil.copy(toy_model.with_suffix(".json"), tmp_path / f"{name}.json")
    with pytest.raises(ModelError, match="contains 2 models"):
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
        ({"frame_rate_hz": True}, "frame_rate_hz"),
        ({"frame_rate_hz": 1e-308}, "frame_rate_hz"),
        ({"peak_normalise": "false"}, "expected true or false"),  # a text is true in Python
        ({"track": None}, "expected true or false"),
        ({"causes": {"noise": {"slope": float("nan"), "offset": 0}}}, "slope"),
        ({"causes": {"noise": {"slope": 1, "offset": 1e308}}}, "offset"),
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
    with pytest.raises(ModelError, match=r"sha256 .* install the model again"):
        Runtime(find(model))


def test_a_file_that_is_no_graph(make_model: Maker) -> None:
    model = make_model(sha256=hashlib.sha256(b"letter").hexdigest())
    model.write_bytes(b"letter")
    with pytest.raises(ModelError, match="not an ONNX file"):
        Runtime(find(model))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"features": ["logmel", "wave"]}, "do not agree on wave"),
        ({"features": ["spectrum"]}, "do not agree on logmel, spectrum"),
        ({"targets": ["s_mos", "n_mos"]}, "has 6 output values, but its record has 2"),
    ],
)
def test_graph_and_record_must_agree(make_model: Maker, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Runtime(find(make_model(**changes)))


def record_of(model: Path, content: bytes) -> None:
    """Replace the graph of a model and the digest in its record."""
    model.write_bytes(content)
    record = json.loads(model.with_suffix(".json").read_text())
    record["sha256"] = hashlib.sha256(content).hexdigest()
    model.with_suffix(".json").write_text(json.dumps(record))


def changed(model: Path, change: Callable[[Any], None]) -> None:
    import onnx

    graph = onnx.load(str(model))
    change(graph)
    record_of(model, graph.SerializeToString())


def test_external_data_is_refused_wherever_it_is(make_model: Maker) -> None:
    from onnx import TensorProto, helper

    def external() -> Any:
        tensor = TensorProto(name="e", data_type=TensorProto.UINT8, dims=[4], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="secret.txt")
        return tensor

    def initializer(graph: Any) -> None:
        graph.graph.initializer.append(external())

    def constant(graph: Any) -> None:
        graph.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))

    def branch(graph: Any) -> None:
        body = helper.make_graph([helper.make_node("Constant", [], ["c"], value=external())], "b", [], [])
        graph.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body))

    def sparse(graph: Any) -> None:
        graph.graph.sparse_initializer.add().values.CopyFrom(external())

    for change in (initializer, constant, branch, sparse):
        model = make_model()
        changed(model, change)
        with pytest.raises(ModelError, match="external data"):
            Runtime(find(model))


def test_operators_outside_the_standard_and_loops_are_refused(make_model: Maker) -> None:
    from onnx import helper

    def custom(graph: Any) -> None:
        graph.graph.node.append(helper.make_node("Evil", ["values"], ["x"], domain="evil.so"))

    def imported(graph: Any) -> None:
        graph.opset_import.append(helper.make_opsetid("com.example", 1))

    def loop(graph: Any) -> None:
        body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b", [], [])
        graph.graph.node.insert(0, helper.make_node("Loop", ["m", "c"], [], body=body))

    for change, message in ((custom, r"evil\.so"), (imported, r"com\.example"), (loop, "without end")):
        model = make_model()
        changed(model, change)
        with pytest.raises(ModelError, match=message):
            Runtime(find(model))


def test_outputs_of_other_shapes_and_failing_graphs_are_model_errors(make_model: Maker) -> None:
    from onnx import parser

    from conftest import TOY_GRAPH

    clip = np.ones(16_000, np.float32)
    text = TOY_GRAPH.replace("values = Cast<to = 1>(means)", "pair = Cast<to = 1>(means)\n    {}")
    for line in (
        "values = Concat<axis = 0>(pair, pair)",
        "values = MatMul(pair, pair)",
        "values = Identity(frames)",
    ):
        model = make_model()
        graph = parser.parse_model(text.replace("{}", line))
        del graph.graph.output[0].type.tensor_type.shape.dim[:]
        record_of(model, graph.SerializeToString())
        with pytest.raises(ModelError, match=r"cannot be run|other shapes than its record|cannot load"):
            Runtime(find(model)).run(clip)


def test_a_damaged_graph_is_a_model_error(make_model: Maker) -> None:
    model = make_model()
    content = model.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content[: random.integers(1, len(content) + 1)])
        for place in random.integers(0, len(damaged), 4):
            damaged[place] ^= 1 << random.integers(8)
        record_of(model, bytes(damaged))
        with contextlib.suppress(ModelError):
            Runtime(find(model))


@pytest.mark.skipif(sys.platform == "win32", reason="devices and pipes of Unix")
@pytest.mark.parametrize("suffix", [".json", ".onnx"])
def test_only_regular_files_are_read(make_model: Maker, suffix: str) -> None:
    for kind in ("device", "pipe", "folder", "loop"):
        model = make_model()
        file = model.with_suffix(suffix)
        file.unlink()
        if kind == "device":
            file.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to(file)
        with pytest.raises(ModelError, match=r"regular file|cannot read|no such|contains"):
            Runtime(find(model))


def test_a_link_to_a_regular_file_is_read(make_model: Maker, tmp_path: Path) -> None:
    model = make_model()
    (tmp_path / "m.onnx").symlink_to(model)
    (tmp_path / "m.json").symlink_to(model.with_suffix(".json"))
    assert Runtime(find(tmp_path)).record.name == "toy"


def test_a_file_above_the_size_limit_is_not_read(make_model: Maker) -> None:
    model = make_model()
    os.truncate(model, models.MAX_GRAPH_BYTES + 1)  # sparse
    tracemalloc.start()
    with pytest.raises(ModelError, match="limit"):
        find(model).weights()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_files_above_the_size_limit_are_refused(make_model: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    monkeypatch.setattr(models, "MAX_RECORD_BYTES", 20)
    with pytest.raises(ModelError, match="limit"):
        find(model)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, '{"name": ' + "9" * 100_000 + "}"])
def test_deeply_nested_records_and_long_numbers(make_model: Maker, text: str) -> None:
    model = make_model()
    model.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError, match="export the model again"):
        find(model)


@pytest.mark.parametrize("name", ["\ud800", "\x1b[31m", "a\nb", "", None, 5, "a" * 1000])
def test_a_name_must_be_short_printable_text(make_model: Maker, name: Any) -> None:
    with pytest.raises(ModelError, match="'name' must be"):
        find(make_model(name=name))


@pytest.mark.parametrize("name", ["\ud800.onnx", "a\0b.onnx", "\ud800", "x" * 300 + ".onnx"])
def test_a_path_that_cannot_exist_is_a_model_error(name: str) -> None:
    with pytest.raises(ModelError):
        find(name)


def test_negative_threads_are_a_mistake(toy_model: Path) -> None:
    with pytest.raises(UsageError, match="threads"):
        Runtime(find(toy_model), threads=-1)
