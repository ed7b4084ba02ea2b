"""ITU-T G.729 Annex A (8 kbit/s CS-ACELP, narrowband), by bcg729 (GPL-3, called as a separate shared library).

Debian package libbcg729-0. The build works without it: `mtqnet corpus build --without G729`.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtqnet.corpus.degradations.coding import NarrowbandCoding, Pcm, draw_level
from mtqnet.corpus.degradations.native import shared_library
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.pool import Pool

FRAME, PACKET = 80, 10
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
        frames = np.ascontiguousarray(in_frames(pcm, FRAME))
        out = np.zeros_like(frames)
        packet, size = ctypes.create_string_buffer(PACKET), octet(0)
        encoder, decoder = library.initBcg729EncoderChannel(0), library.initBcg729DecoderChannel()
        try:
            for source, target in zip(frames, out, strict=True):
                library.bcg729Encoder(encoder, source.ctypes.data, packet, ctypes.byref(size))
                library.bcg729Decoder(decoder, packet, size.value, 0, 0, 0, target.ctypes.data)
        finally:
            library.closeBcg729EncoderChannel(encoder)
            library.closeBcg729DecoderChannel(decoder)
        return out.reshape(-1)
