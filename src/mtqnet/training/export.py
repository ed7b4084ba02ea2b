"""From a trained network to one ONNX file that scores without torch, with a parity check.

Three files are written together: NAME.onnx scores, NAME.safetensors holds the same weights to train on, NAME.json
is their record. The record has the digest of both, so whoever opens one knows that it belongs to the other.

The graph takes features (numpy makes them, signal/features.py) and sample counts, holds the speech encoder
and the network, and gives scores in each target's own unit. The large weights are stored as 16-bit floats
and widened when the file is loaded: half the size, and far less error than PARITY allows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # not in its __all__

from mtqnet.audio.features import FEATURES
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import ModelError
from mtqnet.targets import named
from mtqnet.training import quantise
from mtqnet.training.encoder import PREFIX, SpeechEncoder
from mtqnet.training.network import Network

PARITY = 1e-3
"""Largest difference between torch and the exported file, in each target's own unit; for SDI of its log10"""
INT8_PARITY = 0.15
"""The same where weights are 8-bit integers, on bursts of noise, which are further off than speech"""
HALF_FROM = 4096
"""Numbers: larger weights are stored as 16-bit floats"""
OPSET = 17
WEIGHTS_SHA256 = "weights_sha256"
"""Key of the record: digest of NAME.safetensors"""
TUNED_ENCODER = "tuned_encoder"
"""Key of the record: whether NAME.safetensors holds the speech encoder too"""
EXPORTER_SAYS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed",
    "Exporting a model to ONNX with a batch_size other than 1, with a variable length with LSTM",
)
"""Beginnings of warnings that are known and mean nothing here"""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from torch at most."""

    model: Path
    record: Path
    difference: dict[str, float]
    """Largest absolute difference over the check's clips and frames, by target, in its own unit (SDI: log10)"""


class Scorer(nn.Module):
    """Encoder and network as one: features by name and sample counts in, scores in their own units out."""

    def __init__(self, network: Network, encoder: SpeechEncoder | None) -> None:
        super().__init__()
        self.network, self.encoder = network, encoder
        views = [name for name in network.features if name != "encoder"]
        if encoder is not None:
            views.append(encoder.feature)
        self.features = tuple(dict.fromkeys(views))
        self.one_at_a_time = encoder is not None and encoder.one_at_a_time

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, rows, columns) for each of `features`, then samples (batch,) ->
        values (batch, targets), frames (batch, frames, targets), counts (batch,)."""
        samples = inputs[-1]
        views: dict[str, Tensor] = dict(zip(self.features, inputs[:-1], strict=True))
        if self.encoder is not None:
            views["encoder"], views["encoder_counts"] = self.encoder(views[self.encoder.feature], samples)
        output = self.network(views, samples)
        return self._own_units(output.values), self._own_units(output.frames), output.counts

    def _own_units(self, scores: Tensor) -> Tensor:
        columns = []
        for place, target in enumerate(named(self.network.targets)):
            slope, offset = target.affine
            column = scores[..., place] * slope + offset
            columns.append(torch.exp(column * float(np.log(10.0))) if target.log else column)
        return torch.stack(columns, dim=-1)


def export(
    network: Network,
    encoder: SpeechEncoder | None,
    name: str,
    folder: Path,
    about: Mapping[str, Any],
    int8: bool = False,
) -> Exported:
    """Write NAME.onnx, NAME.safetensors and NAME.json into `folder`; with `int8` the graph's matrix
    products are in 8 bits (quantise.py).

    Raises ModelError if the file scores unlike torch: the graph in 32 bits by more than PARITY, and what 8 bits
    make of it by more than INT8_PARITY.
    """
    scorer = Scorer(network, encoder).eval()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.onnx"
    partial = folder / f"{name}.partial.onnx"
    try:
        graph = _graph(scorer, partial)
        partial.write_bytes(_halved(graph))
        difference = parity(scorer, partial)
        _agreeing(difference, PARITY)
        if int8:
            scorer.one_at_a_time = True
            partial.write_bytes(_halved(quantise.int8(graph)))
            difference = parity(scorer, partial)
            _agreeing(difference, INT8_PARITY)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    weights = _weights(network, encoder)
    (folder / f"{name}.safetensors").write_bytes(weights)
    record = {
        "name": name,
        "targets": list(network.targets),
        "features": list(scorer.features),
        "peak_normalise": network.config.peak_normalise,
        "frame_rate_hz": _frame_rate(scorer),
        "one_at_a_time": scorer.one_at_a_time,
        "int8": int8,
        "track": network.config.merge == "channel",  # else the frames are branches in a row, not time
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        TUNED_ENCODER: encoder is not None and encoder.tuned,
        WEIGHTS_SHA256: hashlib.sha256(weights).hexdigest(),
        "parity": {k: float(f"{d:.1e}") for k, d in difference.items()},
        **about,
    }
    record_file = folder / f"{name}.json"
    record_file.write_text(json.dumps(record, indent=1) + "\n")
    return Exported(target, record_file, difference)


def _weights(network: Network, encoder: SpeechEncoder | None) -> bytes:
    """NAME.safetensors, with the network's dimensions in its header; a tuned encoder too, in 16 bits."""
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    if encoder is not None and encoder.tuned:
        tensors |= {PREFIX + key: tensor.half().contiguous() for key, tensor in encoder.state_dict().items()}
    return bytes(save(tensors, {"network": json.dumps(asdict(network.config))}))


def _agreeing(difference: Mapping[str, float], bound: float) -> None:
    if bad := {k: round(d, 5) for k, d in difference.items() if not d <= bound}:
        raise ModelError(f"the exported graph scores unlike torch, beyond {bound}: {bad}")


def parity(scorer: Scorer, model: Path) -> dict[str, float]:
    """Largest difference by target between torch and the file, on batches of unlike lengths."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    worst = np.zeros(len(scorer.network.targets))
    batches = ((0.7,), (3.001, 1.3), (8.0, 5.1234, 2.2))  # whole frames and parts of frames
    for seconds in [(s,) for batch in batches for s in batch] if scorer.one_at_a_time else batches:
        inputs = _example(scorer.features, seconds)
        with torch.inference_mode():
            expected = scorer(*inputs)
        names = [*scorer.features, "samples"]
        feed = {key: value.numpy() for key, value in zip(names, inputs, strict=True)}
        found = session.run(["values", "frames"], feed)
        for told, meant in zip(found, expected[:2], strict=True):
            rows = (np.asarray(told).reshape(-1, len(worst)), meant.numpy().reshape(-1, len(worst)))
            worst = np.maximum(worst, _served_difference(scorer.network.targets, *rows))
    return dict(zip(scorer.network.targets, worst.tolist(), strict=True))


def _served_difference(
    targets: Sequence[str], told: NDArray[np.floating], meant: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(rows, targets) twice -> (targets,): largest difference of what is served, within each target's range."""
    columns = enumerate(named(list(targets)))
    return np.array([np.abs(t.compress(told[:, i]) - t.compress(meant[:, i])).max() for i, t in columns])


def _graph(scorer: Scorer, path: Path) -> bytes:
    """As torch writes it, in 32 bits."""
    inputs = _example(scorer.features, (2.0,) if scorer.one_at_a_time else (2.0, 1.0))
    axes = {name: {0: "batch", 1: f"{name}_rows"} for name in scorer.features}
    with _quiet(), _explained():
        torch.onnx.export(
            scorer, inputs, path,
            input_names=[*scorer.features, "samples"], output_names=["values", "frames", "frame_counts"],
            dynamic_axes={
                **axes, "samples": {0: "batch"}, "values": {0: "batch"},
                "frames": {0: "batch", 1: "frames"}, "frame_counts": {0: "batch"},
            },
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return path.read_bytes()


def _halved(model: bytes) -> bytes:
    """The same graph with its large float weights as fp16 and a Cast behind each."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_from_string(model)
    nodes = []
    for node in proto.graph.node:  # large constants become initialisers, as the other weights are
        value = node.attribute[0].t if node.op_type == "Constant" and node.attribute[0].name == "value" else None
        if value is None or _numbers(value) < HALF_FROM:
            nodes.append(node)
            continue
        proto.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or _numbers(tensor) < HALF_FROM:
            continue
        wide, name = tensor.name, tensor.name + "_half"
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _numbers(tensor: Any) -> int:
    return int(np.prod(tensor.dims))


def _example(features: tuple[str, ...], seconds: tuple[float, ...]) -> tuple[Tensor, ...]:
    """Padded features of noise bursts of these lengths, and their sample counts."""
    from mtqnet.audio.windows import pad

    rng = np.random.default_rng(0)
    clips = [
        (0.1 * rng.standard_normal(round(s * SAMPLE_RATE)) * np.sin(np.arange(round(s * SAMPLE_RATE)) / 900))
        for s in seconds
    ]
    views = [pad([FEATURES[name].compute(clip.astype(np.float32)) for clip in clips])[0] for name in features]
    return (*map(torch.from_numpy, views), torch.tensor([len(clip) for clip in clips]))


def _frame_rate(scorer: Scorer) -> float:
    """Frames a second, to the next half."""
    with torch.inference_mode():
        counts = scorer(*_example(scorer.features, (20.0,)))[2]
    return round(int(counts[0]) / 20.0 * 2) / 2


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"torch cannot write this network as ONNX ({reason})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about values that the tracer takes for constants: parity() is what checks them."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            for message in EXPORTER_SAYS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
