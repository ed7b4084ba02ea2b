"""16-bit samples and frames, as most codecs and suppressors expect them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

FULL_SCALE = 32_768
"""16-bit samples in a full scale of 1"""


def in_frames(samples: NDArray[T], frame: int) -> NDArray[T]:
    """(samples,) -> (frames, frame), the last one filled up with zeros."""
    return np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Full scale 1 -> 16 bit, rounded; what is louder is clipped."""
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(FULL_SCALE)
