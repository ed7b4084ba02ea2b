"""Write a checkpoint as ONNX with 8-bit weights, and compare the graph with the network.

    python -m research.neural.export runs/vocoder/step-4000.pt research/neural/weights/vocoder-late.onnx

Large weights are stored as 8-bit integers with a scale for each output channel; onnxruntime turns them into 32-bit
floats when it loads the file, so that products are computed in 32 bits.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from mtqnet.corpus.degradations.generative import BANDS
from research.neural.enhancer import Enhancer
from research.neural.vocoder import BINS, Vocoder

OPSET = 17
LARGE = 4096
"""Numbers from which on a weight is stored in 8 bits"""
LEAST_AGREEMENT_DB = 25.0
"""Energy of the network's output relative to that of the difference of graph and network"""


def load(path: Path) -> Vocoder | Enhancer:
    """The network of a file OUT/step-N.pt of train.py, for inference."""
    state = torch.load(path, weights_only=True)
    network: Vocoder | Enhancer = Vocoder() if state["kind"] == "vocoder" else Enhancer()
    network.load_state_dict(state["weights"])
    return network.eval()


def example(network: Vocoder | Enhancer, frames: int, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of a size that occurs in speech at -26 dBov."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(1, *shape, frames, generator=rng)

    if isinstance(network, Enhancer):
        return {"compressed": 0.5 * normal(2, BINS)}
    return {
        "mel": normal(BANDS) - 2,
        "pitch": torch.cat([0.3 * normal(1), torch.rand(1, 1, frames, generator=rng)], dim=1),
        "pulses": 10 * normal(2, BINS),
        "noise": 10 * normal(2, BINS),
    }


def export(network: Vocoder | Enhancer, path: Path, about: str = "") -> float:
    """Write `path` and return the agreement in dB. Raises ValueError below LEAST_AGREEMENT_DB."""
    inputs = example(network, 50)
    unfinished = path.with_suffix(".unfinished")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, tuple(inputs.values()), unfinished, input_names=list(inputs), output_names=["spectrum"],
            dynamic_axes={**{name: {value.ndim - 1: "frames"} for name, value in inputs.items()},
                          "spectrum": {3: "frames"}},
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(unfinished)
    quantise(model)
    model.doc_string = about
    onnx.checker.check_model(model)
    unfinished.write_bytes(model.SerializeToString())
    agreement = compare(network, unfinished)
    if agreement < LEAST_AGREEMENT_DB:
        unfinished.unlink()
        raise ValueError(
            f"the graph differs from the network: {agreement:.1f} dB, at least {LEAST_AGREEMENT_DB} needed"
        )
    unfinished.replace(path)
    return agreement


def quantise(model: onnx.ModelProto) -> None:
    """Replace each large float weight by integers of 8 bits, scales and a DequantizeLinear node."""
    consumers = {name: node for node in model.graph.node for name in node.input}
    added = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LARGE:
            continue
        values = numpy_helper.to_array(tensor)
        axis = 0 if consumers[tensor.name].op_type == "Conv" else values.ndim - 1  # of the output channels
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(axis=others) / 127, 1e-12).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        integers = np.clip(np.round(values / scale.reshape(shape)), -127, 127).astype(np.int8)
        name = tensor.name
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(numpy_helper.from_array(integers, f"{name}_int8"))
        model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        added.append(helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=axis))
    nodes = [*added, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def compare(network: Vocoder | Enhancer, path: Path) -> float:
    """Agreement of graph and network in dB for another number of frames than at export."""
    inputs = example(network, 83, seed=1)
    with torch.inference_mode():
        wanted = network(*inputs.values()).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return float(10 * np.log10(np.square(wanted).sum() / np.square(made - wanted).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="OUT/step-N.pt of research.neural.train")
    parser.add_argument("target", type=Path, help="ONNX file to write")
    options = parser.parse_args()
    state = torch.load(options.checkpoint, weights_only=True)
    about = f"{state['kind']} of the mtqnet project, step {state['step']}"
    agreement = export(load(options.checkpoint), options.target, about)
    size = options.target.stat().st_size / 1e6
    print(
        f"{options.target}: step {state['step']}, {state['cpu_s']:.0f} s of CPU, {size:.2f} MB, {agreement:.1f} dB"
    )


if __name__ == "__main__":
    main()
