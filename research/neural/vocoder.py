"""A small neural vocoder: 80 log-mel bands and the pitch, each 8 ms -> waveform at 16 kHz.

A ConvNeXt network over frames predicts two complex filters for each frame: one for pulses at the pitch, one for
white noise. Their sum in the short-time spectrum is turned into samples by an inverse transform. The network and
the transform follow Vocos (Siuzdak 2024), the start at the pseudo-inverse of the mel bands FreeV (Lv et al.
2024), pulses and noise neural source-filter vocoders (Wang et al. 2019, Liu et al. 2020). No phase of the
original enters.

Without pulses the network has to learn a coherent phase from mel bands alone. That variant was stopped at step 500
(README.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mtqnet.corpus.degradations.generative import BANDS, FLOOR, HOP, WINDOW, mel_filters
from research.neural.layers import EPSILON, Backbone, Spectra, magnitude

BINS = WINDOW // 2 + 1
NOISE_MAGNITUDE = 13.9
"""Of the spectrum of white noise of power 1 under the window: root of the sum of its squares"""
DILATIONS = (1, 1, 3, 1, 1)
RESOLUTIONS = ((128, 32), (512, 128), (1024, 256))
"""Window and hop in samples of the spectra that the loss compares."""


class Vocoder(nn.Module):
    def __init__(self, channels: int = 192, hidden: int = 576) -> None:
        super().__init__()
        self.backbone = Backbone(BANDS + 2, 4 * BINS, channels, hidden, 7, DILATIONS)
        self.spectra = Spectra(WINDOW, HOP, torch.hann_window(WINDOW))
        filters = mel_filters()
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)
        inverse = torch.tensor(np.linalg.pinv(filters), dtype=torch.float32)
        self.register_buffer("inverse_filters", inverse, persistent=False)
        self.filters: Tensor
        self.inverse_filters: Tensor

    def mel(self, spectra: Tensor) -> Tensor:
        """(batch, 2, BINS, frames) -> (batch, BANDS, frames), natural logarithm."""
        return torch.log(torch.clamp(self.filters @ magnitude(spectra), min=FLOOR))

    def forward(self, mel: Tensor, pitch: Tensor, pulses: Tensor, noise: Tensor) -> Tensor:
        """Spectrum of the speech (batch, 2, BINS, frames).

        Args:
            mel: (batch, BANDS, frames), natural logarithm.
            pitch: (batch, 2, frames), octaves above 120 Hz and degree of voicing.
            pulses: (batch, 2, BINS, frames), spectrum of the pulses.
            noise: (batch, 2, BINS, frames), spectrum of white noise.
        """
        prior = torch.log(torch.clamp(self.inverse_filters @ torch.exp(mel), min=FLOOR)) - math.log(
            NOISE_MAGNITUDE
        )
        outputs = self.backbone(torch.cat([mel / 4 + 1, pitch], dim=1)).float()
        voiced, real, imaginary, unvoiced = outputs.chunk(4, dim=1)
        # The phase starts at zero: a real part of 1 is added.
        phase = torch.stack([real + 1, imaginary], dim=1)
        phase = phase / (phase.square().sum(1, keepdim=True) + EPSILON**2).sqrt()
        filtered = _product(pulses, phase) * torch.exp(torch.clamp(prior + voiced, max=4.0))[:, None]
        return filtered + noise * torch.exp(torch.clamp(prior + unvoiced - 1, max=4.0))[:, None]

    def generate(self, samples: Tensor, pitch: Tensor, pulses: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrum and samples of the same speech from its mel bands and its pitch.

        Args:
            samples: (batch, samples).
            pitch: (batch, 2, frames).
            pulses: (batch, samples).
            noise: (batch, samples).
        """
        spectrum = self(self.mel(self.spectra(samples)), pitch, self.spectra(pulses), self.spectra(noise))
        return spectrum, self.spectra.inverse(spectrum, samples.shape[-1])


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Complex product of (batch, 2, ..)."""
    (a, b), (c, d) = first.unbind(1), second.unbind(1)
    return torch.stack([a * c - b * d, a * d + b * c], dim=1)


@dataclass
class Output:
    """What the losses need of one batch."""

    waveform: Tensor
    losses: dict[str, Tensor]


def reconstruct(vocoder: Vocoder, samples: Tensor, pitch: Tensor, pulses: Tensor, noise: Tensor) -> Output:
    """Resynthesise (batch, samples); losses of log magnitude and of spectra at several resolutions."""
    spectrum, waveform = vocoder.generate(samples, pitch, pulses, noise)
    wanted = vocoder.mel(vocoder.spectra(samples))
    losses = {
        "level": (vocoder.mel(spectrum) - wanted).abs().mean(),
        "spectra": spectral_loss(waveform, samples),
    }
    return Output(waveform, losses)


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean over RESOLUTIONS of spectral convergence plus the error in log magnitude (Yamamoto et al. 2020)."""
    loss = made.new_zeros(())
    for window, hop in RESOLUTIONS:
        taper = torch.hann_window(window)
        sizes = []
        for samples in (made, wanted):
            spectra = torch.stft(samples, window, hop, window=taper, return_complex=True)
            sizes.append((spectra.real.square() + spectra.imag.square() + 1e-6).sqrt())
        first, second = sizes
        loss = loss + (second - first).norm() / second.norm() + (first.log() - second.log()).abs().mean()
    return loss / len(RESOLUTIONS)
