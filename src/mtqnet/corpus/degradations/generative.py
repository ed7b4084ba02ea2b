"""Decoders that generate the waveform of speech: Lyra V2, Opus with neural parts, and vocoders.

LyraV2 (SoundStream; Zeghidour et al. 2021): three graphs in the folder `lyra_v2` of the weights (Google, Apache-2.0),
run by the package ai-edge-litert. OpusNeural: LACE, NoLACE (Buethe et al. 2023, 2024) and deep PLC, encoded by the
system's libopus (BSD, Debian package libopus0), decoded on Node by the npm package @wasm-audio-decoders/opus-ml 0.0.3
(MIT). Resynthesis: speech from a coarse envelope, pitch and noise, as codecs at low rates decode it. NeuralVocoder:
trained by this project (research/neural)."""

from __future__ import annotations

import atexit
import os
import shutil
import struct
import subprocess
from ctypes import byref, c_char_p, c_int, c_int32, c_void_p, create_string_buffer
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mtqnet.audio.features import STFT_BINS, istft, stft
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.network import FrameLoss
from mtqnet.corpus.degradations.step import (
    Coding,
    Drawn,
    Need,
    Pcm,
    Samples,
    Tracks,
    a_seed,
    as_int16,
    between,
    draw_seed,
    drawn,
    either,
    hann,
    in_frames,
    library,
    module,
    one_of,
    package,
    samples_of,
    session,
    shared_library,
    spectra,
    through,
    uniform,
    weights,
    weights_file,
    whole,
)
from mtqnet.errors import CorpusError, MissingExtraError

Array = NDArray[np.float64]

FRAME = 320
"""Samples, 20 ms, of a packet of Lyra and of Opus: LACE and NoLACE work on these only."""
LYRA_QUANTIZERS = {3.2: 16, 6.0: 30, 9.2: 46}
"""kbit/s -> residual quantizers of 4 bits for each frame"""
LYRA_FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


@dataclass(frozen=True)
class LyraV2(Coding):
    """Lyra V2 at 16 kHz."""

    kbps: float = one_of(*LYRA_QUANTIZERS)

    NEEDS = (package("ai_edge_litert"), weights("lyra_v2", *LYRA_FILES))

    def transcode(self, samples: Samples) -> Samples:
        interpreter = module(
            "ai_edge_litert.interpreter"
        ).Interpreter  # a fresh one: its state begins with the clip
        encoder, quantizer, decoder = (
            interpreter(str(weights_file("lyra_v2", name)), num_threads=1) for name in LYRA_FILES
        )
        encode, decode = encoder.get_signature_runner(), decoder.get_signature_runner()
        quantize, restore = (quantizer.get_signature_runner(name) for name in ("encode", "decode"))
        count = np.array(LYRA_QUANTIZERS[self.kbps], np.int32)
        out = []
        for frame in in_frames(samples.astype(np.float32), FRAME):
            features = encode(input_audio=frame[None])["output_0"].reshape(1, 1, -1)
            indices = quantize(input_frames=features, num_quantizers=count)["output_0"]
            restored = restore(encoding_indices=indices)["output_0"]
            out.append(decode(input_audio=restored)["output_0"].reshape(-1))
        return np.concatenate(out)


ENHANCEMENTS = ("none", "lace", "nolace")
NODE_PACKAGE = "@wasm-audio-decoders/opus-ml"
INSTALL_NODE_PACKAGE = f"npm install --no-save {NODE_PACKAGE}@0.0.3"
MODULES = "MTQNET_NODE_MODULES"
"""Variable with the folder node_modules; without it, ./node_modules and the global folders of npm are searched."""
GLOBAL_MODULES = ("/usr/local/lib/node_modules", "/usr/lib/node_modules")
SETTINGS = ((4004, 1103), (4008, 1103), (4006, 1), (4010, 10), (4024, 3001))
"""opus_encoder_ctl: widest bandwidth and bandwidth (1103: wideband), variable rate, complexity, signal (voice)"""
SET_BITRATE = 4002
LARGEST = 1500
"""Bytes of a packet at most"""


def package_folder() -> Path | None:
    """Folder of the npm package, None if it is not installed."""
    roots = (os.environ.get(MODULES) or "node_modules", *GLOBAL_MODULES)
    return next((path for root in roots if (path := Path(root).resolve() / NODE_PACKAGE).is_dir()), None)


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

    DELAY = 104
    NEEDS = (
        library("libopus.so.0"),
        Need("node", "apt-get install nodejs", lambda: shutil.which("node") is not None),
        Need(NODE_PACKAGE, INSTALL_NODE_PACKAGE, lambda: package_folder() is not None),
    )

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        loss = uniform(rng, 0.03, 0.3) if rng.random() < 0.4 else 0.0
        enhancement = "lace" if rng.random() < 0.5 else "nolace"
        kbps, burst = int(rng.integers(6, 21)), uniform(rng, 1, 4)
        return kbps, enhancement, loss, burst, draw_seed(rng)

    def transcode(self, samples: Samples) -> Samples:
        packets = encoded(as_int16(samples), self.kbps)
        lost = FrameLoss(self.loss, self.burst, 20, self.seed).lost(len(packets))
        sent = [packet[:1] if gone else packet for packet, gone in zip(packets, lost, strict=True)]
        return _decoded(sent, ENHANCEMENTS.index(self.enhancement))


def encoded(samples: Pcm, kbps: int) -> list[bytes]:
    """One packet for each frame of 20 ms, always in wideband."""
    opus = shared_library("libopus.so.0")
    opus.opus_encoder_create.restype = c_void_p
    opus.opus_encode.argtypes = (c_void_p, c_void_p, c_int, c_char_p, c_int32)
    opus.opus_encoder_destroy.argtypes = (c_void_p,)
    encoder = c_void_p(opus.opus_encoder_create(SAMPLE_RATE, 1, 2048, byref(c_int())))  # OPUS_APPLICATION_VOIP
    packet, packets = create_string_buffer(LARGEST), []
    try:
        for request, value in ((SET_BITRATE, 1000 * kbps), *SETTINGS):
            if opus.opus_encoder_ctl(encoder, c_int(request), c_int(value)):
                raise CorpusError(f"libopus does not accept {value} for its setting {request}")
        for frame in np.ascontiguousarray(in_frames(samples, FRAME)):
            size = opus.opus_encode(encoder, frame.ctypes.data, FRAME, packet, LARGEST)
            packets.append(packet.raw[:size])
    finally:
        opus.opus_encoder_destroy(encoder)
    return packets


def _decoded(packets: list[bytes], enhancement: int) -> Samples:
    """(20 ms for each packet,) at 16 kHz, by the Node process that serves all clips of this process."""
    process = _decoder()
    request = bytes([enhancement]) + b"".join(struct.pack("<H", len(p)) + p for p in packets)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(struct.pack("<I", len(request)) + request)
        process.stdin.flush()
        (size,) = struct.unpack("<I", process.stdout.read(4))
        return np.frombuffer(process.stdout.read(size), np.float32).copy()
    except (OSError, struct.error) as error:
        raise CorpusError(f"the Opus decoder on Node ended with status {process.wait()}") from error


@lru_cache(maxsize=1)
def _decoder() -> subprocess.Popen[bytes]:
    node, folder = shutil.which("node"), package_folder()
    if node is None or folder is None:
        raise MissingExtraError(
            f"node or {NODE_PACKAGE} is not installed: {INSTALL_NODE_PACKAGE}, or set {MODULES}"
        )
    script = Path(__file__).with_name("opus_neural.mjs")
    command = (node, str(script), str(folder))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(process.communicate)  # closes its input, at which it ends
    return process


TINY = 1e-7
"""Magnitude below which a bin is silent; speech at -26 dBov has spectra of 0.1 to 10."""


@dataclass(frozen=True)
class Resynthesis(Drawn):
    """Resynthesis from coarse magnitudes with phases by Griffin and Lim (1984), similar to decoders of mel spectra.

    It has the faults of decoders at low rates: coarse envelopes, lost harmonics, smeared time, and phases that do not
    fit, which sound rough. `bands` of equal width on the mel axis describe the envelope, rounded to steps of `step_db`
    (0: not at all) and smeared over `smear` frames of 16 ms; `fine` is the share of the spectrum's fine structure (its
    harmonics) that comes back, 0 to 1; `rounds` of Griffin and Lim begin at phases that are off by up to `phase` half
    turns.
    """

    bands: int = whole(16, 100)
    step_db: float = either(0.7, (0, 9), 0.0)
    smear: int = drawn(lambda rng: int(rng.integers(2, 5)) if rng.random() < 0.3 else 1)
    fine: float = between(0.4, 1.0)
    phase: float = between(0.1, 0.7)
    rounds: int = whole(8, 32)
    seed: int = a_seed()

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.process, 0)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> the same speech, resynthesised."""
        rng = np.random.default_rng(self.seed)
        spectra = stft(given)
        size = np.abs(spectra)
        phases = np.angle(spectra) + np.pi * self.phase * rng.uniform(-1, 1, size.shape)
        wanted = self._magnitudes(size)
        made = wanted * np.exp(1j * phases)
        for _ in range(self.rounds):
            again = stft(istft(made, len(given)))
            made = wanted * again / np.maximum(np.abs(again), TINY)
        return istft(made, len(given))

    def _magnitudes(self, size: Array) -> Array:
        """(frames, bins) -> the same, coarse."""
        mel = 2595 * np.log10(1 + np.linspace(0, SAMPLE_RATE / 2, STFT_BINS) / 700)  # O'Shaughnessy
        centres = np.linspace(0, mel[-1], self.bands)
        triangles = np.maximum(
            0.0, 1 - np.abs(mel[:, None] - centres) / (centres[1] - centres[0])
        )  # (bins, bands)
        envelope = np.maximum(size @ triangles / np.maximum(triangles.sum(axis=0), TINY), TINY)  # (frames, bands)
        fine = np.maximum(size, TINY) / (envelope @ triangles.T)
        late = self.smear % 2 - 1  # of an even number of frames the extra one comes later
        level = uniform_filter1d(20 * np.log10(envelope), self.smear, axis=0, mode="nearest", origin=late)
        if self.step_db:
            level = np.round(level / self.step_db) * self.step_db
        return np.asarray(10 ** (level / 20) @ triangles.T * fine**self.fine)


WINDOW, HOP = 512, 128
"""Samples, 32 and 8 ms; frame t is centred at sample t * HOP"""
BANDS = 80
FLOOR = 1e-5
"""Least magnitude of a mel band under the logarithm"""
LEVEL_DB = -26.0
"""Level of the signal at the network, RMS relative to full scale; the step restores the level of its input."""
QUALITIES = ("early", "middle", "late")
"""Checkpoints, from the fewest to the most training steps"""


@dataclass(frozen=True)
class NeuralVocoder(Drawn):
    """Analysis into 80 mel bands and pitch, each 8 ms, and synthesis by a neural network.

    `quality` is one of QUALITIES. The mel bands are rounded to multiples of `step_db` (0: not rounded), as a
    codec at a low bit rate would do. `seed` is the seed of the noise that excites unvoiced speech.
    """

    quality: str = one_of(*QUALITIES)
    step_db: float = either(0.3, (1, 8), 0.0)
    seed: int = a_seed()

    NEEDS: ClassVar = (weights("neural_vocoder", *(f"vocoder-{quality}.onnx" for quality in QUALITIES)),)

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.process, 0)

    def process(self, samples: Samples) -> Samples:
        """(samples,) -> the same speech, generated from its mel bands and its pitch."""
        graph = session(weights_file("neural_vocoder", f"vocoder-{self.quality}.onnx"))
        length = len(samples)
        gain = np.float32(10 ** (LEVEL_DB / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6))
        given = np.pad(samples * gain, (0, -length % HOP))
        mel = log_mel(spectra(given, hann(WINDOW), HOP))
        if self.step_db:
            step = self.step_db / (20 / np.log(10))
            mel = np.maximum(np.round(mel / step) * step, np.log(FLOOR))
        octaves, pulsed, noise = inputs(*pitch(given), len(given), np.random.default_rng(self.seed))
        given_to = {
            "mel": mel[None].astype(np.float32),
            "pitch": octaves[None],
            "pulses": spectra(pulsed, hann(WINDOW), HOP)[None],
            "noise": spectra(noise, hann(WINDOW), HOP)[None],
        }
        (spectrum,) = graph.run(None, given_to)
        return samples_of(spectrum[0], hann(WINDOW), HOP, length) / gain


def mel_filters() -> Array:
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


def log_mel(spectrum: NDArray[np.float32]) -> Array:
    """(2, bins, frames) -> (BANDS, frames), natural logarithm of the magnitude."""
    return np.asarray(np.log(np.maximum(mel_filters() @ np.hypot(*spectrum), FLOOR)))


def inputs(
    frequency: Array, voicing: Array, length: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Samples, Samples]:
    """The network's pitch (2, frames), its pulses (length,) and its noise (length,)."""
    octaves = np.stack([np.log2(frequency / 120.0), voicing]).astype(np.float32)
    return octaves, pulses(frequency, voicing, length), rng.standard_normal(length, dtype=np.float32)


# Pitch by the autocorrelation, and the excitation of voiced speech

PITCH_WINDOW = 1024
"""Samples of the autocorrelation, 64 ms: almost four periods of the lowest voice"""
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
STEPS_PER_OCTAVE = 32
BAND_HZ = (90.0, 1800.0)
"""Frequencies that the autocorrelation uses: below is mains hum, above its peaks are ragged."""
OCTAVE_COST = 0.06
"""Added for each octave above LOWEST_HZ: twice the period fits as well as the period itself."""
JUMP_COST, WIDEST_JUMP = 0.012, 6
"""Cost of a change of one step from frame to frame, and the most steps"""
VOICED_FROM, VOICED_FULLY = 0.3, 0.6
"""Autocorrelation at the period, relative to lag zero, between which the pulses fade in"""
HIGHEST_HARMONIC_HZ = 7800.0


def pitch(samples: Samples) -> tuple[Array, Array]:
    """Fundamental frequency in Hz and degree of voicing, 0 to 1: (samples,) -> 1 + samples // HOP of each.

    Autocorrelation of windowed frames divided by that of the window (Boersma 1993), from magnitudes instead of
    powers, which flattens the formants, and the path through its values on a logarithmic axis that has the largest
    sum (dynamic programming).
    """
    frames = 1 + len(samples) // HOP
    padded = np.pad(samples.astype(np.float64), PITCH_WINDOW // 2 + HOP)[HOP:]
    views = np.lib.stride_tricks.sliding_window_view(padded, PITCH_WINDOW)[::HOP][:frames]
    taper = np.hanning(PITCH_WINDOW)
    hertz = np.fft.rfftfreq(2 * PITCH_WINDOW, 1 / SAMPLE_RATE)
    band = (hertz >= BAND_HZ[0]) & (hertz <= BAND_HZ[1])
    window_correlation = np.fft.irfft(np.abs(np.fft.rfft(taper, 2 * PITCH_WINDOW)))
    window_correlation /= window_correlation[0]
    count = int(np.log2(HIGHEST_HZ / LOWEST_HZ) * STEPS_PER_OCTAVE) + 1
    grid = LOWEST_HZ * 2 ** (np.arange(count) / STEPS_PER_OCTAVE)
    lag = SAMPLE_RATE / grid
    below = np.floor(lag).astype(int)
    part = lag - below
    correlation = np.fft.irfft(np.abs(np.fft.rfft(views * taper, 2 * PITCH_WINDOW, axis=1)) * band, axis=1)
    power = correlation[:, 0]
    relative = correlation / np.maximum(correlation[:, :1], 1e-12) / np.maximum(window_correlation, 1e-3)
    values = relative[:, below] * (1 - part) + relative[:, below + 1] * part
    path = _best_path(values + OCTAVE_COST * np.arange(count) / STEPS_PER_OCTAVE)
    strength = values[np.arange(frames), path]
    loud = power > power.max(initial=0.0) * 10 ** (-40.0 / 20)  # 40 dB below the loudest frame is unvoiced
    return grid[path], np.clip((strength - VOICED_FROM) / (VOICED_FULLY - VOICED_FROM), 0, 1) * loud


def pulses(frequency: Array, voicing: Array, length: int) -> Samples:
    """(frames,) each -> (length,): all harmonics with equal amplitude and power 1, faded by the degree of voicing."""
    centres = np.arange(len(frequency)) * HOP
    place = np.arange(length)
    hertz = np.exp(np.interp(place, centres, np.log(frequency)))
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    count = np.floor(HIGHEST_HARMONIC_HZ / hertz)
    half = np.sin(phase / 2)
    near = np.abs(half) < 1e-6
    # The sum of cos(k * phase) for k = 1 to count (Dirichlet kernel)
    total = np.where(near, count, np.sin((count + 0.5) * phase) / np.where(near, 1.0, 2 * half) - 0.5)
    return np.asarray(total / np.sqrt(count / 2) * np.interp(place, centres, voicing), dtype=np.float32)


def _best_path(values: Array) -> NDArray[np.intp]:
    """(frames, steps) -> step of each frame on the path of the largest sum of values less the cost of jumps."""
    frames, count = values.shape
    jumps = np.arange(-WIDEST_JUMP, WIDEST_JUMP + 1)
    cost = JUMP_COST * np.abs(jumps)
    came_from = np.zeros((frames, count), dtype=np.int8)
    total = values[0]
    padded = np.full(count + 2 * WIDEST_JUMP, -np.inf)
    options = np.lib.stride_tricks.sliding_window_view(padded, len(jumps))
    for frame in range(1, frames):
        padded[WIDEST_JUMP:-WIDEST_JUMP] = total
        choices = options - cost
        best = choices.argmax(axis=1)
        came_from[frame] = best
        total = choices[np.arange(count), best] + values[frame]
    path = np.empty(frames, dtype=np.intp)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] + jumps[came_from[frame, path[frame]]]
    return path
