"""Continuously variable slope delta modulation (CVSD), as in Bluetooth headsets and military radio.

Own implementation of the codec in the Bluetooth core specification (volume 2, part B, section 9.2), at 64 kbit/s
with its constants, at lower rates with the same time constants and steps that grow as the rate falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtqnet.audio.resampling import resample
from mtqnet.corpus.degradations.coding import NARROWBAND, NarrowbandCoding, Pcm, draw_level
from mtqnet.corpus.degradations.pcm import FULL_SCALE, as_float, as_int16
from mtqnet.corpus.pool import Pool

BLUETOOTH = 64
"""kbit/s of the specification"""
LEAK, STEP_DECAY = 1 - 1 / 32, 1 - 1 / 1024
"""Decay of the accumulator and of the step for each bit at 64 kbit/s"""
SMALLEST, LARGEST = 10.0, 1280.0
"""Steps at 64 kbit/s, 16-bit scale"""
RUN = 4
"""Equal bits in a row after which the step grows; 3 below 32 kbit/s, as in MIL-STD-188-113"""


@dataclass(frozen=True)
class Cvsd(NarrowbandCoding):
    """CVSD, narrowband."""

    kbps: int
    """16, 32 or 64: one bit for each sample"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Cvsd:  # noqa: ARG003
        return cls(int(rng.choice([16, 32, 64])), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 0

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        rate = 1000 * self.kbps
        given = FULL_SCALE * resample(as_float(pcm), NARROWBAND, rate)
        decoded = np.array(followed(given.tolist(), self.kbps), np.float32) / np.float32(FULL_SCALE)
        return as_int16(resample(decoded, rate, NARROWBAND))


def followed(samples: list[float], kbps: int) -> list[float]:
    """What the decoder makes of the bits: an accumulator that follows the samples in steps up or down."""
    slower = BLUETOOTH / kbps
    leak, decay = LEAK**slower, STEP_DECAY**slower
    smallest, largest = SMALLEST * slower, LARGEST * slower
    run = RUN if kbps >= 32 else RUN - 1
    full = (1 << run) - 1
    accumulator, step, history, out = 0.0, smallest, 0, []
    for sample in samples:
        up = sample >= accumulator
        history = (history << 1 | up) & full
        step = min(step + smallest, largest) if history in (0, full) else max(step * decay, smallest)
        accumulator += step if up else -step
        accumulator = min(max(accumulator, -FULL_SCALE), FULL_SCALE - 1) * leak
        out.append(accumulator)
    return out
