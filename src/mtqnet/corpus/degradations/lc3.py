"""LC3 (Bluetooth LE Audio), by Google's liblc3 inside the package lc3py (Apache-2.0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.packages import module
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.pool import Pool

KBPS = (16, 20, 24, 32, 48, 64)
"""kbit/s at 16 kHz"""


@dataclass(frozen=True)
class Lc3(PcmCoding):
    """LC3 at 16 kHz."""

    kbps: int
    """One of KBPS"""
    frame_ms: float
    """7.5 or 10"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Lc3:  # noqa: ARG003
        return cls(int(rng.choice(KBPS)), 7.5 if rng.random() < 0.4 else 10.0, level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 40 if self.frame_ms == 10 else 64

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        lc3, microseconds = module("lc3"), round(1000 * self.frame_ms)
        encoder, decoder = (kind(microseconds, SAMPLE_RATE) for kind in (lc3.Encoder, lc3.Decoder))
        size = encoder.get_frame_bytes(1000 * self.kbps)
        frames = in_frames(pcm, encoder.get_frame_samples())
        packets = [encoder.encode(frame.tobytes(), size, bit_depth=16) for frame in frames]
        return np.frombuffer(b"".join(bytes(decoder.decode(p, bit_depth=16)) for p in packets), np.int16)
