"""SILK as in Skype (SDK version 3), by the package pysilk-mod (wrapper MIT; SILK SDK: BSD-like, Skype)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.packages import module
from mtqnet.corpus.pool import Pool

LEAD = 640
"""Samples of silence in front: the decoder loses the first frame."""

DELAYS = ((14, 80), (10, 90), (0, 88))
"""Least kbit/s -> delay in samples at 16 kHz: SILK codes 16, 12 or 8 kHz inside, depending on the bit rate."""


@dataclass(frozen=True)
class Silk(PcmCoding):
    """SILK at 16 kHz."""

    kbps: int
    """6 to 24"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Silk:  # noqa: ARG003
        return cls(int(rng.integers(6, 25)), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return next(late for least, late in DELAYS if self.kbps >= least)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        silk = module("pysilk")
        given = np.pad(pcm, (LEAD, 0)).tobytes()
        packets = silk.encode(given, 1000 * self.kbps, sample_rate=SAMPLE_RATE)
        return np.frombuffer(silk.decode(packets, sample_rate=SAMPLE_RATE), np.int16)
