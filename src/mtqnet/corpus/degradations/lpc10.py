"""LPC-10e (FED-STD-1015, 2.4 kbit/s, narrowband), by SpanDSP (LGPL-2.1). Debian package libspandsp2."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtqnet.corpus.degradations.coding import NarrowbandCoding, Pcm, draw_level
from mtqnet.corpus.degradations.native import shared_library
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.pool import Pool

FRAME, PACKET = 180, 7
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
        frames = in_frames(pcm, FRAME)
        given = np.ascontiguousarray(frames.reshape(-1))
        out, packets = np.zeros_like(given), ctypes.create_string_buffer(PACKET * len(frames))
        encoder, decoder = library.lpc10_encode_init(None, 0), library.lpc10_decode_init(None, 0)
        try:
            size = library.lpc10_encode(encoder, packets, given.ctypes.data, len(given))
            library.lpc10_decode(decoder, out.ctypes.data, packets, size)
        finally:
            library.lpc10_encode_free(encoder)
            library.lpc10_decode_free(decoder)
        return out
