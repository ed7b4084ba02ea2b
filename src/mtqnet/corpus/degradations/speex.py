"""Speex (RFC 5574), by libspeex (BSD). Debian package libspeex1."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import NARROWBAND, Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.native import shared_library
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.pool import Pool

SET_ENHANCEMENT, SET_QUALITY, SET_COMPLEXITY = 0, 4, 16
"""Requests of speex_encoder_ctl and speex_decoder_ctl (speex.h)"""
COMPLEXITY = 3
"""speexenc's default"""
BITS = 64
"""Bytes for the structure SpeexBits, which has 40"""
LARGEST = 256
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
        library, frame = _library(), self.rate_hz // 50
        mode = library.speex_lib_get_mode(MODES[self.rate_hz])
        bits = ctypes.create_string_buffer(BITS)
        packet = ctypes.create_string_buffer(LARGEST)
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
                size = library.speex_bits_write(bits, packet, LARGEST)
                library.speex_bits_read_from(bits, packet, size)
                library.speex_decode_int(decoder, bits, target.ctypes.data)
        finally:
            library.speex_bits_destroy(bits)
            library.speex_encoder_destroy(encoder)
            library.speex_decoder_destroy(decoder)
        return out.reshape(-1)


def _library() -> ctypes.CDLL:
    library, pointer = shared_library(Speex.LIBRARIES[0]), ctypes.c_void_p
    for function in (library.speex_lib_get_mode, library.speex_encoder_init, library.speex_decoder_init):
        function.restype = pointer
    library.speex_encoder_init.argtypes = library.speex_decoder_init.argtypes = (pointer,)
    library.speex_encoder_ctl.argtypes = library.speex_decoder_ctl.argtypes = (pointer, ctypes.c_int, pointer)
    library.speex_encode_int.argtypes = (pointer, pointer, pointer)
    library.speex_decode_int.argtypes = (pointer, pointer, pointer)
    library.speex_encoder_destroy.argtypes = library.speex_decoder_destroy.argtypes = (pointer,)
    return library
