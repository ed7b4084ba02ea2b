"""UL-UNAS (Rong et al. 2025), an ultra-light network that estimates a complex mask. Weights: Rong Xiaobin, MIT.

The streaming graph is read from the folder `ulunas` of the weights (weights.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtqnet.corpus.degradations.neural import draw_wet, streamed
from mtqnet.corpus.degradations.tools import draw_passes, reduced
from mtqnet.corpus.degradations.weights import session, weights_file
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks

STATES = {"conv_cache": (1, 5358), "tfa_cache": (1, 402), "inter_cache": (1, 1056)}
"""What the streaming graph carries from frame to frame"""


@dataclass(frozen=True)
class UlUnas:
    """UL-UNAS at 16 kHz."""

    wet: float
    """Fraction of its output in the result"""
    passes: int
    """How often it runs"""

    DELAY = 0
    FILE: ClassVar = "ulunas_stream_simple.onnx"

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> UlUnas:  # noqa: ARG003
        return cls(draw_wet(rng), draw_passes(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> UlUnas:  # noqa: ARG003
        """As published."""
        return cls(1.0, 1)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, self.passes)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (samples,)"""
        return streamed(session(weights_file("ulunas", self.FILE)), STATES, given)
