"""GSM full rate (ETSI GSM 06.10, 13 kbit/s, narrowband), by libgsm (its own permissive licence, TU Berlin).

Debian package libgsm1.
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

FRAME, PACKET = 160, 33
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
        frames = np.ascontiguousarray(in_frames(pcm, FRAME))
        out, packet = np.zeros_like(frames), ctypes.create_string_buffer(PACKET)
        encoder, decoder = library.gsm_create(), library.gsm_create()
        try:
            for source, target in zip(frames, out, strict=True):
                library.gsm_encode(encoder, source.ctypes.data, packet)
                library.gsm_decode(decoder, packet, target.ctypes.data)
        finally:
            library.gsm_destroy(encoder)
            library.gsm_destroy(decoder)
        return out.reshape(-1)
