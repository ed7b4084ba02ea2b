"""Training of MTQ-Net by MPL, distillation and fine-tuning. Needs torch; scoring never imports this package."""

from __future__ import annotations

from mtqnet.errors import missing_extra

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:  # pragma: no cover - depends on what is installed
    raise missing_extra("Training", "train") from _error
