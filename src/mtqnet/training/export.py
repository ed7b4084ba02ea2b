"""The files of a model: export of a network to ONNX with a parity check, and loading of its weights into torch.

Three files are written together: NAME.onnx scores without torch, NAME.safetensors contains the same weights for
training, because a graph cannot be trained, and NAME.json is their record with the digests of both.

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
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # not in its __all__

from mtqnet.audio.features import FEATURES
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.causes import CAUSE_KEYS, Calibration
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.models import ModelRecord
from mtqnet.targets import named
from mtqnet.training import encoder as encoders
from mtqnet.training.config import EncoderConfig, NetworkConfig, build
from mtqnet.training.encoder import PREFIX, SpeechEncoder
from mtqnet.training.features import FrontEnd
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
ONE_TRAINING = "copy .onnx, .safetensors and .json of the same training"


@dataclass(frozen=True)
class Opened:
    """A model that can be trained or differentiated."""

    record: ModelRecord
    about: Mapping[str, Any]
    """All entries of the record"""
    network: Network
    """In evaluation mode"""
    encoder: SpeechEncoder | None
    front_end: FrontEnd

    @property
    def int8(self) -> bool:
        """Whether the graph has 8-bit matrix products; the weights have 32 bits in any case."""
        return bool(self.about.get("int8", False))


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
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    if encoder is not None and encoder.tuned and not encoder_in:
        tensors |= {PREFIX + key: tensor.half().contiguous() for key, tensor in encoder.state_dict().items()}
    weights = save(tensors, {"network": json.dumps(asdict(network.config))})
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


def _agreeing(difference: Mapping[str, float], bound: float) -> None:
    if bad := {k: round(d, 5) for k, d in difference.items() if not d <= bound}:
        raise ModelError(
            f"the scores of the exported graph differ from those of torch by more than {bound}: {bad}"
        )


def quantised(model: bytes) -> bytes:
    """Convert the weights of the matrix products of the speech encoder in an ONNX graph to 8 bits."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load_from_string(model)
    products = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
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
                nodes_to_exclude=[name for name in products if not name.startswith("/encoder/")],
            )
        finally:
            root.setLevel(level)
        return target.read_bytes()


def parity(scorer: Scorer, model: Path) -> dict[str, float]:
    """Return the largest difference by target between torch and the file, on clips of different lengths."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    targets = tuple(named(scorer.network.targets))
    worst = dict.fromkeys(scorer.network.targets, 0.0)
    for seconds in (0.7, 3.001, 1.3, 8.0, 5.1234, 2.2):
        inputs = _example(scorer.features, seconds)
        with torch.inference_mode():
            expected = scorer(*inputs)
        names = [*scorer.features, "samples"]
        feed = {key: value.numpy() for key, value in zip(names, inputs, strict=True)}
        for one, other in zip(session.run(["values", "frames"], feed), expected[:2], strict=True):
            for place, t in enumerate(targets):
                difference = t.compress(one[..., place]) - t.compress(other.numpy()[..., place])
                worst[t.key] = float(np.maximum(worst[t.key], np.abs(difference).max()))  # NaN remains
    return worst


def _graph(scorer: Scorer, path: Path) -> bytes:
    """Export to ONNX in 32 bits."""
    inputs = _example(scorer.features, 2.0)
    axes = {name: {0: "batch", 1: f"{name}_rows"} for name in scorer.features}
    axes |= {name: {0: "batch", 1: "frames"} for name in scorer.outputs if name in ("frames", "causes")}
    axes |= {name: {0: "batch"} for name in ("samples", *scorer.outputs) if name not in axes}
    with _without_warnings():
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


def _example(features: tuple[str, ...], seconds: float) -> tuple[Tensor, ...]:
    """Return the features of a noise burst of this length, and its number of samples."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    clip = (0.1 * noise * np.sin(np.arange(len(noise)) / 900)).astype(np.float32)
    views = [torch.from_numpy(FEATURES[name].compute(clip))[None] for name in features]
    return (*views, torch.tensor([len(clip)]))


def _frame_rate(scorer: Scorer) -> float:
    """Return the frames per second, rounded to 0.5."""
    with torch.inference_mode():
        counts = scorer(*_example(scorer.features, 20.0))[2]
    return round(int(counts[0]) / 20.0 * 2) / 2


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress warnings about values that are traced as constants; `parity` checks the result. Raises ModelError."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            for message in IGNORED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(f"torch cannot export this network to ONNX: {str(error).splitlines()[0]}") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def load_weights(model: str | os.PathLike[str]) -> Opened:
    """Load the weights of a model into torch.

    Args:
        model: Name of a shipped model, or path of a model.

    Raises:
        ModelError: If there is no .safetensors file, or it does not belong to the graph.
    """
    record = models.find(model)
    record.weights()  # checks that the graph belongs to the record
    file, path = record.path.with_suffix(".json"), record.path.with_suffix(".safetensors")
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    try:
        config = about["config"]
        dimensions = build(NetworkConfig, config["network"], f"{file.name}, config.network")
        encoder_config = build(EncoderConfig, config["encoder"], f"{file.name}, config.encoder")
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        reason = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{file.name} does not describe a network that this version can train ({reason}): it can only be used "
            "for scoring"
        ) from error
    if not path.is_file():
        raise ModelError(
            f"model '{record.name}' has no weights for training: there is no {path.name} next to "
            f"{record.path.name}. `mtqnet train` writes both; a model without {path.name} can only be used "
            "for scoring"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != about.get(WEIGHTS_SHA256):
        raise ModelError(f"{path.name} does not belong to {file.name} (its sha256 differs): {ONE_TRAINING}")
    if about.get(TUNED_ENCODER, False):
        stem = Path(str(about.get(ENCODER_IN, path.stem))).name
        encoder_config = replace(encoder_config, weights=str(path.with_name(f"{stem}.safetensors")))
    front_end = FrontEnd.of(dimensions, encoder_config)
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    with torch.random.fork_rng():
        network = Network(dimensions, record.targets, encoder.width if encoder is not None else 0)
    try:
        network.load_state_dict({k: w for k, w in load(content).items() if not k.startswith(PREFIX)})
    except Exception as error:  # safetensors has no public name for its error
        raise ModelError(
            f"{path} is damaged, or has other weights than {file.name} describes: {ONE_TRAINING}"
        ) from error
    return Opened(record, about, network.eval(), encoder, front_end)
