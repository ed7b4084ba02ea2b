"""AMR wideband (3GPP TS 26.171, ITU-T G.722.2), by the encoder of VisualOn and the decoder of opencore-amr.

Both are under Apache-2.0. Debian packages libvo-amrwbenc0 and libopencore-amrwb0.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtqnet.corpus.degradations.coding import Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.native import shared_library
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.pool import Pool

KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
"""kbit/s of the modes 0 to 8 (3GPP TS 26.171)"""
FRAME = 320
"""Samples, 20 ms"""
LARGEST = 64
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
        return decoded(encoded(pcm, KBPS.index(self.kbps)))


def encoded(samples: Pcm, mode: int) -> list[bytes]:
    """Return one packet for each frame of 20 ms: a byte with the mode and the coded bits (RFC 4867 storage)."""
    library = shared_library(AmrWb.LIBRARIES[0])
    pointer, short = ctypes.c_void_p, ctypes.c_short
    library.E_IF_init.restype = pointer
    library.E_IF_encode.argtypes = (pointer, short, pointer, pointer, short)
    library.E_IF_exit.argtypes = (pointer,)
    state, packet = library.E_IF_init(), ctypes.create_string_buffer(LARGEST)
    try:
        packets = []
        for frame in np.ascontiguousarray(in_frames(samples, FRAME)):
            size = library.E_IF_encode(state, mode, frame.ctypes.data, packet, 0)
            packets.append(packet.raw[:size])
        return packets
    finally:
        library.E_IF_exit(state)


def decoded(packets: list[bytes]) -> Pcm:
    """(20 ms for each packet,)"""
    library = shared_library(AmrWb.LIBRARIES[1])
    library.D_IF_init.restype = ctypes.c_void_p
    library.D_IF_decode.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    library.D_IF_exit.argtypes = (ctypes.c_void_p,)
    out = np.zeros((len(packets), FRAME), np.int16)
    state = library.D_IF_init()
    try:
        for packet, frame in zip(packets, out, strict=True):
            library.D_IF_decode(state, packet, frame.ctypes.data, 0)
    finally:
        library.D_IF_exit(state)
    return out.reshape(-1)
