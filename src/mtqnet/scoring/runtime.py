"""Run a model with onnxruntime on the CPU: audio clips in, values and frame scores out.

Inputs and outputs of the graph (written by training/export.py):
  inputs   one float32 (batch, rows, width) per feature of the record, under the feature's name, zero-padded;
           `samples` int64 (batch,): valid samples of each clip at 16 kHz.
  outputs  `values` float32 (batch, targets), each in its target's unit, not clipped;
           `frames` float32 (batch, frames, targets), likewise; `frame_counts` int64 (batch,): valid frames;
           `causes` float32 (batch, frames, causes), probabilities, if the record has causes;
           `distance` float32 (batch,) from the training clips, if the record has a distance.
The graph masks the padding, so that a clip has the same scores alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.audio.resampling import Samples
from mtqnet.audio.windows import pad
from mtqnet.errors import ModelError, UsageError, first_line
from mtqnet.scoring.models import ModelRecord

OUTPUTS = ["values", "frames", "frame_counts"]


@dataclass(frozen=True)
class Output:
    """Output of the graph for a batch, in the unit of each target, not clipped."""

    values: NDArray[np.float64]
    """(batch, targets)"""
    frames: tuple[NDArray[np.float64], ...]
    """Frame scores of each clip, (frames, targets), without padding"""
    causes: tuple[NDArray[np.float64], ...] = ()
    """Probabilities of the causes of each clip, (frames, causes), not calibrated; () for a model without causes"""
    distance: NDArray[np.float64] | None = None
    """(batch,): distance from the training clips; None for a model that does not measure it"""


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

    def run(self, clips: Sequence[Samples]) -> Output:
        """Compute the features of clips and run the graph.

        Args:
            clips: Arrays (samples_i,) at 16 kHz, each 0.5 s or longer.

        Raises:
            ModelError: The graph fails, its outputs have other shapes than its record announces, or a score is not
                finite.
        """
        if self.record.one_at_a_time and len(clips) > 1:
            single = [self.run([clip]) for clip in clips]
            return Output(
                np.concatenate([each.values for each in single]),
                tuple(each.frames[0] for each in single),
                tuple(causes for each in single for causes in each.causes),
                np.concatenate([each.distance for each in single]) if self.record.distance else None,
            )
        names = _outputs(self.record)
        inputs = _inputs(self.record, clips)
        try:
            found = dict(zip(names, self._session.run(names, inputs), strict=True))
        except Exception as error:  # see `_session`
            raise ModelError(f"the model {self.record.name!r} cannot be run ({first_line(error)})") from error
        values, frames, counts = (found[name] for name in OUTPUTS)
        self._check_shapes(found, len(clips))
        if not np.isfinite(values).all():
            raise ModelError(
                f"model '{self.record.name}' returned a score that is not finite: check that full scale of the "
                f"samples is 1 (their peak is {max(float(np.abs(clip).max()) for clip in clips):.3g})"
            )
        valid, kinds = (
            tuple(rows[:count].astype(np.float64) for rows, count in zip(array, counts, strict=True))
            for array in (frames, found.get("causes", frames[:, :, :0]))
        )
        distance = found["distance"].astype(np.float64) if "distance" in found else None
        return Output(values.astype(np.float64), valid, kinds if "causes" in found else (), distance)

    def _check_shapes(self, found: Mapping[str, NDArray[Any]], clips: int) -> None:
        targets = len(self.record.targets)
        frames = found["frames"]
        correct = frames.ndim == 3 and (frames.shape[0], frames.shape[2]) == (clips, targets)
        correct &= found["values"].shape == (clips, targets) and found["frame_counts"].shape == (clips,)
        if "causes" in found:
            correct &= found["causes"].ndim == 3 and len(found["causes"]) == clips
        if "distance" in found:
            correct &= found["distance"].shape == (clips,)
        if not correct:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in found.items())
            raise ModelError(f"the model {self.record.name!r} returned other shapes than its record: {shapes}")


def _outputs(record: ModelRecord) -> list[str]:
    return [*OUTPUTS, *(["causes"] if record.causes else []), *(["distance"] if record.distance else [])]


def _inputs(record: ModelRecord, clips: Sequence[Samples]) -> dict[str, NDArray[Any]]:
    inputs: dict[str, NDArray[Any]] = {"samples": np.array([len(clip) for clip in clips], dtype=np.int64)}
    scaled = [peak_normalised(clip) for clip in clips] if record.peak_normalise else clips
    with np.errstate(over="ignore", invalid="ignore"):  # very large samples overflow here; `run` reports them
        for name in record.features:
            inputs[name], _ = pad([FEATURES[name].compute(clip) for clip in scaled])
    return inputs


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
