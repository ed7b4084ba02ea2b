"""The modulated-noise reference unit, ITU-T P.810: distortion of a known level that follows the speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mnru_gain(samples: int, q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(samples,): 1 + 10^(-Q/20) N with N white Gaussian noise of unit power.

    P.810 writes y = x (1 + 10^(-Q/20) N): the unit is a gain for each sample, so what holds for a mixture
    holds for each part of it. Q is the level of speech over that of the noise it carries, in dB.
    """
    noise = rng.standard_normal(samples, dtype=np.float32)
    return np.float32(1.0) + np.float32(10 ** (-q_db / 20)) * noise


def mnru(samples: NDArray[np.float32], q_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(samples,) -> (samples,) with modulated noise at Q dB."""
    return samples * mnru_gain(len(samples), q_db, rng)
