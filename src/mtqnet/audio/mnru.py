"""Modulated-noise reference unit, ITU-T P.810: a distortion of known level that follows the speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mnru_gain(samples: int, q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Compute the gain of the unit for each sample: y = x (1 + 10^(-Q/20) N) in P.810, N white Gaussian noise.

    The same gain can be applied to a mixture and to its parts.

    Args:
        samples: Number of samples.
        q_db: Q in dB, the level of the speech over that of the modulated noise.
        rng: Source of randomness.

    Returns:
        Shape (samples,).
    """
    noise = rng.standard_normal(samples, dtype=np.float32)
    return np.float32(1.0) + np.float32(10 ** (-q_db / 20)) * noise


def mnru(samples: NDArray[np.float32], q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add modulated noise at Q dB: (samples,) -> (samples,)."""
    return samples * mnru_gain(len(samples), q_db, rng)
