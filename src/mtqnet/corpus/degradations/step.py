"""What all steps have in common: the two tracks that they change, their interface, random parameters and frames.

Listeners lower SIG only if the speech itself is degraded, not because of added noise. A label with this property
needs the speech of the degraded clip separate from its noise, so every step changes both as separate tracks. Filters
are linear and gains are products: applied to each track, their sum is what the step does to the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


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
        return replace(self, noise=self.noise + noise.astype(np.float32))

    def with_speech(self, speech: NDArray[np.floating]) -> Tracks:
        return replace(self, speech=speech.astype(np.float32))


def start(clean: Samples) -> Tracks:
    return Tracks(clean, clean, np.zeros_like(clean))


class Step(Protocol):
    """One kind of processing with its parameters: a frozen dataclass of numbers and strings.

    Equal parameters give equal samples: noise is generated from a seed among the parameters. Each kind but Splice
    has a class method `draw(rng, pool, samples)`, which picks parameters for a clip of so many samples.
    Suppressors also have `full(rng)`: the tool as it is used in practice, once and at full strength.
    """

    def __call__(self, tracks: Tracks) -> Tracks: ...


def draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number of three decimals, so that a recipe in JSON is the very same number."""
    return round(float(rng.uniform(low, high)), 3)


T = TypeVar("T", bound=np.generic)

FULL_SCALE = 32_768
"""16-bit samples in a full scale of 1"""


def in_frames(samples: NDArray[T], frame: int) -> NDArray[T]:
    """(samples,) -> (frames, frame), the last one filled up with zeros."""
    return np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Full scale 1 -> 16 bit, rounded; what is louder is clipped."""
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def spectra(samples: Samples, window: NDArray[np.float64], hop: int) -> NDArray[np.float32]:
    """(samples,) -> (2, bins, 1 + samples // hop), real and imaginary part.

    The signal is padded by half a window of zeros at both ends; frame t is centred at sample t * hop.
    """
    half = len(window) // 2
    padded = np.pad(samples.astype(np.float64), half)
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
