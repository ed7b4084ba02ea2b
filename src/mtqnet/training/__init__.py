"""Everything that needs torch: networks, MPL, and the way out to ONNX. Scoring never imports this room."""

from __future__ import annotations

from mtqnet.errors import missing_extra

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:  # pragma: no cover - depends on what is installed
    raise missing_extra("Training", "train") from _error
