"""Weights of matrix products as 8-bit integers: with a speech encoder a graph takes about 0.6 of the time.

Weights are signed, one scale a column; activations are unsigned, their scale is found anew for each clip. So that
is for clips that are run alone: in a batch a clip's scale would depend on its neighbours. Weights use 7 of the 8
bits: with 8, processors without VNNI instructions add in 16 bits, overflow, and give other scores.

Products with few weights stay in 32 bits: they take no time, and move the scores. On 30 clips of six kinds, in ms
of one core per second of audio, and the largest move of a MOS (a base with two encoder layers): 32 bits 5.8; all
products in 8 bits 3.3, 0.074; the encoder's alone 3.3, 0.054; without its first layer 3.8, 0.025; its dense layers
alone 4.2, 0.023; blocks of 128 weights (MatMulNBits) 4.6, 0.033.
"""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path
from typing import Any

SMALL = 2**17
"""Weights. Matrices of a speech encoder have 147,000 and more, those behind it 98,000 and fewer."""


def int8(model: bytes) -> bytes:
    """An ONNX graph in 32 bits -> the same with its weights of matrix products in 8. The rest stays."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load_from_string(model)
    chatter = logging.getLogger()
    level = chatter.level
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        chatter.setLevel(logging.ERROR)  # it advises a preparation that changes nothing here
        try:
            quantize_dynamic(
                graph,
                made,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_small_products(graph),
            )
        finally:
            chatter.setLevel(level)
        return made.read_bytes()


def _small_products(graph: Any) -> list[str]:
    """Names of the matrix products whose weights are fewer than SMALL."""
    sizes = {weight.name: math.prod(weight.dims) for weight in graph.graph.initializer}
    products = (node for node in graph.graph.node if node.op_type == "MatMul")
    return [node.name for node in products if sizes.get(node.input[1], SMALL) < SMALL]
