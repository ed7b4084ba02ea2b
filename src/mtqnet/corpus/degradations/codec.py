"""Speech and audio coders, really encoded and decoded: what came through is what a listener would get.

Every coder is a black box (blackbox.py). Its delay is a number beside its parameters, measured between 400 and
3400 Hz, where a coder's own high-pass no longer turns the phase; tests pin it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, NOMINAL_DBOV, active_level
from mtqnet.corpus.degradations.blackbox import HEADROOM, through
from mtqnet.corpus.degradations.pyav import Coder, coded
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Tracks

Samples = NDArray[np.float32]

NARROWBAND = 8_000
"""Hz, sample rate of telephone coders"""
LOWEST_DBOV, HIGHEST_DBOV = -38.0, -16.0
"""dBov: P.830 has coders tested at levels on both sides of the nominal one."""

AMR_NB_KBPS = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
"""kb/s: the modes of AMR (3GPP TS 26.071)"""
G722_BITS = {48: 6, 56: 7, 64: 8}
"""kb/s -> bits of each octet that the decoder listens to: modes 3, 2 and 1 of ITU-T G.722"""
G726_BITS = {16: 2, 24: 3, 32: 4, 40: 5}
"""kb/s -> bits a sample (ITU-T G.726)"""
OPUS_WIDEBAND_KBPS = 9
"""kb/s from which libopus codes a 16 kHz input in wideband, not in narrowband (its threshold table)"""
OPUS_SILK_KBPS = 18
"""kb/s from which libopus, told "audio", codes an 8 kHz input by CELT, not by SILK"""
MPEG2_KBPS = (8, 16, 24, 32, 40, 48)
"""kb/s: low rates of MPEG-2 audio, layers II and III (ISO/IEC 13818-3)"""
QUALITY_TO_LAMBDA = 118
"""FFmpeg's FF_QP2LAMBDA: its `global_quality` per unit of quality"""


@dataclass(frozen=True)
class Coding(ABC):
    """What coders have in common."""

    level_dbov: float = field(default=NOMINAL_DBOV, kw_only=True)
    """Active level at the encoder; the level is put back behind the decoder."""

    @property
    @abstractmethod
    def coder(self) -> Coder: ...

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self._heard, self.coder.delay)

    def _heard(self, samples: Samples) -> Samples:
        gain = np.float32(_gain(samples, self.level_dbov))
        return np.asarray(coded(samples * gain, self.coder) / gain, dtype=np.float32)


def _gain(samples: Samples, level_dbov: float) -> float:
    level, peak = active_level(samples), float(np.abs(samples).max(initial=0.0))
    if level <= FLOOR_DB or peak == 0.0:
        return 1.0
    return min(float(10 ** ((level_dbov - level) / 20)), HEADROOM / peak)


def _draw_level(rng: np.random.Generator) -> float:
    return uniform(rng, LOWEST_DBOV, HIGHEST_DBOV)


@dataclass(frozen=True)
class Opus(Coding):
    """RFC 6716, by libopus. Below 9 kb/s it narrows a 16 kHz input to the telephone band by itself."""

    kbps: int
    """6 to 32. Its rate is variable: this much for busy stretches, less for the rest."""
    rate_hz: int
    """Rate of its input, 8000 or 16000"""
    application: Literal["voip", "audio"]
    """"voip" takes away what lies below the voice."""
    frame_ms: int
    """20, 40 or 60"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Opus:  # noqa: ARG003
        rate = NARROWBAND if rng.random() < 0.25 else 16_000
        application: Literal["voip", "audio"] = "voip" if rng.random() < 0.7 else "audio"
        frame = int(rng.choice([20, 20, 40, 60]))
        return cls(int(rng.integers(6, 33)), rate, application, frame, level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        narrow = self.rate_hz == NARROWBAND or self.kbps < OPUS_WIDEBAND_KBPS
        by_silk = self.application == "voip" or self.kbps < OPUS_SILK_KBPS
        late = (1 if by_silk else 0) if narrow else -1
        options = (("application", self.application), ("frame_duration", str(self.frame_ms)))
        return Coder(
            "libopus",
            "libopus",  # FFmpeg's own decoder gives other samples at every second call, in one clip of a hundred
            delay=late,  # beyond the pre-skip, which the decoder takes off
            rate=self.rate_hz,
            sample_format="flt",
            bit_rate=1000 * self.kbps,
            encoder_options=options,
        )


@dataclass(frozen=True)
class AmrNb(Coding):
    """AMR narrowband (3GPP TS 26.071), by opencore-amr."""

    kbps: float
    """One of AMR_NB_KBPS"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AmrNb:  # noqa: ARG003
        return cls(float(rng.choice(AMR_NB_KBPS)), level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        name, bits = "libopencore_amrnb", round(1000 * self.kbps)
        return Coder(name, name, delay=80, rate=NARROWBAND, bit_rate=bits)  # 5 ms of look-ahead


@dataclass(frozen=True)
class G711(Coding):
    """ITU-T G.711: 64 kb/s, logarithmic PCM."""

    law: Literal["A", "mu"]

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G711:  # noqa: ARG003
        return cls("A" if rng.random() < 0.5 else "mu", level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        name = {"A": "pcm_alaw", "mu": "pcm_mulaw"}[self.law]
        return Coder(name, name, delay=0, rate=NARROWBAND)


@dataclass(frozen=True)
class G722(Coding):
    """ITU-T G.722: two sub-bands of ADPCM, wideband."""

    kbps: int
    """48, 56 or 64"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G722:  # noqa: ARG003
        return cls(int(rng.choice(list(G722_BITS))), level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        heard = (("bits_per_codeword", str(G722_BITS[self.kbps])),)
        return Coder("g722", "g722", delay=22, decoder_options=heard)  # its two QMF of 24 taps


@dataclass(frozen=True)
class G726(Coding):
    """ITU-T G.726: ADPCM, narrowband."""

    kbps: int
    """16, 24, 32 or 40"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G726:  # noqa: ARG003
        return cls(int(rng.choice(list(G726_BITS))), level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        bits = str(G726_BITS[self.kbps])
        return Coder(
            "g726",
            "g726",
            delay=0,
            rate=NARROWBAND,
            encoder_options=(("code_size", bits),),
            decoder_options=(("bits_per_coded_sample", bits),),
        )


@dataclass(frozen=True)
class G7231(Coding):
    """ITU-T G.723.1 at 6.3 kb/s, narrowband."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G7231:  # noqa: ARG003
        return cls(level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        return Coder("g723_1", "g723_1", delay=120, rate=NARROWBAND, bit_rate=6_300)  # 7.5 ms of look-ahead


@dataclass(frozen=True)
class Mpeg2(Coding):
    """The layers of MPEG-2 audio at 16 kHz."""

    kbps: int
    """One of MPEG2_KBPS"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Self:  # noqa: ARG003
        return cls(int(rng.choice(MPEG2_KBPS)), level_dbov=_draw_level(rng))


@dataclass(frozen=True)
class Mp3(Mpeg2):
    """MPEG-2 layer III at 16 kHz, by LAME."""

    @property
    def coder(self) -> Coder:
        # 576 samples of the encoder and 529 of every decoder
        return Coder("libmp3lame", "mp3float", 1105, sample_format="fltp", bit_rate=1000 * self.kbps)


@dataclass(frozen=True)
class Aac(Coding):
    """MPEG-4 AAC-LC at 16 kHz, by FFmpeg. At the lowest rates it takes a little more than it is given."""

    kbps: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Aac:  # noqa: ARG003
        return cls(int(rng.integers(8, 49)), level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        # one frame of priming
        return Coder("aac", "aac", delay=1024, sample_format="fltp", bit_rate=1000 * self.kbps)


@dataclass(frozen=True)
class Vorbis(Coding):
    """Vorbis I at 16 kHz, by FFmpeg's own encoder: coarse, and with holes in the spectrum at low quality."""

    quality: float
    """0.5 (9 kb/s) to 8 (50 kb/s)"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Vorbis:  # noqa: ARG003
        return cls(uniform(rng, 0.5, 5), level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        quality = str(round(self.quality * QUALITY_TO_LAMBDA))
        return Coder(
            "vorbis",
            "vorbis",
            delay=0,
            sample_format="fltp",
            layout="stereo",
            encoder_options=(("flags", "+bitexact+qscale"), ("global_quality", quality)),
        )


@dataclass(frozen=True)
class Sbc(Coding):
    """Sub-band coding of Bluetooth headsets (A2DP, annex B) at 16 kHz."""

    kbps: int
    """16 to 64"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Sbc:  # noqa: ARG003
        return cls(int(rng.choice([16, 24, 32, 48, 64])), level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        return Coder("sbc", "sbc", delay=73, bit_rate=1000 * self.kbps)


@dataclass(frozen=True)
class Mp2(Mpeg2):
    """MPEG-2 layer II at 16 kHz, by FFmpeg: sub-bands and no more, as in digital radio."""

    @property
    def coder(self) -> Coder:
        return Coder("mp2", "mp2float", delay=481, bit_rate=1000 * self.kbps)  # its filter bank of 512 taps


@dataclass(frozen=True)
class RealAudio(Coding):
    """RealAudio 1.0 ("14.4"): 8 kb/s CELP, narrowband."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> RealAudio:  # noqa: ARG003
        return cls(level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        return Coder("real_144", "real_144", delay=320, rate=NARROWBAND, bit_rate=8_000)  # a frame of 20 ms


@dataclass(frozen=True)
class Nellymoser(Coding):
    """Nellymoser Asao, of voice chats in browsers: transforms with bands of fixed width, 2 bits a sample."""

    rate_hz: int
    """Of its input, 8000 or 16000"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Nellymoser:  # noqa: ARG003
        return cls(NARROWBAND if rng.random() < 0.6 else 16_000, level_dbov=_draw_level(rng))

    @property
    def coder(self) -> Coder:
        late = 256 if self.rate_hz == NARROWBAND else 128  # half a frame
        return Coder("nellymoser", "nellymoser", delay=late, rate=self.rate_hz, sample_format="flt")
