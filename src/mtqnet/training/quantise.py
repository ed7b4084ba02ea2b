"""Weights of matrix products as 8-bit integers: with a speech encoder a graph takes about 0.6 of the time.

Weights are signed, one scale a column; activations are unsigned, their scale is found anew for each clip. So that
is for clips that are run alone: in a batch a clip's scale would depend on its neighbours. Weights use 7 of the 8
bits: with 8, processors without VNNI instructions add in 16 bits, overflow, and give other scores.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path


def int8(model: bytes) -> bytes:
    """An ONNX graph in 32 bits -> the same with its weights of matrix products in 8. The rest stays."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    chatter = logging.getLogger()
    level = chatter.level
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        chatter.setLevel(logging.ERROR)  # it advises a preparation that changes nothing here
        try:
            quantize_dynamic(
                onnx.load_from_string(model),
                made,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
        finally:
            chatter.setLevel(level)
        return made.read_bytes()
