"""Speech and audio codecs of FFmpeg (package `av`, LGPL): each clip is really encoded and decoded.

Encoder and decoder run in memory, on one thread and with FFmpeg's bit-exact flag: equal samples in are equal samples
out. Other codecs: speech_codecs.py and generative.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.step import (
    EXTRA,
    FULL_SCALE,
    NARROWBAND,
    Coding,
    Samples,
    as_int16,
    between,
    either,
    module,
    one_of,
    package,
    whole,
)

Options = tuple[tuple[str, str], ...]
"""FFmpeg's names and values"""

G722_BITS = {48: 6, 56: 7, 64: 8}
"""kb/s -> bits of each octet that the decoder uses: modes 3, 2 and 1 of ITU-T G.722"""
G726_BITS = {16: 2, 24: 3, 32: 4, 40: 5}
"""kb/s -> bits a sample (ITU-T G.726)"""
MPEG2_KBPS = (8, 16, 24, 32, 40, 48)
"""kb/s: low rates of MPEG-2 audio, layers II and III (ISO/IEC 13818-3)"""
ADPCM_FORMATS = {"ima_qt": "s16p", "ms": "s16", "yamaha": "s16", "swf": "s16", "adx": "s16"}
"""Variant of ADPCM by FFmpeg's name -> sample format"""


@dataclass(frozen=True)
class Coder:
    """An encoder and its decoder."""

    name: str
    """FFmpeg's name of the encoder"""
    delay: int
    """Samples at 16 kHz by which `coded` is late"""
    rate: int = SAMPLE_RATE
    """Hz, at which the encoder is fed"""
    sample_format: str = "s16"
    """What the encoder takes, by the names of FFmpeg: s16, s16p, s32p, u8, flt or fltp"""
    layout: str = "mono"
    """"stereo" for stereo-only encoders: the signal is used for both channels, and the left one is returned"""
    kbps: float = 0
    """kbit/s; 0: defined by the options"""
    encoder_options: Options = ()
    decoder_options: Options = ()
    decoder: str = ""
    """FFmpeg's name of the decoder, if it is not that of the encoder"""
    container: str = ""
    """Format of a file in between, for decoders that need more than the packets (WMA: "asf")"""
    trim: int = 0
    """Samples at the rate of the decoder that are dropped in front, for delays of less than a sample at 16 kHz"""
    lead: int = 0
    """Samples of silence at 16 kHz in front, for decoders that lose the beginning; `delay` is measured with it"""


@dataclass(frozen=True)
class FfmpegCoding(Coding):
    """A codec of FFmpeg."""

    NEEDS = (package("av", EXTRA),)
    CODER: ClassVar[Coder]
    """Encoder and decoder of a codec that has no parameter but `kbps`; others define `coder`"""

    @property
    def coder(self) -> Coder:
        return replace(self.CODER, kbps=getattr(self, "kbps", self.CODER.kbps))

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
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        rate = NARROWBAND if rng.random() < 0.25 else SAMPLE_RATE
        application = "voip" if rng.random() < 0.7 else "audio"
        frame = int(rng.choice([20, 20, 40, 60]))
        return int(rng.integers(6, 33)), rate, application, frame

    @property
    def coder(self) -> Coder:
        narrow = self.rate_hz == NARROWBAND or self.kbps < 9  # the threshold table of libopus
        by_silk = self.application == "voip" or self.kbps < 18  # else by CELT
        late = (1 if by_silk else 0) if narrow else -1  # beyond the pre-skip, which the decoder takes off
        options = (("application", self.application), ("frame_duration", str(self.frame_ms)))
        # FFmpeg's own decoder returns different samples at every second call for one clip in a hundred
        return Coder("libopus", late, self.rate_hz, "flt", kbps=self.kbps, encoder_options=options)


@dataclass(frozen=True)
class AmrNb(FfmpegCoding):
    """AMR narrowband (3GPP TS 26.071), by opencore-amr."""

    kbps: float = one_of(4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)

    CODER = Coder("libopencore_amrnb", 80, NARROWBAND)  # 5 ms of look-ahead


@dataclass(frozen=True)
class G711(FfmpegCoding):
    """ITU-T G.711: 64 kb/s, logarithmic PCM."""

    law: Literal["A", "mu"] = either(0.5, "A", "mu")

    @property
    def coder(self) -> Coder:
        return Coder({"A": "pcm_alaw", "mu": "pcm_mulaw"}[self.law], 0, NARROWBAND)


@dataclass(frozen=True)
class G722(FfmpegCoding):
    """ITU-T G.722: two sub-bands of ADPCM, wideband."""

    kbps: int = one_of(*G722_BITS)

    @property
    def coder(self) -> Coder:
        used = (("bits_per_codeword", str(G722_BITS[self.kbps])),)
        return Coder("g722", 22, decoder_options=used)  # its two QMF of 24 taps


@dataclass(frozen=True)
class G726(FfmpegCoding):
    """ITU-T G.726: ADPCM, narrowband."""

    kbps: int = one_of(*G726_BITS)

    @property
    def coder(self) -> Coder:
        bits = str(G726_BITS[self.kbps])
        encoder, decoder = (("code_size", bits),), (("bits_per_coded_sample", bits),)
        return Coder("g726", 0, NARROWBAND, encoder_options=encoder, decoder_options=decoder)


@dataclass(frozen=True)
class G7231(FfmpegCoding):
    """ITU-T G.723.1 at 6.3 kb/s, narrowband."""

    CODER = Coder("g723_1", 120, NARROWBAND, kbps=6.3)  # 7.5 ms of look-ahead


@dataclass(frozen=True)
class Mp3(FfmpegCoding):
    """MPEG-2 layer III at 16 kHz, by LAME."""

    kbps: int = one_of(*MPEG2_KBPS)

    CODER = Coder(
        "libmp3lame", 576 + 529, sample_format="fltp", decoder="mp3float"
    )  # the encoder and every decoder


@dataclass(frozen=True)
class Mp2(FfmpegCoding):
    """MPEG-2 layer II at 16 kHz, by FFmpeg: sub-bands and no more, as in digital radio."""

    kbps: int = one_of(*MPEG2_KBPS)

    CODER = Coder("mp2", 481, decoder="mp2float")  # its filter bank of 512 taps


@dataclass(frozen=True)
class Aac(FfmpegCoding):
    """MPEG-4 AAC-LC at 16 kHz, by FFmpeg. At the lowest rates it uses slightly more than the requested rate."""

    kbps: int = whole(8, 48)

    CODER = Coder("aac", 1024, sample_format="fltp")  # one frame of priming


@dataclass(frozen=True)
class Vorbis(FfmpegCoding):
    """Vorbis I at 16 kHz, by FFmpeg's own encoder: coarse, and with holes in the spectrum at low quality."""

    quality: float = between(0.5, 5)
    """0.5 (9 kb/s) to 8 (50 kb/s)"""

    @property
    def coder(self) -> Coder:
        quality = str(round(self.quality * 118))  # FF_QP2LAMBDA
        options = (("flags", "+bitexact+qscale"), ("global_quality", quality))
        return Coder("vorbis", 0, sample_format="fltp", layout="stereo", encoder_options=options)


@dataclass(frozen=True)
class Sbc(FfmpegCoding):
    """Sub-band coding of Bluetooth headsets (A2DP, annex B) at 16 kHz."""

    kbps: int = one_of(16, 24, 32, 48, 64)

    CODER = Coder("sbc", 73)


@dataclass(frozen=True)
class RealAudio(FfmpegCoding):
    """RealAudio 1.0 ("14.4"): 8 kb/s CELP, narrowband."""

    CODER = Coder("real_144", 320, NARROWBAND, kbps=8)  # a frame of 20 ms


@dataclass(frozen=True)
class Nellymoser(FfmpegCoding):
    """Nellymoser Asao, of voice chats in browsers: transforms with bands of fixed width, 2 bits a sample."""

    rate_hz: int = either(0.6, NARROWBAND, SAMPLE_RATE)
    """Of its input, 8000 or 16000"""

    @property
    def coder(self) -> Coder:
        late = 256 if self.rate_hz == NARROWBAND else 128  # half a frame
        return Coder("nellymoser", late, self.rate_hz, "flt")


@dataclass(frozen=True)
class AptX(FfmpegCoding):
    """aptX of Bluetooth headsets: four sub-bands of ADPCM, 4 bits a sample."""

    rate_hz: int = either(0.6, SAMPLE_RATE, 48_000)
    """Sample rate of its input, 16000 or 48000"""

    @property
    def coder(self) -> Coder:
        return Coder("aptx", 90 if self.rate_hz == SAMPLE_RATE else 30, self.rate_hz, "s32p", "stereo")


@dataclass(frozen=True)
class Wma(FfmpegCoding):
    """Windows Media Audio, version 1 or 2, at 16 kHz."""

    version: int
    """1 or 2"""
    kbps: int
    """24 to 48; FFmpeg's encoder has no less"""

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        kbps = int(rng.choice([24, 28, 32, 48]))
        return int(rng.integers(1, 3)), kbps

    @property
    def coder(self) -> Coder:
        name = f"wmav{self.version}"
        # the decoder drops the first frame
        return Coder(name, 0, sample_format="fltp", kbps=self.kbps, container="asf", lead=512)


@dataclass(frozen=True)
class Ac3(FfmpegCoding):
    """AC-3 (ATSC A/52) or Enhanced AC-3 at 32 kHz, of television."""

    enhanced: bool
    kbps: int
    """32 to 64; Enhanced AC-3 from 16"""

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        enhanced = bool(rng.random() < 0.5)
        return enhanced, int(rng.choice([16, 24, 32, 48] if enhanced else [32, 40, 48, 64]))

    @property
    def coder(self) -> Coder:
        return Coder("eac3" if self.enhanced else "ac3", 128, 32_000, "fltp", kbps=self.kbps)


@dataclass(frozen=True)
class Adpcm(FfmpegCoding):
    """ADPCM with 4 bits a sample, as in files and games: IMA, Microsoft, Yamaha, Flash, ADX."""

    variant: str
    """One of ADPCM_FORMATS"""
    rate_hz: int
    """Sample rate of its input, 8000 or 16000; Flash has 11025."""

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        variant = str(rng.choice(list(ADPCM_FORMATS)))
        rate = NARROWBAND if rng.random() < 0.5 else SAMPLE_RATE
        return variant, 11_025 if variant == "swf" else rate

    @property
    def coder(self) -> Coder:
        return Coder(f"adpcm_{self.variant}", 0, self.rate_hz, ADPCM_FORMATS[self.variant])


@dataclass(frozen=True)
class Dpcm(FfmpegCoding):
    """Delta modulation without a predictor: RoQ (8 bits a sample), DFPWM (1 bit)."""

    variant: Literal["roq", "dfpwm"]
    rate_hz: int
    """Sample rate of its input: 22050 for RoQ; 48000 for DFPWM"""

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        return ("roq", 22_050) if rng.random() < 0.5 else ("dfpwm", 48_000)

    @property
    def coder(self) -> Coder:
        if self.variant == "roq":
            return Coder("roq_dpcm", 0, self.rate_hz)
        return Coder("dfpwm", 0, self.rate_hz, "u8", trim=1)  # the low-pass of its decoder


# Encoding and decoding by PyAV

OFFSET_8 = 128
"""Silence in unsigned 8-bit PCM"""
PCM_FRAME = 1024
"""Samples a packet where the encoder leaves its size open"""
COMMON: Options = (("threads", "1"), ("flags", "+bitexact"), ("strict", "experimental"))
"""Options of every encoder. `strict` enables encoders that FFmpeg calls experimental (Vorbis)."""


def coded(samples: Samples, coder: Coder) -> Samples:
    """(samples,) at 16 kHz, full scale 1 -> output of the decoder: about as many samples, `coder.delay` later.

    Raises MissingExtraError without PyAV.
    """
    given = resample(np.pad(samples, (coder.lead, 0)), SAMPLE_RATE, coder.rate)
    if coder.container:
        return resample(_through_file(given, coder), coder.rate, SAMPLE_RATE)
    frames = _decode(*encode(given, coder), coder)
    decoded = np.concatenate([_first_channel(frame) for frame in frames])
    return resample(decoded[coder.trim :], int(frames[0].sample_rate), SAMPLE_RATE)


def encode(samples: Samples, coder: Coder) -> tuple[list[bytes], bytes]:
    """(samples,) at `coder.rate` -> packets, and the headers that some decoders need before the first packet."""
    encoder = _context(coder.name, "w", coder)
    encoder.format = coder.sample_format
    if coder.kbps:
        encoder.bit_rate = round(1000 * coder.kbps)
    encoder.options = dict((*COMMON, *coder.encoder_options))
    encoder.open()
    frames = [*_frames(samples, encoder.frame_size or PCM_FRAME, coder), None]
    return [bytes(packet) for frame in frames for packet in encoder.encode(frame)], encoder.extradata or b""


def _decode(packets: list[bytes], headers: bytes, coder: Coder) -> list[Any]:
    """Packets -> frames; their rate is the decoder's choice (Opus: 48 kHz)."""
    decoder = _context(coder.decoder or coder.name, "r", coder)
    if headers:
        decoder.extradata = headers
    decoder.options = dict((*COMMON, *coder.decoder_options))
    decoder.open()
    packet_of = _av().Packet
    return [frame for packet in [*map(packet_of, packets), None] for frame in decoder.decode(packet)]


def _through_file(samples: Samples, coder: Coder) -> Samples:
    """(samples,) at `coder.rate` -> output of the decoder for a file in memory."""
    av, file = _av(), BytesIO()
    with av.open(file, "w", format=coder.container, container_options={"fflags": "+bitexact"}) as writer:
        stream = writer.add_stream(coder.name, rate=coder.rate, options=dict((*COMMON, *coder.encoder_options)))
        stream.layout, stream.format = coder.layout, coder.sample_format
        stream.bit_rate = round(1000 * coder.kbps)
        stream.codec_context.open()
        for frame in [*_frames(samples, stream.codec_context.frame_size or PCM_FRAME, coder), None]:
            writer.mux(stream.encode(frame))
    file.seek(0)
    with av.open(file, format=coder.container) as reader:
        reader.streams.audio[0].thread_type = "NONE"
        return np.concatenate([_first_channel(frame) for frame in reader.decode(audio=0)])


def _context(name: str, mode: str, coder: Coder) -> Any:
    context = _av().CodecContext.create(name, mode)
    context.sample_rate, context.layout = coder.rate, coder.layout
    return context


def _frames(samples: Samples, size: int, coder: Coder) -> Iterator[Any]:
    """Frames of `size` samples each, the last filled up with silence."""
    values = _as_format(np.pad(samples, (0, -len(samples) % size)), coder.sample_format.removesuffix("p"))
    planes = 2 if coder.layout == "stereo" else 1
    for start in range(0, len(values), size):
        block = np.tile(values[start : start + size], (planes, 1))
        frame = _av().AudioFrame.from_ndarray(block, format=coder.sample_format, layout=coder.layout)
        frame.sample_rate, frame.pts = coder.rate, start
        yield frame


def _as_format(samples: Samples, kind: str) -> NDArray[Any]:
    """Full scale 1 -> the numbers of FFmpeg's sample format."""
    if kind == "flt":
        return samples
    pcm = as_int16(samples)
    if kind == "s32":
        return pcm.astype(np.int32) << 16
    return ((pcm >> 8) + OFFSET_8).astype(np.uint8) if kind == "u8" else pcm


def _first_channel(frame: Any) -> Samples:
    array = frame.to_ndarray()  # (channels, samples), or (1, samples * channels) for interleaved formats
    first = array[0] if frame.format.is_planar else array[0, :: frame.layout.nb_channels]
    if array.dtype == np.uint8:
        return np.asarray((first.astype(np.float32) - OFFSET_8) / OFFSET_8, dtype=np.float32)
    scale = {np.dtype(np.int16): FULL_SCALE, np.dtype(np.int32): FULL_SCALE << 16}.get(array.dtype, 1)
    return np.asarray(first / np.float32(scale), dtype=np.float32)


def _av() -> Any:
    return module("av", EXTRA)
