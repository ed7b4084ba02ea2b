"""Speech codecs of shared C libraries, called by ctypes: GSM, G.729, LPC-10, Speex and AMR-WB.

| step | standard | library | Debian package |
|---|---|---|---|
| GsmFr | GSM full rate, ETSI GSM 06.10, 13 kbit/s, narrowband | libgsm (own permissive licence, TU Berlin) | libgsm1 |
| G729 | ITU-T G.729 Annex A, 8 kbit/s, narrowband | bcg729 (GPL-3) | libbcg729-0 |
| Lpc10 | LPC-10e, FED-STD-1015, 2.4 kbit/s, narrowband | SpanDSP (LGPL-2.1) | libspandsp2 |
| Speex | Speex, narrowband and wideband | libspeex (BSD) | libspeex1 |
| AmrWb | ITU-T G.722.2, wideband | vo-amrwbenc and opencore-amrwb (Apache-2.0) | libvo-amrwbenc0, libopencore-amrwb0 |

The build works without any of them: `mtqnet corpus build --without G729`."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import NARROWBAND, NarrowbandCoding, Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.packages import shared_library
from mtqnet.corpus.degradations.step import in_frames
from mtqnet.corpus.pool import Pool

GSM_FRAME, GSM_PACKET = 160, 33
"""Samples at 8 kHz, and bytes"""


@dataclass(frozen=True)
class GsmFr(NarrowbandCoding):
    """GSM full rate."""

    LIBRARIES: ClassVar = ("libgsm.so.1",)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> GsmFr:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 0

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        library, pointer = shared_library(self.LIBRARIES[0]), ctypes.c_void_p
        library.gsm_create.restype = pointer
        library.gsm_destroy.argtypes = (pointer,)
        library.gsm_encode.argtypes = library.gsm_decode.argtypes = (pointer, pointer, pointer)
        frames = np.ascontiguousarray(in_frames(pcm, GSM_FRAME))
        out, packet = np.zeros_like(frames), ctypes.create_string_buffer(GSM_PACKET)
        encoder, decoder = library.gsm_create(), library.gsm_create()
        try:
            for source, target in zip(frames, out, strict=True):
                library.gsm_encode(encoder, source.ctypes.data, packet)
                library.gsm_decode(decoder, packet, target.ctypes.data)
        finally:
            library.gsm_destroy(encoder)
            library.gsm_destroy(decoder)
        return out.reshape(-1)


G729_FRAME, G729_PACKET = 80, 10
"""Samples at 8 kHz, and bytes"""


@dataclass(frozen=True)
class G729(NarrowbandCoding):
    """ITU-T G.729 Annex A."""

    LIBRARIES: ClassVar = ("libbcg729.so.0",)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> G729:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 80

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        library, pointer, octet = shared_library(self.LIBRARIES[0]), ctypes.c_void_p, ctypes.c_uint8
        library.initBcg729EncoderChannel.restype = library.initBcg729DecoderChannel.restype = pointer
        library.initBcg729EncoderChannel.argtypes = (octet,)
        library.bcg729Encoder.argtypes = (pointer, pointer, pointer, pointer)
        library.bcg729Encoder.restype = library.bcg729Decoder.restype = None
        library.bcg729Decoder.argtypes = (pointer, pointer, octet, octet, octet, octet, pointer)
        library.closeBcg729EncoderChannel.argtypes = library.closeBcg729DecoderChannel.argtypes = (pointer,)
        frames = np.ascontiguousarray(in_frames(pcm, G729_FRAME))
        out = np.zeros_like(frames)
        packet, size = ctypes.create_string_buffer(G729_PACKET), octet(0)
        encoder, decoder = library.initBcg729EncoderChannel(0), library.initBcg729DecoderChannel()
        try:
            for source, target in zip(frames, out, strict=True):
                library.bcg729Encoder(encoder, source.ctypes.data, packet, ctypes.byref(size))
                library.bcg729Decoder(decoder, packet, size.value, 0, 0, 0, target.ctypes.data)
        finally:
            library.closeBcg729EncoderChannel(encoder)
            library.closeBcg729DecoderChannel(decoder)
        return out.reshape(-1)


LPC10_FRAME, LPC10_PACKET = 180, 7
"""Samples at 8 kHz (22.5 ms), and bytes"""


@dataclass(frozen=True)
class Lpc10(NarrowbandCoding):
    """LPC-10e: pitch, voicing, energy and ten reflection coefficients for each frame."""

    LIBRARIES: ClassVar = ("libspandsp.so.2",)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Lpc10:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 1720  # of the envelopes: a vocoder keeps no waveform

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        library, pointer = shared_library(self.LIBRARIES[0]), ctypes.c_void_p
        library.lpc10_encode_init.restype = library.lpc10_decode_init.restype = pointer
        library.lpc10_encode_init.argtypes = library.lpc10_decode_init.argtypes = (pointer, ctypes.c_int)
        library.lpc10_encode.argtypes = library.lpc10_decode.argtypes = (pointer, pointer, pointer, ctypes.c_int)
        library.lpc10_encode_free.argtypes = library.lpc10_decode_free.argtypes = (pointer,)
        frames = in_frames(pcm, LPC10_FRAME)
        given = np.ascontiguousarray(frames.reshape(-1))
        out, packets = np.zeros_like(given), ctypes.create_string_buffer(LPC10_PACKET * len(frames))
        encoder, decoder = library.lpc10_encode_init(None, 0), library.lpc10_decode_init(None, 0)
        try:
            size = library.lpc10_encode(encoder, packets, given.ctypes.data, len(given))
            library.lpc10_decode(decoder, out.ctypes.data, packets, size)
        finally:
            library.lpc10_encode_free(encoder)
            library.lpc10_decode_free(decoder)
        return out


SET_ENHANCEMENT, SET_QUALITY, SET_COMPLEXITY = 0, 4, 16
"""Requests of speex_encoder_ctl and speex_decoder_ctl (speex.h)"""
COMPLEXITY = 3
"""speexenc's default"""
BITS = 64
"""Bytes for the structure SpeexBits, which has 40"""
SPEEX_LARGEST = 256
"""Bytes of a packet at most"""
MODES = {NARROWBAND: 0, SAMPLE_RATE: 1}
"""Sample rate in Hz -> number of the mode for speex_lib_get_mode"""


@dataclass(frozen=True)
class Speex(PcmCoding):
    """Speex, narrowband or wideband."""

    quality: int
    """0 to 10: 2.2 to 24.6 kbit/s narrowband, 4 to 42 kbit/s wideband"""
    rate_hz: int
    """8000 or 16000"""

    LIBRARIES: ClassVar = ("libspeex.so.1",)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Speex:  # noqa: ARG003
        rate = NARROWBAND if rng.random() < 0.4 else SAMPLE_RATE
        return cls(int(rng.integers(0, 9)), rate, level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 160 if self.rate_hz == NARROWBAND else 223

    @property
    def sample_rate(self) -> int:
        return self.rate_hz

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        library, frame = _speex(), self.rate_hz // 50
        mode = library.speex_lib_get_mode(MODES[self.rate_hz])
        bits = ctypes.create_string_buffer(BITS)
        packet = ctypes.create_string_buffer(SPEEX_LARGEST)
        frames = np.ascontiguousarray(in_frames(pcm, frame))
        out = np.zeros_like(frames)
        encoder, decoder = library.speex_encoder_init(mode), library.speex_decoder_init(mode)
        library.speex_bits_init(bits)
        try:
            for request, value in ((SET_QUALITY, self.quality), (SET_COMPLEXITY, COMPLEXITY)):
                library.speex_encoder_ctl(encoder, request, ctypes.byref(ctypes.c_int(value)))
            library.speex_decoder_ctl(decoder, SET_ENHANCEMENT, ctypes.byref(ctypes.c_int(1)))
            for source, target in zip(frames, out, strict=True):
                library.speex_bits_reset(bits)
                library.speex_encode_int(encoder, source.ctypes.data, bits)
                size = library.speex_bits_write(bits, packet, SPEEX_LARGEST)
                library.speex_bits_read_from(bits, packet, size)
                library.speex_decode_int(decoder, bits, target.ctypes.data)
        finally:
            library.speex_bits_destroy(bits)
            library.speex_encoder_destroy(encoder)
            library.speex_decoder_destroy(decoder)
        return out.reshape(-1)


def _speex() -> ctypes.CDLL:
    library, pointer = shared_library(Speex.LIBRARIES[0]), ctypes.c_void_p
    for function in (library.speex_lib_get_mode, library.speex_encoder_init, library.speex_decoder_init):
        function.restype = pointer
    library.speex_encoder_init.argtypes = library.speex_decoder_init.argtypes = (pointer,)
    library.speex_encoder_ctl.argtypes = library.speex_decoder_ctl.argtypes = (pointer, ctypes.c_int, pointer)
    library.speex_encode_int.argtypes = (pointer, pointer, pointer)
    library.speex_decode_int.argtypes = (pointer, pointer, pointer)
    library.speex_encoder_destroy.argtypes = library.speex_decoder_destroy.argtypes = (pointer,)
    return library


KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
"""kbit/s of the modes 0 to 8 (3GPP TS 26.171)"""
AMR_WB_FRAME = 320
"""Samples, 20 ms"""
AMR_WB_LARGEST = 64
"""Bytes; a frame of the highest mode has 61."""


@dataclass(frozen=True)
class AmrWb(PcmCoding):
    """AMR wideband."""

    kbps: float
    """One of KBPS"""

    LIBRARIES: ClassVar = ("libvo-amrwbenc.so.0", "libopencore-amrwb.so.0")

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> AmrWb:  # noqa: ARG003
        return cls(float(rng.choice(KBPS)), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 95

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        return amr_wb_decoded(amr_wb_encoded(pcm, KBPS.index(self.kbps)))


def amr_wb_encoded(samples: Pcm, mode: int) -> list[bytes]:
    """Return one packet for each frame of 20 ms: a byte with the mode and the coded bits (RFC 4867 storage)."""
    library = shared_library(AmrWb.LIBRARIES[0])
    pointer, short = ctypes.c_void_p, ctypes.c_short
    library.E_IF_init.restype = pointer
    library.E_IF_encode.argtypes = (pointer, short, pointer, pointer, short)
    library.E_IF_exit.argtypes = (pointer,)
    state, packet = library.E_IF_init(), ctypes.create_string_buffer(AMR_WB_LARGEST)
    try:
        packets = []
        for frame in np.ascontiguousarray(in_frames(samples, AMR_WB_FRAME)):
            size = library.E_IF_encode(state, mode, frame.ctypes.data, packet, 0)
            packets.append(packet.raw[:size])
        return packets
    finally:
        library.E_IF_exit(state)


def amr_wb_decoded(packets: list[bytes]) -> Pcm:
    """(20 ms for each packet,)"""
    library = shared_library(AmrWb.LIBRARIES[1])
    library.D_IF_init.restype = ctypes.c_void_p
    library.D_IF_decode.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    library.D_IF_exit.argtypes = (ctypes.c_void_p,)
    out = np.zeros((len(packets), AMR_WB_FRAME), np.int16)
    state = library.D_IF_init()
    try:
        for packet, frame in zip(packets, out, strict=True):
            library.D_IF_decode(state, packet, frame.ctypes.data, 0)
    finally:
        library.D_IF_exit(state)
    return out.reshape(-1)
