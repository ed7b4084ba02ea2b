"""Short-time Fourier transform and its inverse, for gains in time and frequency.

Analysis and synthesis use square-root Hann windows, so that unchanged spectra reconstruct the samples exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 512
"""Samples, 32 ms"""
HOP = 256
"""Samples, 16 ms"""
BINS = WINDOW // 2 + 1

Spectra = NDArray[np.complexfloating]


def stft(samples: NDArray[np.float32]) -> Spectra:
    """Transform (samples,) to (frames, 257). The signal is padded by a window at both ends."""
    tail = -len(samples) % HOP
    padded = np.pad(samples.astype(np.float64), (WINDOW, WINDOW + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectra: Spectra = np.fft.rfft(frames * _window(), axis=1)
    return spectra


def istft(spectra: Spectra, length: int) -> NDArray[np.float32]:
    """Invert `stft` by overlap-add: (frames, 257) -> (length,)."""
    frames = np.fft.irfft(spectra, WINDOW, axis=1) * _window()
    out = np.zeros((len(frames) + 1) * HOP)
    out[: len(frames) * HOP] += frames[:, :HOP].reshape(-1)
    out[HOP:] += frames[:, HOP:].reshape(-1)
    return out[WINDOW : WINDOW + length].astype(np.float32)


def _window() -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.hanning(WINDOW + 1)[:-1]))
