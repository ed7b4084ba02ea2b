"""Model files: where they are found and how they are checked.

A model is a pair of files in one folder: `NAME.onnx` (the graph with its weights) and `NAME.json` (its record).
Shipped models are in the package folder `weights/`. Another model is named by the path of its `.onnx` file, or by
a folder that contains exactly one pair. The record is JSON:

    {"name": "base", "targets": ["s_mos", "n_mos"], "features": ["logmel"], "peak_normalise": false,
     "frame_rate_hz": 25.0, "sha256": "digest of the .onnx file", "licence": "MIT"}

Further keys are allowed and ignored: training data, accuracy and so on.

Model folders are untrusted input. Both files must be regular files of limited size, and the graph must not refer
to other files or to operators outside the ONNX standard (`find_problem`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtqnet.audio.features import FEATURES
from mtqnet.causes import CAUSE_KEYS, Calibration
from mtqnet.errors import ModelError
from mtqnet.scoring.intervals import Intervals, parse
from mtqnet.targets import KEYS

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
"""Folder of the shipped models"""
MAX_GRAPH_BYTES = 2**31 - 1
"""Size limit of an .onnx file: the limit of the protobuf format"""
MAX_RECORD_BYTES = 4_000_000
"""Size limit of a record; those of the shipped models have 40 kB"""
FRAME_RATES = (0.1, 1000.0)
"""Possible frame scores per second"""
MAX_CALIBRATION = 1000.0
"""Largest slope and offset of a calibration of causes; those of the shipped models are below 10"""
DIFFERENCE_ERRORS = (1e-6, 1e6)
"""Possible errors of a difference of scores"""
MAX_NAME = 200
"""Characters of a model's name"""


@dataclass(frozen=True)
class ModelRecord:
    """The record of a model."""

    path: Path
    """Path of the .onnx file"""
    name: str
    targets: tuple[str, ...]
    """Target keys in the order of the graph's outputs"""
    features: tuple[str, ...]
    """Feature names (keys of audio.features.FEATURES), which are the graph's inputs"""
    peak_normalise: bool
    """Whether samples are divided by their peak before the features are computed"""
    frame_rate_hz: float
    """Frame scores per second"""
    sha256: str
    """Digest of the .onnx file"""
    licence: str
    intervals: Intervals | None = None
    """Prediction intervals; None for a model that was not calibrated"""
    track: bool = True
    """Whether frame scores are consecutive in time"""
    distance: bool = False
    """Whether the graph returns the distance of a recording from the training clips"""
    local: bool = False
    """Whether frame scores follow changes of the quality within a window"""
    causes: Mapping[str, Calibration] = field(default_factory=dict)
    """Kinds of degradation in the order of the graph's output, with the calibration of their probabilities; empty
    for a model without causes"""
    difference_error: Mapping[str, float] = field(default_factory=dict)
    """By target: standard deviation of the error of the difference between two recordings of the same speech, fitted to
    their order; in MOS, of log10 for SDI. Empty for a model for which it was not measured"""

    def weights(self) -> bytes:
        """Read the .onnx file and compare it with `sha256`.

        Returns:
            The content of the file.

        Raises:
            ModelError: The file cannot be read, differs from its digest, or refers to other files or to operators
                outside the ONNX standard.
        """
        content = _read(self.path, MAX_GRAPH_BYTES)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelError(
                f"{self.path.name} is not the file that {self.path.with_suffix('.json').name} describes "
                f"(sha256 {digest[:12]}..., expected {self.sha256[:12]}...): install the model again"
            )
        problem = find_problem(content)
        if problem is not None:
            raise ModelError(f"{self.path} is not an acceptable model: {problem}")
        return content


def shipped() -> tuple[str, ...]:
    """Return the sorted names of the models in the package."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.onnx")))


def complete() -> tuple[str, ...]:
    """Return the sorted names of the shipped models that predict all six scores."""
    return tuple(name for name in shipped() if set(find(name).targets) == set(KEYS))


def find(model: str | os.PathLike[str]) -> ModelRecord:
    """Find a model and read its record.

    Args:
        model: Name of a shipped model, path of an .onnx file, or a folder with exactly one model.

    Raises:
        ModelError: No such model, or its record is missing or invalid.
    """
    if isinstance(model, str) and model in shipped():
        return _record(WEIGHTS / f"{model}.onnx")
    path = Path(model)
    if os.path.isdir(path):  # noqa: PTH112 Path.is_dir raises for a name that is too long
        pairs = sorted(each for each in path.glob("*.onnx") if each.with_suffix(".json").is_file())
        if len(pairs) != 1:
            raise ModelError(
                f"{path} contains {len(pairs)} models (an .onnx file with a .json file of the same name), expected "
                "one: give the path of the .onnx file"
            )
        return _record(pairs[0])
    if path.suffix == ".onnx":
        return _record(path)
    names = ", ".join(shipped()) or "none (this installation has no weights: install mtqnet again)"
    raise ModelError(
        f"no model named {str(model)[:MAX_NAME]!r}: shipped models are {names}, or give the path of an .onnx file"
    )


def _record(path: Path) -> ModelRecord:
    file = path.with_suffix(".json")
    if not _possible(path) or not os.path.lexists(path):
        raise ModelError(
            f"no such model file: {str(path)[:MAX_NAME]}; check the path, or use one of {', '.join(shipped())}"
        )
    if not os.path.lexists(file):
        raise ModelError(
            f"{path.name} has no {file.name} next to it, which describes the model: copy the file that was exported "
            "with it into the same folder"
        )
    try:
        return _parse(path, json.loads(_read(file, MAX_RECORD_BYTES).decode("utf-8")))
    except RecursionError as error:
        raise ModelError(f"{file} is nested too deeply: export the model again") from error
    except KeyError as error:
        raise ModelError(f"{file} has no {error}: export the model again") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(f"{file} is not a valid record ({error}): export the model again") from error


def _possible(path: Path) -> bool:
    """Whether the operating system can represent this path."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _read(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; devices, pipes and folders are refused unopened."""
    try:
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            raise ModelError(f"{path} is not a regular file: a model is a pair of regular files")
        with path.open("rb") as file:  # unread if it is too large
            content = file.read(mode.st_size + 1) if mode.st_size <= limit else b""
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}): check the path and its permissions") from error
    if max(len(content), mode.st_size) > limit:
        raise ModelError(f"{path} has more than {limit / 1e6:.0f} MB, the limit for this kind of file")
    return content


def _parse(path: Path, record: Mapping[str, Any]) -> ModelRecord:
    distance = _flag("distance", record.get("distance", False))
    return ModelRecord(
        path=path,
        name=_name(record["name"]),
        targets=_known("targets", record["targets"], KEYS),
        features=_known("features", record["features"], tuple(FEATURES)),
        peak_normalise=_flag("peak_normalise", record["peak_normalise"]),
        frame_rate_hz=_within("frame_rate_hz", record["frame_rate_hz"], *FRAME_RATES),
        sha256=str(record["sha256"]).lower(),
        licence=str(record["licence"]),
        intervals=parse(record["intervals"], record["targets"], distance) if "intervals" in record else None,
        track=_flag("track", record.get("track", True)),
        distance=distance,
        local=_flag("local", record.get("local", False)),
        causes=_causes(record.get("causes", {})),
        difference_error={
            key: _within(f"difference_error {key}", value, *DIFFERENCE_ERRORS)
            for key, value in dict(record.get("difference_error", {})).items()
            if key in KEYS
        },
    )


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"'name' must be 1 to {MAX_NAME} printable characters")
    return name


def _known(what: str, names: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise ValueError(f"'{what}' must be a list of different names")
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown {what}: {', '.join(unknown)} (known: {', '.join(known)})")
    return tuple(names)


def _causes(stored: Any) -> dict[str, Calibration]:
    keys = _known("causes", list(stored), CAUSE_KEYS) if stored else ()
    limits = (-MAX_CALIBRATION, MAX_CALIBRATION)
    return {
        key: Calibration(*(_within(name, stored[key][name], *limits) for name in ("slope", "offset")))
        for key in keys
    }


def _flag(what: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{what} is {value!r}, expected true or false")
    return value


def _within(what: str, value: Any, low: float, high: float) -> float:
    number = float(value)
    if isinstance(value, bool) or not low <= number <= high:
        raise ValueError(f"{what} is {value!r}, expected a number from {low:g} to {high:g}")
    return number


DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operator sets of the ONNX standard"""
LOOPS = ("Loop", "Scan")
"""Operators that may run without end"""
MAX_DEPTH = 32
"""Nesting limit of subgraphs"""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MESSAGES = {
    "model": {7: "graph", 8: "opset", 25: "function", 20: "training"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
    "opset": {},
}
"""Message type -> field number -> type of the message in this field"""
_STRINGS = {"node": {4: "operator", 7: "domain"}, "opset": {1: "domain"}, "function": {10: "domain"}}
"""Message type -> field number -> what the text in this field is"""
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14


def find_problem(content: bytes) -> str | None:
    """Check the content of an .onnx file before onnxruntime loads it, without the onnx package.

    onnxruntime reads external data of a graph that was loaded from memory relative to the current folder, so that an
    untrusted model could read files of its user. A model of this package contains its weights and uses only operators
    of the ONNX standard; any other graph is refused. The protobuf format is decoded as far as these checks need it.
    Field numbers are those of onnx.proto (github.com/onnx/onnx).

    Args:
        content: A serialised ModelProto.

    Returns:
        Why the graph is refused; None if it is accepted.
    """
    try:
        return _find_problem(memoryview(content), "model", 0)
    except (IndexError, ValueError):
        return "it is not an ONNX file"


def _find_problem(message: memoryview, kind: str, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"its graph is nested more than {MAX_DEPTH} levels deep"
    for number, value in _fields(message):
        if kind == "tensor":
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value == 1):
                return "its weights are in another file (external data): export it as a single file"
        elif isinstance(value, memoryview):
            if number in _STRINGS.get(kind, {}):
                problem = _text_problem(_STRINGS[kind][number], bytes(value).decode("utf-8"))
            elif number in _MESSAGES[kind]:
                problem = _find_problem(value, _MESSAGES[kind][number], depth + 1)
            else:
                continue
            if problem is not None:
                return problem
    return None


def _text_problem(what: str, text: str) -> str | None:
    if what == "domain" and text not in DOMAINS:
        return f"it uses operators of the domain {text[:80]!r}, which are not part of the ONNX standard"
    if what == "operator" and text in LOOPS:
        return f"it uses the operator {text}, which may run without end"
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of a protobuf message. Raises IndexError or ValueError where it is malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("a field ends behind its message")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number at this position, and the position after it."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
