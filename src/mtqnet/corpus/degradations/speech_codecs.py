"""Speech codecs of Python packages and programs, and an own implementation of CVSD.

| step | standard | implementation |
|---|---|---|
| Lc3 | LC3 (Bluetooth LE Audio) | Google's liblc3 in the package lc3py (Apache-2.0) |
| Silk | SILK as in Skype (SDK version 3) | package pysilk-mod (MIT; SILK SDK: BSD-like, Skype) |
| Codec2 | Codec 2, 0.7 to 3.2 kbit/s, narrowband | programs c2enc and c2dec (LGPL-2.1), Debian package codec2 |
| Siren | Siren 7, the base of ITU-T G.722.1, 16 kbit/s, wideband | GStreamer's sirenenc and sirendec (LGPL) |
| Cvsd | Bluetooth core specification, volume 2, part B, section 9.2 | own |

Codec 2 is called as a program, because its decoder draws phases from a generator that lives as long as the process:
only a new process returns the same samples again. CVSD at rates below 64 kbit/s has the same time constants, and
steps that grow as the rate falls."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations import packages
from mtqnet.corpus.degradations.coding import NARROWBAND, NarrowbandCoding, Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.packages import CODEC2, SIREN, module
from mtqnet.corpus.degradations.step import FULL_SCALE, as_float, as_int16, in_frames
from mtqnet.corpus.pool import Pool
from mtqnet.errors import MissingExtraError

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


LEAD = 640
"""Samples of silence in front: the decoder loses the first frame."""

SILK_DELAYS = ((14, 80), (10, 90), (0, 88))
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
        return next(late for least, late in SILK_DELAYS if self.kbps >= least)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        silk = module("pysilk")
        given = np.pad(pcm, (LEAD, 0)).tobytes()
        packets = silk.encode(given, 1000 * self.kbps, sample_rate=SAMPLE_RATE)
        return np.frombuffer(silk.decode(packets, sample_rate=SAMPLE_RATE), np.int16)


CODEC2_DELAYS = {3200: 296, 2400: 296, 1600: 296, 1300: 296, 700: 464}
"""Bits a second of the modes -> delay in samples at 16 kHz, of the envelopes: a vocoder keeps no waveform"""
LONGEST_FRAME = 320
"""Samples; c2enc drops a last frame that is not whole"""


@dataclass(frozen=True)
class Codec2(NarrowbandCoding):
    """Codec 2: a sinusoidal vocoder of digital radio."""

    bps: int
    """One of CODEC2_DELAYS; 700 is mode 700C."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Codec2:  # noqa: ARG003
        return cls(int(rng.choice(list(CODEC2_DELAYS))), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return CODEC2_DELAYS[self.bps]

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        mode = "700C" if self.bps == 700 else str(self.bps)
        whole = np.pad(pcm, (0, -len(pcm) % LONGEST_FRAME))
        bits = packages.run_program(("c2enc", mode, "-", "-"), whole.tobytes(), CODEC2)
        return packages.samples_from(packages.run_program(("c2dec", mode, "-", "-"), bits, CODEC2))


PIPELINE = (
    f"fdsrc fd=0 ! rawaudioparse format=pcm pcm-format=s16le sample-rate={SAMPLE_RATE} num-channels=1 "
    "! sirenenc ! sirendec ! fdsink fd=1"
)


@dataclass(frozen=True)
class Siren(PcmCoding):
    """Siren 7: a transform codec of video conferences and messengers."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Siren:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 320

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        if not has_siren():
            raise MissingExtraError(f"GStreamer's sirenenc is not installed: {SIREN}")
        command = ("gst-launch-1.0", "-q", *PIPELINE.split())
        return packages.samples_from(packages.run_program(command, pcm.tobytes(), SIREN))


@lru_cache(maxsize=1)
def has_siren() -> bool:
    """Whether GStreamer and its Siren elements are installed."""
    if not (shutil.which("gst-launch-1.0") and shutil.which("gst-inspect-1.0")):
        return False
    command = ("gst-inspect-1.0", "--exists", "sirenenc")
    return subprocess.run(command, capture_output=True, timeout=packages.LONGEST_S).returncode == 0


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
