"""Codec 2 (0.7 to 3.2 kbit/s, narrowband), by its own programs c2enc and c2dec (LGPL-2.1). Debian package codec2.

Programs, because the decoder draws phases from a generator that lives as long as the process: only a fresh process
returns the same samples again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.corpus.degradations import programs
from mtqnet.corpus.degradations.coding import NarrowbandCoding, Pcm, draw_level
from mtqnet.corpus.degradations.packages import CODEC2
from mtqnet.corpus.pool import Pool

DELAYS = {3200: 296, 2400: 296, 1600: 296, 1300: 296, 700: 464}
"""Bits a second of the modes -> delay in samples at 16 kHz, of the envelopes: a vocoder keeps no waveform"""
LONGEST_FRAME = 320
"""Samples; c2enc drops a last frame that is not whole"""


@dataclass(frozen=True)
class Codec2(NarrowbandCoding):
    """Codec 2: a sinusoidal vocoder of digital radio."""

    bps: int
    """One of DELAYS; 700 is mode 700C."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Codec2:  # noqa: ARG003
        return cls(int(rng.choice(list(DELAYS))), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return DELAYS[self.bps]

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        mode = "700C" if self.bps == 700 else str(self.bps)
        whole = np.pad(pcm, (0, -len(pcm) % LONGEST_FRAME))
        bits = programs.run(("c2enc", mode, "-", "-"), whole.tobytes(), CODEC2)
        return programs.pcm(programs.run(("c2dec", mode, "-", "-"), bits, CODEC2))
