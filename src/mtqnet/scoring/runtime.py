"""Run a model with onnxruntime on the CPU: an audio clip in, values and frame scores out.

Inputs and outputs of the graph (written by training/export.py):
  inputs   one float32 (1, rows, width) per feature of the record, under the feature's name;
           `samples` int64 (1,): samples of the clip at 16 kHz.
  outputs  `values` float32 (1, targets), each in its target's unit, not clipped;
           `frames` float32 (1, frames, targets), likewise; `frame_counts` int64 (1,): valid frames;
           `causes` float32 (1, frames, causes), probabilities, if the record has causes;
           `distance` float32 (1,) from the training clips, if the record has a distance.
A graph is for one clip: on a CPU, a batch takes as long as its clips one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.audio.resampling import Samples
from mtqnet.errors import ModelError, UsageError, first_line
from mtqnet.scoring.models import ModelRecord

OUTPUTS = ["values", "frames", "frame_counts"]


@dataclass(frozen=True)
class Output:
    """Output of the graph for a clip, in the unit of each target, not clipped."""

    values: NDArray[np.float64]
    """(targets,)"""
    frames: NDArray[np.float64]
    """(frames, targets)"""
    causes: NDArray[np.float64]
    """(frames, causes): probabilities, not calibrated; empty for a model without causes"""
    distance: float | None = None
    """Distance from the training clips; None for a model that does not measure it"""


class Runtime:
    """A loaded model.

    Args:
        record: The model's record.
        threads: Threads of onnxruntime; 0 means one per core.

    Raises:
        ModelError: The model cannot be loaded or does not agree with its record.
    """

    def __init__(self, record: ModelRecord, threads: int = 0) -> None:
        if threads < 0:
            raise UsageError(f"threads is {threads}: give 1 or more, or 0 for one per core")
        self.record = record
        self._session = _session(record, threads)

    def run(self, clip: Samples) -> Output:
        """Compute the features of a clip and run the graph.

        Args:
            clip: Shape (samples,) at 16 kHz, 0.5 s or longer.

        Raises:
            ModelError: The graph fails, its outputs have other shapes than its record announces, or a score is not
                finite.
        """
        names, inputs = _outputs(self.record), _inputs(self.record, clip)
        try:
            found = dict(zip(names, self._session.run(names, inputs), strict=True))
        except Exception as error:  # see `_session`
            raise ModelError(f"the model {self.record.name!r} cannot be run ({first_line(error)})") from error
        self._check_shapes(found)
        values, frames, counts = (found[name] for name in OUTPUTS)
        if not np.isfinite(values).all():
            raise ModelError(
                f"model '{self.record.name}' returned a score that is not finite: check that full scale of the "
                f"samples is 1 (their peak is {float(np.abs(clip).max()):.3g})"
            )
        causes = found["causes"][0, : counts[0]] if "causes" in found else np.zeros((0, 0))
        distance = float(found["distance"][0]) if "distance" in found else None
        values, frames, causes = (x.astype(np.float64) for x in (values[0], frames[0, : counts[0]], causes))
        return Output(values, frames, causes, distance)

    def _check_shapes(self, found: Mapping[str, NDArray[Any]]) -> None:
        targets = len(self.record.targets)
        frames = found["frames"]
        correct = frames.ndim == 3 and (frames.shape[0], frames.shape[2]) == (1, targets)
        correct &= found["values"].shape == (1, targets) and found["frame_counts"].shape == (1,)
        if "causes" in found:
            correct &= found["causes"].ndim == 3 and len(found["causes"]) == 1
        if "distance" in found:
            correct &= found["distance"].shape == (1,)
        if not correct:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in found.items())
            raise ModelError(f"the model {self.record.name!r} returned other shapes than its record: {shapes}")


def _outputs(record: ModelRecord) -> list[str]:
    return [*OUTPUTS, *(["causes"] if record.causes else []), *(["distance"] if record.distance else [])]


def _inputs(record: ModelRecord, clip: Samples) -> dict[str, NDArray[Any]]:
    scaled = peak_normalised(clip) if record.peak_normalise else clip
    with np.errstate(over="ignore", invalid="ignore"):  # very large samples overflow here; `run` reports them
        views = {name: FEATURES[name].compute(scaled)[None] for name in record.features}
    return {"samples": np.array([len(clip)], dtype=np.int64), **views}


def _session(record: ModelRecord, threads: int) -> Any:
    import onnxruntime as ort  # here, because it takes long to import

    ort.disable_telemetry_events()  # in case it was imported before this package, see mtqnet/__init__.py
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    # Spinning threads would take processor time from other processes; one run is too long to gain from it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the only format that was checked
    options.log_severity_level = 3  # errors only, which are raised as exceptions
    content = record.weights()
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen exception types without a common base class
        raise ModelError(f"onnxruntime cannot load {record.path} ({first_line(error)})") from error
    _check(record, session)
    return session


def _check(record: ModelRecord, session: Any) -> None:
    inputs = {node.name for node in session.get_inputs()}
    different = inputs ^ {"samples", *record.features}
    different |= set(_outputs(record)) - {node.name for node in session.get_outputs()}
    if different:
        raise ModelError(
            f"{record.path.name} and its record do not agree on {', '.join(sorted(different))}: "
            "export the model again with this version of mtqnet"
        )
    width = next(node.shape[-1] for node in session.get_outputs() if node.name == "values")
    if isinstance(width, int) and width != len(record.targets):
        raise ModelError(
            f"{record.path.name} has {width} output values, but its record has {len(record.targets)} targets"
        )
