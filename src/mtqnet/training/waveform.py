"""The features of audio/features.py in torch, differentiable with respect to the samples.

The definitions and their sources are there; tests compare both implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mtqnet.audio.features import (
    MEL_FLOOR,
    MEL_HOP,
    MEL_WINDOW,
    SPECTRUM_HOP,
    SPECTRUM_WINDOW,
    mel_matrix,
)


def log_mel(samples: Tensor) -> Tensor:
    """(samples,) at 16 kHz -> (samples // 160, 80), log10 of mel power. Needs more than 200 samples.

    Below the floor the gradient is zero; just above it is large, because of the logarithm.
    """
    frames = _frames(samples, MEL_WINDOW, MEL_HOP)[: len(samples) // MEL_HOP]
    spectra = torch.fft.rfft(frames * torch.hann_window(MEL_WINDOW, device=samples.device))
    power = spectra.real.square() + spectra.imag.square()
    mel = power @ torch.from_numpy(mel_matrix()).to(samples.device)
    return torch.log10(mel.clamp(min=MEL_FLOOR))


def spectrum(samples: Tensor) -> Tensor:
    """(samples,) -> (1 + samples // 256, 257): linear magnitude."""
    window = torch.hamming_window(SPECTRUM_WINDOW, periodic=False, device=samples.device)
    return torch.abs(torch.fft.rfft(_frames(samples, SPECTRUM_WINDOW, SPECTRUM_HOP) * window))


def wave(samples: Tensor) -> Tensor:
    """(samples,) -> (samples, 1)"""
    return samples[:, None]


VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {"logmel": log_mel, "spectrum": spectrum, "wave": wave}
"""By the names of audio.features.FEATURES"""


def peak_normalised(samples: Tensor) -> Tensor:
    """Divide by the peak; silence is not changed."""
    peak = samples.abs().amax()
    return samples / peak if peak > 0 else samples


def _frames(samples: Tensor, window: int, hop: int) -> Tensor:
    """(samples,) -> (frames, window), reflected by half a window at both ends."""
    padded = functional.pad(samples[None], (window // 2, window // 2), mode="reflect")[0]
    return padded.unfold(0, window, hop)
