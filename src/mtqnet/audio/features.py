"""Features: one definition in numpy, for training and scoring.

Three representations of the same samples, named in FEATURES:
  logmel    (frames, 80)   absolute log10 mel power at 100 frames a second. 25 ms Hann windows on the mel axis
            of Whisper (Radford et al. 2022), but not divided by the peak of the clip, so that the level is preserved.
  spectrum  (frames, 257)  STFT magnitude, 512-point Hamming window, hop 256 (MOSA-Net, released code).
  wave      (samples, 1)   the samples, for the learnable sinc filter bank.

Also the short-time Fourier transform and its inverse (`stft`, `istft`), for gains in time and frequency. Analysis and
synthesis use square-root Hann windows, so that unchanged spectra reconstruct the samples exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE

Matrix = NDArray[np.float32]

MEL_WINDOW = 400
"""Samples, 25 ms"""
MEL_HOP = 160
"""Samples, 10 ms"""
MEL_BANDS = 80
CACHED_FRAMES = 128
"""Frames whose spectra are computed at a time, 0.5 MB, so that they stay in the cache of a processor core and no
memory is allocated from the system for each recording. Two to three times as fast as all at once."""
UNTHREADED_FRAMES = 16
"""Frames that are multiplied by the mel matrix at a time: 16 x 201 x 80 is below 2^18, from which OpenBLAS
(interface/gemm.c) divides a product among threads. On a busy machine, waiting for the threads takes longer than the
product."""
MEL_FLOOR = 1e-10
"""Mel power that is treated as silence"""
SILENT = -10.0
"""log10 of MEL_FLOOR"""

SPECTRUM_WINDOW = 512
"""Samples, 32 ms"""
SPECTRUM_HOP = 256
"""Samples, 16 ms"""
SPECTRUM_BINS = SPECTRUM_WINDOW // 2 + 1


def log_mel(samples: NDArray[np.float32]) -> Matrix:
    """Compute the log-mel spectrogram. The clip is reflected by half a window at both ends, as in Whisper.

    Args:
        samples: Shape (samples,) at SAMPLE_RATE, more than 200 samples.

    Returns:
        Shape (samples // 160, 80): log10 of mel power, at least log10(MEL_FLOOR).
    """
    padded = np.pad(samples.astype(np.float32, copy=False), MEL_WINDOW // 2, mode="reflect")
    frames = _frames(padded, MEL_WINDOW, MEL_HOP)[: len(samples) // MEL_HOP]
    mel = np.empty((len(frames), MEL_BANDS), dtype=np.float32)
    for start in range(0, len(frames), CACHED_FRAMES):
        spectra = np.fft.rfft(frames[start : start + CACHED_FRAMES] * hann(MEL_WINDOW), axis=1)
        power = np.square(spectra.real, dtype=np.float32)
        power += np.square(spectra.imag, dtype=np.float32)
        _to_mel(power, out=mel[start : start + CACHED_FRAMES])
    return np.log10(np.maximum(mel, MEL_FLOOR, out=mel), out=mel)


def _to_mel(power: Matrix, out: Matrix) -> None:
    """Write the mel power (frames, 80) of a power spectrum (frames, 201) to `out`."""
    whole = len(power) // UNTHREADED_FRAMES * UNTHREADED_FRAMES
    stacked = (-1, UNTHREADED_FRAMES)
    np.matmul(
        power[:whole].reshape(*stacked, power.shape[1]), mel_matrix(), out=out[:whole].reshape(*stacked, MEL_BANDS)
    )
    np.matmul(power[whole:], mel_matrix(), out=out[whole:])


def spectrum(samples: NDArray[np.float32]) -> Matrix:
    """Compute the magnitude spectrogram: (samples,) at SAMPLE_RATE -> (1 + samples // 256, 257)."""
    padded = np.pad(samples.astype(np.float32, copy=False), SPECTRUM_WINDOW // 2, mode="reflect")
    frames = _frames(padded, SPECTRUM_WINDOW, SPECTRUM_HOP)
    return np.abs(np.fft.rfft(frames * np.hamming(SPECTRUM_WINDOW), axis=1)).astype(np.float32)


def wave(samples: NDArray[np.float32]) -> Matrix:
    """Return the samples as a feature: (samples,) -> (samples, 1)."""
    return samples.astype(np.float32, copy=False)[:, None]


@dataclass(frozen=True)
class Feature:
    """A representation of the samples, and the size of its rows."""

    compute: Callable[[NDArray[np.float32]], Matrix]
    width: int
    hop: int
    """Samples between rows"""


FEATURES: dict[str, Feature] = {
    "logmel": Feature(log_mel, MEL_BANDS, MEL_HOP),
    "spectrum": Feature(spectrum, SPECTRUM_BINS, SPECTRUM_HOP),
    "wave": Feature(wave, 1, 1),
}


def peak_normalised(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide the waveform by its peak, as the released code of MOSA-Net does. Silence is unchanged."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples / np.float32(peak) if peak > 0 else samples


@lru_cache(maxsize=1)
def mel_matrix() -> Matrix:
    """Compute the mel matrix (201, 80): triangles of unit area on Slaney's mel scale, 0 to 8 kHz.

    The scale is linear to 1 kHz (200/3 Hz per mel) and logarithmic above (27 mel per factor of 6.4), after
    Slaney's Auditory Toolbox. It is the matrix that Whisper was trained with.
    """
    bins = np.linspace(0.0, SAMPLE_RATE / 2, MEL_WINDOW // 2 + 1)
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), MEL_BANDS + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / (centre - low)
    falling = (high - bins[:, None]) / (high - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (high - low))).astype(np.float32)


_BREAK_HZ, _BREAK_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _BREAK_HZ else _BREAK_MEL + float(np.log(hz / _BREAK_HZ)) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    high = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, high)


@lru_cache(maxsize=4)
def hann(length: int) -> Matrix:
    """The periodic Hann window, (length,)."""
    return np.hanning(length + 1)[:-1].astype(np.float32)


def _frames(samples: NDArray[np.float32], window: int, hop: int) -> Matrix:
    """(samples,) -> (frames, window), a view."""
    return np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]


STFT_WINDOW = 512
"""Samples, 32 ms"""
STFT_HOP = 256
"""Samples, 16 ms"""
STFT_BINS = STFT_WINDOW // 2 + 1

Spectra = NDArray[np.complexfloating]


def stft(samples: NDArray[np.float32]) -> Spectra:
    """Transform (samples,) to (frames, 257). The signal is padded by a window at both ends."""
    tail = -len(samples) % STFT_HOP
    padded = np.pad(samples.astype(np.float64), (STFT_WINDOW, STFT_WINDOW + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, STFT_WINDOW)[::STFT_HOP]
    spectra: Spectra = np.fft.rfft(frames * _stft_window(), axis=1)
    return spectra


def istft(spectra: Spectra, length: int) -> NDArray[np.float32]:
    """Invert `stft` by overlap-add: (frames, 257) -> (length,)."""
    frames = np.fft.irfft(spectra, STFT_WINDOW, axis=1) * _stft_window()
    out = np.zeros((len(frames) + 1) * STFT_HOP)
    out[: len(frames) * STFT_HOP] += frames[:, :STFT_HOP].reshape(-1)
    out[STFT_HOP:] += frames[:, STFT_HOP:].reshape(-1)
    return out[STFT_WINDOW : STFT_WINDOW + length].astype(np.float32)


def _stft_window() -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.hanning(STFT_WINDOW + 1)[:-1]))
