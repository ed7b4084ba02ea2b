"""Opus as decoded by libopus 1.5 with its neural parts: LACE, NoLACE (Buethe et al. 2023, 2024) and deep PLC.

Encoded by the system's libopus (BSD, Debian package libopus0), decoded on Node by the npm package
@wasm-audio-decoders/opus-ml 0.0.3 (MIT, libopus BSD). One Node process per worker serves all clips.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import Coding, Samples, draw_level
from mtqnet.corpus.degradations.native import shared_library
from mtqnet.corpus.degradations.network import FrameLoss
from mtqnet.corpus.degradations.packages import NODE_PACKAGE, NPM
from mtqnet.corpus.degradations.pcm import as_int16, in_frames
from mtqnet.corpus.degradations.step import draw_seed, uniform
from mtqnet.corpus.pool import Pool
from mtqnet.errors import CorpusError, MissingExtraError

FRAME, FRAME_MS = 320, 20
"""Samples and milliseconds of a packet: LACE and NoLACE work on these only"""
LARGEST = 1500
"""Bytes of a packet at most"""
ENHANCEMENTS = ("none", "lace", "nolace")
MODULES = "MTQNET_NODE_MODULES"
"""Variable with the folder node_modules; without it, ./node_modules and the global folders of npm are searched."""
GLOBAL_MODULES = ("/usr/local/lib/node_modules", "/usr/lib/node_modules")


VOIP = 2048
"""OPUS_APPLICATION_VOIP"""
SETTINGS = ((4004, 1103), (4008, 1103), (4006, 1), (4010, 10), (4024, 3001))
"""opus_encoder_ctl: widest bandwidth and bandwidth (1103: wideband), variable rate, complexity, signal (voice)"""
SET_BITRATE = 4002


@dataclass(frozen=True)
class OpusNeural(Coding):
    """Opus in wideband, enhanced and concealed by the neural networks of the decoder."""

    kbps: int
    """6 to 20"""
    enhancement: Literal["none", "lace", "nolace"]
    loss: float
    """Fraction of frames lost, 0 to 0.3; neural concealment replaces them, except with "none"."""
    burst: float
    """Mean length of a gap in frames"""
    seed: int

    LIBRARIES: ClassVar = ("libopus.so.0",)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> OpusNeural:  # noqa: ARG003
        loss = uniform(rng, 0.03, 0.3) if rng.random() < 0.4 else 0.0
        enhancement: Literal["lace", "nolace"] = "lace" if rng.random() < 0.5 else "nolace"
        kbps, burst = int(rng.integers(6, 21)), uniform(rng, 1, 4)
        return cls(kbps, enhancement, loss, burst, draw_seed(rng), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 104

    def transcode(self, samples: Samples) -> Samples:
        packets = encoded(as_int16(samples), self.kbps)
        lost = FrameLoss(self.loss, self.burst, FRAME_MS, self.seed).lost(len(packets))
        sent = [packet[:1] if gone else packet for packet, gone in zip(packets, lost, strict=True)]
        return _decoder().decode(sent, ENHANCEMENTS.index(self.enhancement))


def encoded(samples: NDArray[np.int16], kbps: int) -> list[bytes]:
    """One packet for each frame of 20 ms, always in wideband."""
    library, pointer = shared_library(OpusNeural.LIBRARIES[0]), ctypes.c_void_p
    library.opus_encoder_create.restype = pointer
    library.opus_encode.argtypes = (pointer, pointer, ctypes.c_int, ctypes.c_char_p, ctypes.c_int32)
    library.opus_encoder_destroy.argtypes = (pointer,)
    error = ctypes.c_int()
    encoder = pointer(library.opus_encoder_create(SAMPLE_RATE, 1, VOIP, ctypes.byref(error)))
    packet = ctypes.create_string_buffer(LARGEST)
    try:
        for request, value in ((SET_BITRATE, 1000 * kbps), *SETTINGS):
            if library.opus_encoder_ctl(encoder, ctypes.c_int(request), ctypes.c_int(value)):
                raise CorpusError(f"libopus does not accept {value} for its setting {request}")
        packets = []
        for frame in np.ascontiguousarray(in_frames(samples, FRAME)):
            size = library.opus_encode(encoder, frame.ctypes.data, FRAME, packet, LARGEST)
            packets.append(packet.raw[:size])
        return packets
    finally:
        library.opus_encoder_destroy(encoder)


def package_folder() -> Path:
    """Folder of the npm package. Raises MissingExtraError if it is not installed."""
    roots = (os.environ.get(MODULES) or "node_modules", *GLOBAL_MODULES)
    for root in roots:
        if (folder := Path(root).resolve() / NODE_PACKAGE).is_dir():
            return folder
    raise MissingExtraError(f"{NODE_PACKAGE} is not installed: {NPM}, or set {MODULES} to its node_modules")


class Decoder:
    """A Node process that decodes one clip at a time."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            raise MissingExtraError("node is not installed: apt-get install nodejs")
        script = Path(__file__).with_suffix(".mjs")
        command = (node, str(script), str(package_folder()))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.close)

    def decode(self, packets: list[bytes], enhancement: int) -> Samples:
        """(20 ms for each packet,) at 16 kHz. Raises CorpusError if the process has ended."""
        request = bytes([enhancement]) + b"".join(struct.pack("<H", len(p)) + p for p in packets)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(struct.pack("<I", len(request)) + request)
            stdin.flush()
            (size,) = struct.unpack("<I", stdout.read(4))
            return np.frombuffer(stdout.read(size), np.float32).copy()
        except (OSError, struct.error) as error:
            raise CorpusError(f"the Opus decoder on Node ended with status {self._process.wait()}") from error

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@lru_cache(maxsize=1)
def _decoder() -> Decoder:
    return Decoder()
