"""Export of a trained network to one ONNX file that scores without torch, with a parity check.

Three files are written together: NAME.onnx scores, NAME.safetensors contains the same weights for training,
NAME.json is their record with the digests of both.

The graph takes the features of one clip (computed by numpy, audio/features.py) and its number of samples, contains
the speech encoder and the network, and returns scores in each target's unit. Large weights are stored as 16-bit
floats and converted when the file is loaded: half the size, and an error far below PARITY.

With `int8`, the weights of large matrix products are 8-bit integers (dynamic quantisation): a graph with a speech
encoder takes about half the time. Weights are signed with one scale per column; activations are unsigned, with a
scale for each clip. Weights use 7 of the 8 bits, because processors without VNNI instructions add in 16 bits and
would overflow. Products with few weights stay in 32 bits: they take little time and change the scores. On 30 clips of
six kinds, in ms of one core per second of audio, and the largest change of a MOS (a base with two encoder layers): 32
bits 5.8; all products in 8 bits 3.3, 0.074; the encoder's alone 3.3, 0.054; without its first layer 3.8, 0.025; its
dense layers alone 4.2, 0.023; blocks of 128 weights (MatMulNBits) 4.6, 0.033.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
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
from mtqnet.causes import CAUSE_KEYS, Calibration
from mtqnet.errors import ModelError
from mtqnet.targets import named
from mtqnet.training.encoder import PREFIX, SpeechEncoder
from mtqnet.training.model import Network

PARITY = 1e-3
"""Largest difference between torch and the exported file, in each target's unit; for SDI of its log10"""
INT8_PARITY = 0.15
"""The same for 8-bit weights, on bursts of noise, whose difference is larger than that of speech"""
HALF_FROM = 4096
"""Weights with at least this many numbers are stored as 16-bit floats"""
OPSET = 17
WEIGHTS_SHA256 = "weights_sha256"
"""Key of the record with the digest of NAME.safetensors"""
TUNED_ENCODER = "tuned_encoder"
"""Key of the record that tells whether NAME.safetensors contains the speech encoder too"""
ENCODER_IN = "encoder_in"
"""Key of the record with the name of the model in the same folder whose .safetensors file contains the encoder"""
IGNORED_WARNINGS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed",
    "Constant folding - Only steps=1",
    "Exporting a model to ONNX with a batch_size other than 1, with a variable length with LSTM",
)
"""Beginnings of warnings of the exporter that have no consequence here"""


@dataclass(frozen=True)
class Exported:
    """The written files, and their largest difference from torch."""

    model: Path
    record: Path
    difference: dict[str, float]
    """Largest absolute difference over the clips and frames of the check, by target, in its unit (SDI: log10)"""


class Scorer(nn.Module):
    """Encoder and network as one: features and sample counts -> scores in the targets' units."""

    def __init__(self, network: Network, encoder: SpeechEncoder | None) -> None:
        super().__init__()
        self.network, self.encoder = network, encoder
        views = [name for name in network.features if name != "encoder"]
        if encoder is not None:
            views.append(encoder.feature)
        self.features = tuple(dict.fromkeys(views))

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        more = {"causes": self.network.causes, "distance": self.network.distance}
        return ["values", "frames", "frame_counts", *(name for name, part in more.items() if part is not None)]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """(batch, rows, columns) for each of `features`, then samples (batch,) ->
        values (batch, targets), frames (batch, frames, targets), counts (batch,), and for a network that
        has them the probabilities of causes (batch, frames, causes) and the distance (batch,)."""
        samples = inputs[-1]
        views: dict[str, Tensor] = dict(zip(self.features, inputs[:-1], strict=True))
        if self.encoder is not None:
            views["encoder"], views["encoder_counts"] = self.encoder(views[self.encoder.feature], samples)
        output = self.network(views, samples)
        scores = self._own_units(output.values), self._own_units(output.frames), output.counts
        causes = () if output.causes is None else (torch.sigmoid(output.causes),)
        return (*scores, *causes, *(() if output.distance is None else (output.distance,)))

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
    encoder_in: str = "",
) -> Exported:
    """Write NAME.onnx, NAME.safetensors and NAME.json.

    Args:
        network: The trained network.
        encoder: Its speech encoder, if it has one.
        name: Name of the model.
        folder: Folder of the files.
        about: Further entries of the record.
        int8: Whether large matrix products use 8-bit weights.
        encoder_in: A model in the same folder that has the same encoder; NAME.safetensors does not repeat it.

    Raises:
        ModelError: If the scores differ from those of torch by more than PARITY (32 bits) or INT8_PARITY (8 bits).
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
            partial.write_bytes(_halved(quantised(graph)))
            difference = parity(scorer, partial)
            _agreeing(difference, INT8_PARITY)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    weights = _weights(network, None if encoder_in else encoder)
    (folder / f"{name}.safetensors").write_bytes(weights)
    record = {
        "name": name,
        "targets": list(network.targets),
        "features": list(scorer.features),
        "peak_normalise": network.config.peak_normalise,
        "frame_rate_hz": _frame_rate(scorer),
        "int8": int8,
        "track": True,
        **({"causes": {key: asdict(Calibration()) for key in CAUSE_KEYS}} if network.causes is not None else {}),
        "distance": network.distance is not None,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        TUNED_ENCODER: encoder is not None and encoder.tuned,
        **({ENCODER_IN: encoder_in} if encoder_in else {}),
        WEIGHTS_SHA256: hashlib.sha256(weights).hexdigest(),
        "parity": {k: float(f"{d:.1e}") for k, d in difference.items()},
        **about,
    }
    record_file = folder / f"{name}.json"
    record_file.write_text(json.dumps(record, indent=1) + "\n")
    return Exported(target, record_file, difference)


def _weights(network: Network, encoder: SpeechEncoder | None) -> bytes:
    """Return NAME.safetensors with the network's dimensions in its header; a tuned encoder is included in 16
    bits."""
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    if encoder is not None and encoder.tuned:
        tensors |= {PREFIX + key: tensor.half().contiguous() for key, tensor in encoder.state_dict().items()}
    return bytes(save(tensors, {"network": json.dumps(asdict(network.config))}))


def _agreeing(difference: Mapping[str, float], bound: float) -> None:
    if bad := {k: round(d, 5) for k, d in difference.items() if not d <= bound}:
        raise ModelError(
            f"the scores of the exported graph differ from those of torch by more than {bound}: {bad}"
        )


def quantised(model: bytes) -> bytes:
    """Convert the weights of the large matrix products of an ONNX graph to 8 bits."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load_from_string(model)
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        root.setLevel(logging.ERROR)  # it recommends a preparation without effect here
        try:
            quantize_dynamic(
                graph,
                target,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_outside_encoder(graph),
            )
        finally:
            root.setLevel(level)
        return target.read_bytes()


def _outside_encoder(graph: Any) -> list[str]:
    """Return the names of the matrix products outside the speech encoder."""
    products = (node.name for node in graph.graph.node if node.op_type == "MatMul")
    return [name for name in products if not name.startswith("/encoder/")]


def parity(scorer: Scorer, model: Path) -> dict[str, float]:
    """Return the largest difference by target between torch and the file, on clips of different lengths."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    worst = np.zeros(len(scorer.network.targets))
    batches = ((0.7,), (3.001,), (1.3,), (8.0,), (5.1234,), (2.2,))
    for seconds in batches:
        inputs = _example(scorer.features, seconds)
        with torch.inference_mode():
            expected = scorer(*inputs)
        names = [*scorer.features, "samples"]
        feed = {key: value.numpy() for key, value in zip(names, inputs, strict=True)}
        found = session.run(["values", "frames"], feed)
        for exported, original in zip(found, expected[:2], strict=True):
            rows = (np.asarray(exported).reshape(-1, len(worst)), original.numpy().reshape(-1, len(worst)))
            worst = np.maximum(worst, _served_difference(scorer.network.targets, *rows))
    return dict(zip(scorer.network.targets, worst.tolist(), strict=True))


def _served_difference(
    targets: Sequence[str], one: NDArray[np.floating], other: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the largest difference by target, within the target's range: (rows, targets) twice -> (targets,)."""
    columns = enumerate(named(list(targets)))
    return np.array([np.abs(t.compress(one[:, i]) - t.compress(other[:, i])).max() for i, t in columns])


def _graph(scorer: Scorer, path: Path) -> bytes:
    """Export to ONNX in 32 bits."""
    inputs = _example(scorer.features, (2.0,))
    axes = {name: {0: "batch", 1: f"{name}_rows"} for name in scorer.features}
    axes |= {name: {0: "batch", 1: "frames"} for name in scorer.outputs if name in ("frames", "causes")}
    axes |= {name: {0: "batch"} for name in ("samples", *scorer.outputs) if name not in axes}
    with _without_warnings(), _export_errors():
        torch.onnx.export(
            scorer, inputs, path, input_names=[*scorer.features, "samples"], output_names=scorer.outputs,
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return path.read_bytes()


def _halved(model: bytes) -> bytes:
    """Store the large float weights of a graph as fp16, followed by a Cast."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_from_string(model)
    nodes = []
    for node in proto.graph.node:  # large constants become initialisers like the other weights
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
    """Return padded features of noise bursts of these lengths, and their sample counts."""
    from mtqnet.audio.windows import pad

    rng = np.random.default_rng(0)
    clips = [
        (0.1 * rng.standard_normal(round(s * SAMPLE_RATE)) * np.sin(np.arange(round(s * SAMPLE_RATE)) / 900))
        for s in seconds
    ]
    views = [pad([FEATURES[name].compute(clip.astype(np.float32)) for clip in clips])[0] for name in features]
    return (*map(torch.from_numpy, views), torch.tensor([len(clip) for clip in clips]))


def _frame_rate(scorer: Scorer) -> float:
    """Return the frames per second, rounded to 0.5."""
    with torch.inference_mode():
        counts = scorer(*_example(scorer.features, (20.0,)))[2]
    return round(int(counts[0]) / 20.0 * 2) / 2


@contextlib.contextmanager
def _export_errors() -> Iterator[None]:
    try:
        yield
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"torch cannot export this network to ONNX: {reason}") from error


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress warnings about values that are traced as constants; `parity` checks the result."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            for message in IGNORED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
