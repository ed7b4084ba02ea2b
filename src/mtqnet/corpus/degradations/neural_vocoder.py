"""Speech resynthesised by a neural vocoder that the project trained (research/neural).

Only 80 mel bands and the pitch, each 8 ms, reach the network: the waveform is generated. Checkpoints of one
training provide several qualities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import excitation
from mtqnet.corpus.degradations.blackbox import through
from mtqnet.corpus.degradations.excitation import HOP
from mtqnet.corpus.degradations.frames import hann, samples_of, spectra
from mtqnet.corpus.degradations.own_weights import own_weights
from mtqnet.corpus.degradations.step import draw_seed, uniform
from mtqnet.corpus.degradations.weights import session
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks

WINDOW = 512
"""Samples, 32 ms, Hann"""
BANDS = 80
FLOOR = 1e-5
"""Least magnitude of a mel band under the logarithm"""
REFERENCE_HZ = 120.0
"""The network's pitch is in octaves above it."""
LEVEL_DB = -26.0
"""Level of the signal at the network, RMS relative to full scale; the step restores the level of its input."""
QUALITIES = ("early", "middle", "late")
"""Checkpoints, from the fewest to the most training steps"""
TO_DECIBEL = 20 / np.log(10)


@dataclass(frozen=True)
class NeuralVocoder:
    """Analysis into mel bands and pitch, and synthesis by a neural network.

    `quality` is one of QUALITIES. The mel bands are rounded to multiples of `step_db` (0: not rounded), as a
    codec at a low bit rate would do. `seed` is the seed of the noise that excites unvoiced speech.
    """

    quality: str
    step_db: float
    seed: int

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NeuralVocoder:  # noqa: ARG003
        quality = QUALITIES[int(rng.integers(len(QUALITIES)))]
        return cls(quality, uniform(rng, 1, 8) if rng.random() < 0.3 else 0.0, draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.process, self.DELAY)

    def process(self, samples: Samples) -> Samples:
        """(samples,) -> the same speech, generated from its mel bands and its pitch."""
        graph = session(own_weights("neural_vocoder", f"vocoder-{self.quality}.onnx"))
        length = len(samples)
        gain = np.float32(10 ** (LEVEL_DB / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6))
        given = np.pad(samples * gain, (0, -length % HOP))
        mel = log_mel(spectra(given, hann(WINDOW), HOP))
        if self.step_db:
            step = self.step_db / TO_DECIBEL
            mel = np.maximum(np.round(mel / step) * step, np.log(FLOOR))
        pitch, pulses, noise = inputs(*excitation.pitch(given), len(given), np.random.default_rng(self.seed))
        (spectrum,) = graph.run(
            None,
            {
                "mel": mel[None].astype(np.float32),
                "pitch": pitch[None],
                "pulses": spectra(pulses, hann(WINDOW), HOP)[None],
                "noise": spectra(noise, hann(WINDOW), HOP)[None],
            },
        )
        return samples_of(spectrum[0], hann(WINDOW), HOP, length) / gain


def mel_filters() -> NDArray[np.float64]:
    """(BANDS, bins): triangles on the mel axis of O'Shaughnessy from 0 to 8 kHz, each of which adds up to 1."""
    bins, highest = WINDOW // 2 + 1, SAMPLE_RATE / 2
    hertz = np.linspace(0, highest, bins)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + highest / 700), BANDS + 2) / 2595) - 1)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rise, fall))
    # The lowest bands are narrower than a bin: each takes at least the bin nearest to its centre.
    filters[np.arange(BANDS), np.abs(hertz - edges[1:-1, None]).argmin(1)] += 1e-3
    return np.asarray(filters / filters.sum(1, keepdims=True))


def log_mel(spectrum: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, bins, frames) -> (BANDS, frames), natural logarithm of the magnitude."""
    return np.asarray(np.log(np.maximum(mel_filters() @ np.hypot(*spectrum), FLOOR)))


def inputs(
    frequency: NDArray[np.float64], voicing: NDArray[np.float64], length: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Samples, Samples]:
    """The network's pitch (2, frames), its pulses (length,) and its noise (length,)."""
    pitch = np.stack([np.log2(frequency / REFERENCE_HZ), voicing]).astype(np.float32)
    return pitch, excitation.pulses(frequency, voicing, length), rng.standard_normal(length, dtype=np.float32)
