"""Speech and audio codecs of FFmpeg (package `av`, LGPL): each clip is really encoded and decoded."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.degradations.coding import NARROWBAND, Coding, draw_level
from mtqnet.corpus.degradations.pyav import Coder, coded
from mtqnet.corpus.degradations.step import uniform
from mtqnet.corpus.pool import Pool

Samples = NDArray[np.float32]

AMR_NB_KBPS = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
"""kb/s: the modes of AMR (3GPP TS 26.071)"""
G722_BITS = {48: 6, 56: 7, 64: 8}
"""kb/s -> bits of each octet that the decoder listens to: modes 3, 2 and 1 of ITU-T G.722"""
G726_BITS = {16: 2, 24: 3, 32: 4, 40: 5}
"""kb/s -> bits a sample (ITU-T G.726)"""
OPUS_WIDEBAND_KBPS = 9
"""kb/s from which libopus codes a 16 kHz input in wideband, not in narrowband (its threshold table)"""
OPUS_SILK_KBPS = 18
"""kb/s from which libopus with application "audio" codes an 8 kHz input by CELT instead of SILK"""
MPEG2_KBPS = (8, 16, 24, 32, 40, 48)
"""kb/s: low rates of MPEG-2 audio, layers II and III (ISO/IEC 13818-3)"""
QUALITY_TO_LAMBDA = 118
"""FFmpeg's FF_QP2LAMBDA: its `global_quality` per unit of quality"""


@dataclass(frozen=True)
class FfmpegCoding(Coding):
    """A codec of FFmpeg."""

    @property
    @abstractmethod
    def coder(self) -> Coder: ...

    @property
    def delay(self) -> int:
        return self.coder.delay

    def transcode(self, samples: Samples) -> Samples:
        return coded(samples, self.coder)


@dataclass(frozen=True)
class Opus(FfmpegCoding):
    """RFC 6716, by libopus. Below 9 kb/s it narrows a 16 kHz input to the telephone band by itself."""

    kbps: int
    """6 to 32. Its rate is variable: this much for busy stretches, less for the rest."""
    rate_hz: int
    """Rate of its input, 8000 or 16000"""
    application: Literal["voip", "audio"]
    """"voip" removes frequencies below the voice."""
    frame_ms: int
    """20, 40 or 60"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Opus:  # noqa: ARG003
        rate = NARROWBAND if rng.random() < 0.25 else 16_000
        application: Literal["voip", "audio"] = "voip" if rng.random() < 0.7 else "audio"
        frame = int(rng.choice([20, 20, 40, 60]))
        return cls(int(rng.integers(6, 33)), rate, application, frame, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        narrow = self.rate_hz == NARROWBAND or self.kbps < OPUS_WIDEBAND_KBPS
        by_silk = self.application == "voip" or self.kbps < OPUS_SILK_KBPS
        late = (1 if by_silk else 0) if narrow else -1
        options = (("application", self.application), ("frame_duration", str(self.frame_ms)))
        return Coder(
            "libopus",
            "libopus",  # FFmpeg's own decoder returns different samples at every second call for one clip in a hundred
            delay=late,  # beyond the pre-skip, which the decoder takes off
            rate=self.rate_hz,
            sample_format="flt",
            bit_rate=1000 * self.kbps,
            encoder_options=options,
        )


@dataclass(frozen=True)
class AmrNb(FfmpegCoding):
    """AMR narrowband (3GPP TS 26.071), by opencore-amr."""

    kbps: float
    """One of AMR_NB_KBPS"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AmrNb:  # noqa: ARG003
        return cls(float(rng.choice(AMR_NB_KBPS)), level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        name, bits = "libopencore_amrnb", round(1000 * self.kbps)
        return Coder(name, name, delay=80, rate=NARROWBAND, bit_rate=bits)  # 5 ms of look-ahead


@dataclass(frozen=True)
class G711(FfmpegCoding):
    """ITU-T G.711: 64 kb/s, logarithmic PCM."""

    law: Literal["A", "mu"]

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G711:  # noqa: ARG003
        return cls("A" if rng.random() < 0.5 else "mu", level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        name = {"A": "pcm_alaw", "mu": "pcm_mulaw"}[self.law]
        return Coder(name, name, delay=0, rate=NARROWBAND)


@dataclass(frozen=True)
class G722(FfmpegCoding):
    """ITU-T G.722: two sub-bands of ADPCM, wideband."""

    kbps: int
    """48, 56 or 64"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G722:  # noqa: ARG003
        return cls(int(rng.choice(list(G722_BITS))), level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        heard = (("bits_per_codeword", str(G722_BITS[self.kbps])),)
        return Coder("g722", "g722", delay=22, decoder_options=heard)  # its two QMF of 24 taps


@dataclass(frozen=True)
class G726(FfmpegCoding):
    """ITU-T G.726: ADPCM, narrowband."""

    kbps: int
    """16, 24, 32 or 40"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G726:  # noqa: ARG003
        return cls(int(rng.choice(list(G726_BITS))), level_dbov=draw_level(rng))

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
class G7231(FfmpegCoding):
    """ITU-T G.723.1 at 6.3 kb/s, narrowband."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G7231:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        return Coder("g723_1", "g723_1", delay=120, rate=NARROWBAND, bit_rate=6_300)  # 7.5 ms of look-ahead


@dataclass(frozen=True)
class Mpeg2(FfmpegCoding):
    """The layers of MPEG-2 audio at 16 kHz."""

    kbps: int
    """One of MPEG2_KBPS"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Self:  # noqa: ARG003
        return cls(int(rng.choice(MPEG2_KBPS)), level_dbov=draw_level(rng))


@dataclass(frozen=True)
class Mp3(Mpeg2):
    """MPEG-2 layer III at 16 kHz, by LAME."""

    @property
    def coder(self) -> Coder:
        # 576 samples of the encoder and 529 of every decoder
        return Coder("libmp3lame", "mp3float", 1105, sample_format="fltp", bit_rate=1000 * self.kbps)


@dataclass(frozen=True)
class Aac(FfmpegCoding):
    """MPEG-4 AAC-LC at 16 kHz, by FFmpeg. At the lowest rates it uses slightly more than the requested rate."""

    kbps: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Aac:  # noqa: ARG003
        return cls(int(rng.integers(8, 49)), level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        # one frame of priming
        return Coder("aac", "aac", delay=1024, sample_format="fltp", bit_rate=1000 * self.kbps)


@dataclass(frozen=True)
class Vorbis(FfmpegCoding):
    """Vorbis I at 16 kHz, by FFmpeg's own encoder: coarse, and with holes in the spectrum at low quality."""

    quality: float
    """0.5 (9 kb/s) to 8 (50 kb/s)"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Vorbis:  # noqa: ARG003
        return cls(uniform(rng, 0.5, 5), level_dbov=draw_level(rng))

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
class Sbc(FfmpegCoding):
    """Sub-band coding of Bluetooth headsets (A2DP, annex B) at 16 kHz."""

    kbps: int
    """16 to 64"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Sbc:  # noqa: ARG003
        return cls(int(rng.choice([16, 24, 32, 48, 64])), level_dbov=draw_level(rng))

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
class RealAudio(FfmpegCoding):
    """RealAudio 1.0 ("14.4"): 8 kb/s CELP, narrowband."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> RealAudio:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        return Coder("real_144", "real_144", delay=320, rate=NARROWBAND, bit_rate=8_000)  # a frame of 20 ms


@dataclass(frozen=True)
class Nellymoser(FfmpegCoding):
    """Nellymoser Asao, of voice chats in browsers: transforms with bands of fixed width, 2 bits a sample."""

    rate_hz: int
    """Of its input, 8000 or 16000"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Nellymoser:  # noqa: ARG003
        return cls(NARROWBAND if rng.random() < 0.6 else 16_000, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        late = 256 if self.rate_hz == NARROWBAND else 128  # half a frame
        return Coder("nellymoser", "nellymoser", delay=late, rate=self.rate_hz, sample_format="flt")


@dataclass(frozen=True)
class AptX(FfmpegCoding):
    """aptX of Bluetooth headsets: four sub-bands of ADPCM, 4 bits a sample."""

    rate_hz: int
    """Sample rate of its input, 16000 or 48000"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AptX:  # noqa: ARG003
        return cls(16_000 if rng.random() < 0.6 else 48_000, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        late = 90 if self.rate_hz == 16_000 else 30
        return Coder("aptx", "aptx", delay=late, rate=self.rate_hz, sample_format="s32p", layout="stereo")


WMA_FRAME = 512
"""Samples, which the decoder drops"""


@dataclass(frozen=True)
class Wma(FfmpegCoding):
    """Windows Media Audio, version 1 or 2, at 16 kHz."""

    version: int
    """1 or 2"""
    kbps: int
    """24 to 48; FFmpeg's encoder has no less"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Wma:  # noqa: ARG003
        kbps = int(rng.choice([24, 28, 32, 48]))
        return cls(int(rng.integers(1, 3)), kbps, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        name = f"wmav{self.version}"
        return Coder(
            name, name, 0, sample_format="fltp", bit_rate=1000 * self.kbps, container="asf", lead=WMA_FRAME
        )


@dataclass(frozen=True)
class Ac3(FfmpegCoding):
    """AC-3 (ATSC A/52) or Enhanced AC-3 at 32 kHz, of television."""

    enhanced: bool
    kbps: int
    """32 to 64; Enhanced AC-3 from 16"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Ac3:  # noqa: ARG003
        enhanced = bool(rng.random() < 0.5)
        kbps = int(rng.choice([16, 24, 32, 48] if enhanced else [32, 40, 48, 64]))
        return cls(enhanced, kbps, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        name = "eac3" if self.enhanced else "ac3"
        return Coder(name, name, delay=128, rate=32_000, sample_format="fltp", bit_rate=1000 * self.kbps)


ADPCM_FORMATS = {"ima_qt": "s16p", "ms": "s16", "yamaha": "s16", "swf": "s16", "adx": "s16"}
"""Variant of ADPCM by FFmpeg's name -> sample format"""


@dataclass(frozen=True)
class Adpcm(FfmpegCoding):
    """ADPCM with 4 bits a sample, as in files and games: IMA, Microsoft, Yamaha, Flash, ADX."""

    variant: str
    """One of ADPCM_FORMATS"""
    rate_hz: int
    """Sample rate of its input, 8000 or 16000; Flash has 11025."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Adpcm:  # noqa: ARG003
        variant = str(rng.choice(list(ADPCM_FORMATS)))
        rate = NARROWBAND if rng.random() < 0.5 else 16_000
        return cls(variant, 11_025 if variant == "swf" else rate, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        name = f"adpcm_{self.variant}"
        return Coder(name, name, delay=0, rate=self.rate_hz, sample_format=ADPCM_FORMATS[self.variant])


@dataclass(frozen=True)
class Dpcm(FfmpegCoding):
    """Delta modulation without a predictor: RoQ (8 bits a sample), DFPWM (1 bit)."""

    variant: Literal["roq", "dfpwm"]
    rate_hz: int
    """Sample rate of its input: 22050 for RoQ; 48000 for DFPWM"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Dpcm:  # noqa: ARG003
        roq = rng.random() < 0.5
        return cls("roq" if roq else "dfpwm", 22_050 if roq else 48_000, level_dbov=draw_level(rng))

    @property
    def coder(self) -> Coder:
        name, form = {"roq": ("roq_dpcm", "s16"), "dfpwm": ("dfpwm", "u8")}[self.variant]
        late = 1 if self.variant == "dfpwm" else 0  # the low-pass of its decoder
        return Coder(name, name, delay=0, rate=self.rate_hz, sample_format=form, trim=late)
