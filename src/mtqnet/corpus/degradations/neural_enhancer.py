"""Noise suppression by a neural network that the project trained (research/neural), with generated detail.

The network masks the spectrum and adds a spectrum of its own, so that it can restore what noise or a band limit
has removed, and can be wrong, as generative enhancement is. Checkpoints of one training provide several qualities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.corpus.degradations.frames import hann, samples_of, spectra
from mtqnet.corpus.degradations.own_weights import own_weights
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.degradations.tools import draw_passes, reduced
from mtqnet.corpus.degradations.weights import session
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks

WINDOW, HOP = 512, 256
"""Samples, 32 and 16 ms; square root of Hann"""
POWER = 0.3
"""Exponent of the magnitudes in the network's spectra"""
LEVEL_DB = -26.0
"""Level of the signal at the network, RMS relative to full scale; the step restores the level of its input."""
QUALITIES = ("early", "late")
"""Checkpoints, from the fewest to the most training steps"""
TINY = 1e-5
"""Added to magnitudes, as in training"""


@dataclass(frozen=True)
class NeuralEnhancer:
    """Enhancement by a mask and an added spectrum.

    `quality` is one of QUALITIES, `wet` the weight of the output in the mixture with the input, `passes` how
    often the network runs.
    """

    quality: str
    wet: float
    passes: int

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NeuralEnhancer:  # noqa: ARG003
        quality = QUALITIES[int(rng.integers(len(QUALITIES)))]
        return cls(quality, 1.0 if rng.random() < 0.7 else uniform(rng, 0.5, 1.0), draw_passes(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> NeuralEnhancer:
        """At full strength, once."""
        return cls(QUALITIES[int(rng.integers(len(QUALITIES)))], 1.0, 1)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, self.passes)

    def process(self, samples: Samples) -> Samples:
        """(samples,) of noisy speech -> (samples,), enhanced."""
        graph = session(own_weights("neural_enhancer", f"enhancer-{self.quality}.onnx"))
        length = len(samples)
        gain = np.float32(10 ** (LEVEL_DB / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6))
        window = np.sqrt(hann(WINDOW))
        noisy = spectra(np.pad(samples * gain, (0, -length % HOP)), window, HOP)
        (made,) = graph.run(None, {"compressed": _raised(noisy, POWER)[None]})
        return samples_of(_raised(made[0], 1 / POWER), window, HOP, length) / gain


def _raised(spectrum: Samples, power: float) -> Samples:
    """Magnitudes to a power, phases unchanged: (2, bins, frames)."""
    size = np.sqrt(np.square(spectrum).sum(axis=0) + np.float32(TINY**2))
    return np.asarray(spectrum * size ** np.float32(power - 1), dtype=np.float32)
