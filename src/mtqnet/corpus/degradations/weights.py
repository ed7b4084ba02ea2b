"""Folder of the weights that no package contains: the variable MTQNET_WEIGHTS, or the folder WEIGHTS.

A step reads its files from a subfolder: `lyra_v2`, `ulunas`. The project's own are found by own_weights.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import onnxruntime as ort

from mtqnet.errors import MissingExtraError

VARIABLE = "MTQNET_WEIGHTS"
WEIGHTS = Path("../shared/weights")
"""Used when the variable is not set"""
SOURCES: Mapping[str, str] = {
    "lyra_v2": "github.com/google/lyra, lyra/model_coeffs at commit 47698da",
    "ulunas": "github.com/Xiaobin-Rong/ul-unas, ulunas_onnx/onnx_models at commit 00f7c70",
}
"""Subfolder -> where its files come from"""


def weights_folder() -> Path:
    """Folder with one subfolder for each key of SOURCES."""
    return Path(os.environ.get(VARIABLE) or WEIGHTS)


def weights_file(folder: str, name: str) -> Path:
    """Path of a file with weights. Raises MissingExtraError if it does not exist."""
    path = weights_folder() / folder / name
    if not path.is_file():
        raise MissingExtraError(
            f"{path} does not exist: copy {name} from {SOURCES[folder]}, or set {VARIABLE} to the folder that "
            f"contains {folder}"
        )
    return path


def session(path: Path) -> ort.InferenceSession:
    """The ONNX graph of a file, loaded once in a process; one thread, so that sums keep their order."""
    return _session(path.resolve())


@lru_cache(maxsize=16)
def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
