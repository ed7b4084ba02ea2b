"""Short-time spectra as torch.stft and torch.istft define them, for the project's own networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.tracks import Samples


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
