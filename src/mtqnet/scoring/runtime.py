"""One ONNX session on the CPU: clips in, values and frames out.

The contract with the graph (training/export.py writes it):
  inputs   one float32 (batch, rows, width) per feature of the record, under the feature's name, zeros after
           each clip; `samples` int64 (batch,), valid samples of each clip at 16 kHz.
  outputs  `values` float32 (batch, targets), each in its target's own unit, not clipped;
           `frames` float32 (batch, frames, targets), likewise; `frame_counts` int64 (batch,), valid frames.
The graph masks the padding, so that a clip scores the same alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.audio import Samples
from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.audio.windows import pad
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring.models import ModelRecord

OUTPUTS = ["values", "frames", "frame_counts"]


@dataclass(frozen=True)
class Output:
    """What the graph says of a batch. Own units, not clipped."""

    values: NDArray[np.float64]
    """(batch, targets)"""
    frames: tuple[NDArray[np.float64], ...]
    """Of each clip (frames, targets), without padding."""


class Runtime:
    """A loaded model. Reading and checking it raises ModelError; `threads` 0 means one per core."""

    def __init__(self, record: ModelRecord, threads: int = 0) -> None:
        if threads < 0:
            raise UsageError(f"threads is {threads}: give 1 or more, or 0 for one per core")
        self.record = record
        self._session = _session(record, threads)

    def run(self, clips: Sequence[Samples]) -> Output:
        """Clips (samples_i,) of 0.5 s or more -> values and frames. ModelError if they are not finite."""
        if self.record.one_at_a_time and len(clips) > 1:
            alone = [self.run([clip]) for clip in clips]
            return Output(np.concatenate([a.values for a in alone]), tuple(a.frames[0] for a in alone))
        feed = _inputs(self.record, clips)
        values, frames, counts = self._session.run(OUTPUTS, feed)
        if not np.isfinite(values).all():
            raise ModelError(
                f"model '{self.record.name}' gave no number: are the samples scaled to full scale 1? "
                f"Their peak is {max(float(np.abs(clip).max()) for clip in clips):.3g}"
            )
        pieces = (rows[:count] for rows, count in zip(frames, counts, strict=True))
        return Output(values.astype(np.float64), tuple(rows.astype(np.float64) for rows in pieces))


def _inputs(record: ModelRecord, clips: Sequence[Samples]) -> dict[str, NDArray[Any]]:
    lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
    heard = [peak_normalised(clip) for clip in clips] if record.peak_normalise else clips
    feed: dict[str, NDArray[Any]] = {"samples": lengths}
    # Absurdly large samples overflow here; `run` then says so in words.
    with np.errstate(over="ignore", invalid="ignore"):
        for name in record.features:
            feed[name], _ = pad([FEATURES[name].compute(clip) for clip in heard])
    return feed


def _session(record: ModelRecord, threads: int) -> Any:
    import onnxruntime as ort  # here, so that help texts need not wait for it

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    # Threads that wait would burn the time of other processes; a run is too long to gain by it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: they come as exceptions, the rest is chatter
    content = record.weights()
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen kinds, without a common base
        raise ModelError(f"onnxruntime cannot load {record.path} ({_first_line(error)})") from error
    _check(record, session)
    return session


def _check(record: ModelRecord, session: Any) -> None:
    given = {node.name for node in session.get_inputs()}
    missing = given ^ {"samples", *record.features}
    missing |= set(OUTPUTS) - {node.name for node in session.get_outputs()}
    if missing:
        raise ModelError(
            f"{record.path.name} and its record do not agree on {', '.join(sorted(missing))}: "
            "export the model again with this version of mtqnet"
        )
    width = next(node.shape[-1] for node in session.get_outputs() if node.name == "values")
    if isinstance(width, int) and width != len(record.targets):
        raise ModelError(
            f"{record.path.name} gives {width} values, its record names {len(record.targets)} targets"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
