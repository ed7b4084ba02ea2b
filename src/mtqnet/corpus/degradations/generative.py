"""Decoders that generate the waveform of speech: Lyra V2, Opus with neural parts, and a neural vocoder.

LyraV2 (SoundStream; Zeghidour et al. 2021): three graphs in the folder `lyra_v2` of the weights (Google, Apache-2.0),
run by the package ai-edge-litert. OpusNeural: LACE, NoLACE (Buethe et al. 2023, 2024) and deep PLC, encoded by the
system's libopus (BSD, Debian package libopus0), decoded on Node by the npm package @wasm-audio-decoders/opus-ml 0.0.3
(MIT); one Node process per worker serves all clips. NeuralVocoder: trained by this project (research/neural); only 80
mel bands and the pitch, each 8 ms, reach the network. Its checkpoints provide several qualities."""

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
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import vocoder
from mtqnet.corpus.degradations.coding import Coding, draw_level, through
from mtqnet.corpus.degradations.network import FrameLoss
from mtqnet.corpus.degradations.packages import (
    NODE_PACKAGE,
    NPM,
    module,
    own_weights,
    session,
    shared_library,
    weights_file,
)
from mtqnet.corpus.degradations.step import (
    Samples,
    Tracks,
    as_int16,
    draw_seed,
    hann,
    in_frames,
    samples_of,
    spectra,
    uniform,
)
from mtqnet.corpus.degradations.vocoder import HOP
from mtqnet.corpus.pool import Pool
from mtqnet.errors import CorpusError, MissingExtraError

LYRA_FRAME = 320
"""Samples, 20 ms"""
QUANTIZERS = {3.2: 16, 6.0: 30, 9.2: 46}
"""kbit/s -> residual quantizers of 4 bits for each frame"""
FEATURES = 64
"""Numbers for each frame between encoder and decoder"""


@dataclass(frozen=True)
class LyraV2(Coding):
    """Lyra V2 at 16 kHz."""

    kbps: float
    """3.2, 6.0 or 9.2"""

    FILES: ClassVar = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> LyraV2:  # noqa: ARG003
        return cls(float(rng.choice(list(QUANTIZERS))), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 0

    def transcode(self, samples: Samples) -> Samples:
        encoder, quantizer, decoder = (_interpreter(name) for name in self.FILES)
        encode, decode = encoder.get_signature_runner(), decoder.get_signature_runner()
        quantize, restore = (quantizer.get_signature_runner(name) for name in ("encode", "decode"))
        count = np.array(QUANTIZERS[self.kbps], np.int32)
        out = []
        for frame in in_frames(samples.astype(np.float32), LYRA_FRAME):
            features = encode(input_audio=frame[None])["output_0"].reshape(1, 1, FEATURES)
            indices = quantize(input_frames=features, num_quantizers=count)["output_0"]
            restored = restore(encoding_indices=indices)["output_0"]
            out.append(decode(input_audio=restored)["output_0"].reshape(-1))
        return np.concatenate(out)


def _interpreter(name: str) -> Any:
    """A fresh interpreter: the state of the graphs must begin with the clip."""
    return module("ai_edge_litert.interpreter").Interpreter(str(weights_file("lyra_v2", name)), num_threads=1)


OPUS_NEURAL_FRAME, FRAME_MS = 320, 20
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
        for frame in np.ascontiguousarray(in_frames(samples, OPUS_NEURAL_FRAME)):
            size = library.opus_encode(encoder, frame.ctypes.data, OPUS_NEURAL_FRAME, packet, LARGEST)
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
        script = Path(__file__).with_name("opus_neural.mjs")
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


WINDOW = 512
"""Samples, 32 ms, Hann"""
BANDS = 80
FLOOR = 1e-5
"""Least magnitude of a mel band under the logarithm"""
REFERENCE_HZ = 120.0
"""The network's pitch is in octaves above it."""
LEVEL_DB = -26.0
"""Level of the signal at the network, RMS relative to full scale; the step restores the level of its input."""
QUALITIES = ("early", "middle", "late")
"""Checkpoints, from the fewest to the most training steps"""
TO_DECIBEL = 20 / np.log(10)


@dataclass(frozen=True)
class NeuralVocoder:
    """Analysis into mel bands and pitch, and synthesis by a neural network.

    `quality` is one of QUALITIES. The mel bands are rounded to multiples of `step_db` (0: not rounded), as a
    codec at a low bit rate would do. `seed` is the seed of the noise that excites unvoiced speech.
    """

    quality: str
    step_db: float
    seed: int

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NeuralVocoder:  # noqa: ARG003
        quality = QUALITIES[int(rng.integers(len(QUALITIES)))]
        return cls(quality, uniform(rng, 1, 8) if rng.random() < 0.3 else 0.0, draw_seed(rng))

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.process, self.DELAY)

    def process(self, samples: Samples) -> Samples:
        """(samples,) -> the same speech, generated from its mel bands and its pitch."""
        graph = session(own_weights("neural_vocoder", f"vocoder-{self.quality}.onnx"))
        length = len(samples)
        gain = np.float32(10 ** (LEVEL_DB / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6))
        given = np.pad(samples * gain, (0, -length % HOP))
        mel = log_mel(spectra(given, hann(WINDOW), HOP))
        if self.step_db:
            step = self.step_db / TO_DECIBEL
            mel = np.maximum(np.round(mel / step) * step, np.log(FLOOR))
        pitch, pulses, noise = inputs(*vocoder.pitch(given), len(given), np.random.default_rng(self.seed))
        (spectrum,) = graph.run(
            None,
            {
                "mel": mel[None].astype(np.float32),
                "pitch": pitch[None],
                "pulses": spectra(pulses, hann(WINDOW), HOP)[None],
                "noise": spectra(noise, hann(WINDOW), HOP)[None],
            },
        )
        return samples_of(spectrum[0], hann(WINDOW), HOP, length) / gain


def mel_filters() -> NDArray[np.float64]:
    """(BANDS, bins): triangles on the mel axis of O'Shaughnessy from 0 to 8 kHz, each of which adds up to 1."""
    bins, highest = WINDOW // 2 + 1, SAMPLE_RATE / 2
    hertz = np.linspace(0, highest, bins)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + highest / 700), BANDS + 2) / 2595) - 1)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rise, fall))
    # The lowest bands are narrower than a bin: each takes at least the bin nearest to its centre.
    filters[np.arange(BANDS), np.abs(hertz - edges[1:-1, None]).argmin(1)] += 1e-3
    return np.asarray(filters / filters.sum(1, keepdims=True))


def log_mel(spectrum: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, bins, frames) -> (BANDS, frames), natural logarithm of the magnitude."""
    return np.asarray(np.log(np.maximum(mel_filters() @ np.hypot(*spectrum), FLOOR)))


def inputs(
    frequency: NDArray[np.float64], voicing: NDArray[np.float64], length: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Samples, Samples]:
    """The network's pitch (2, frames), its pulses (length,) and its noise (length,)."""
    pitch = np.stack([np.log2(frequency / REFERENCE_HZ), voicing]).astype(np.float32)
    return pitch, vocoder.pulses(frequency, voicing, length), rng.standard_normal(length, dtype=np.float32)
