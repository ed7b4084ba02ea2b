"""Which models exist, and whether a model file is what its record says.

A model is a pair: `NAME.onnx` (the graph with its weights) and `NAME.json` (its record) beside it. Shipped
models lie in the package, in `weights/`; one of your own is named by the path of its `.onnx`, or by a folder
that holds exactly one pair. The record says, in JSON:

    {"name": "base", "targets": ["s_mos", "n_mos"], "features": ["logmel"], "peak_normalise": false,
     "frame_rate_hz": 25.0, "sha256": "digest of the .onnx file", "licence": "MIT"}

More keys are allowed and left alone: what the model was trained on, the figures it reached, ...
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtqnet.audio.features import FEATURES
from mtqnet.errors import ModelError
from mtqnet.scoring.intervals import Intervals, parse
from mtqnet.targets import KEYS

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
"""Folder of the shipped models."""


@dataclass(frozen=True)
class ModelRecord:
    """What a model says of itself."""

    path: Path
    """The .onnx file"""
    name: str
    targets: tuple[str, ...]
    """Keys, in the order of the graph's outputs."""
    features: tuple[str, ...]
    """Names in signal.features.FEATURES, which are the graph's inputs."""
    peak_normalise: bool
    """Whether samples are divided by their peak before the features are taken."""
    frame_rate_hz: float
    """Frame scores a second"""
    sha256: str
    licence: str
    one_at_a_time: bool = False
    """Whether the graph takes a single clip only (some speech encoders know no padding)."""
    intervals: Intervals | None = None
    """None for a model that was not calibrated"""
    track: bool = True
    """Whether its frame scores follow each other in time."""

    def weights(self) -> bytes:
        """The .onnx file, read once and held against `sha256`. Raises ModelError."""
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read {self.path} ({error.strerror}): check the path") from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelError(
                f"{self.path.name} is not the file that {self.path.with_suffix('.json').name} describes "
                f"(sha256 {digest[:12]}..., expected {self.sha256[:12]}...): install it again"
            )
        return content


def shipped() -> tuple[str, ...]:
    """Names of the models inside the package, sorted."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.onnx")))


def find(model: str | os.PathLike[str]) -> ModelRecord:
    """The record of a shipped model (by name) or of one's own (by path). Raises ModelError."""
    if isinstance(model, str) and model in shipped():
        return _read(WEIGHTS / f"{model}.onnx")
    path = Path(model)
    if path.is_dir():
        return _read(_only_pair(path))
    if path.suffix == ".onnx":
        return _read(path)
    names = ", ".join(shipped()) or "none (this installation holds no weights: install it again)"
    raise ModelError(f"no model named '{model}'. There are: {names}; or give the path of an .onnx file")


def _only_pair(folder: Path) -> Path:
    pairs = sorted(path for path in folder.glob("*.onnx") if path.with_suffix(".json").is_file())
    if len(pairs) != 1:
        raise ModelError(
            f"{folder} holds {len(pairs)} models (an .onnx with its .json beside it), expected one: "
            "name the .onnx file itself"
        )
    return pairs[0]


def _read(path: Path) -> ModelRecord:
    if not path.is_file():
        raise ModelError(f"no such model file: {path}")
    beside = path.with_suffix(".json")
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} has no record: put {beside.name} beside it, as it was exported") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{beside} is not a JSON record ({error}): export the model again") from error
    try:
        return _parse(path, record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{beside} {said}: export the model again") from error


def _parse(path: Path, record: Mapping[str, Any]) -> ModelRecord:
    return ModelRecord(
        path=path,
        name=str(record["name"]),
        targets=_known("targets", record["targets"], KEYS),
        features=_known("features", record["features"], tuple(FEATURES)),
        peak_normalise=bool(record["peak_normalise"]),
        frame_rate_hz=_positive("frame_rate_hz", record["frame_rate_hz"]),
        sha256=str(record["sha256"]).lower(),
        licence=str(record["licence"]),
        one_at_a_time=bool(record.get("one_at_a_time", False)),
        intervals=parse(record["intervals"], record["targets"]) if "intervals" in record else None,
        track=bool(record.get("track", True)),
    )


def _known(what: str, names: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise ValueError(f"has no list of different names as '{what}'")
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ValueError(f"has unknown {what}: {', '.join(unknown)} (known: {', '.join(known)})")
    return tuple(names)


def _positive(what: str, value: Any) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"has {what} {value!r}, which is no positive number")
    return number
