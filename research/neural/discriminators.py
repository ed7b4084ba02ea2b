"""Discriminators small enough for one processor core: of periods (HiFi-GAN), and of short-time spectra.

Their channels are few, and the spectral ones are convolutions over time with the bins as channels, which costs a
tenth of convolutions over time and frequency.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = ((256, 64), (1024, 256))
"""Window and hop in samples"""
SLOPE = 0.1

Scores = list[tuple[Tensor, list[Tensor]]]
"""For each discriminator its scores and the outputs of its hidden layers"""


class PeriodDiscriminator(nn.Module):
    """The waveform folded into rows of `period` samples (Kong et al. 2020), with few channels."""

    def __init__(self, period: int, channels: tuple[int, ...] = (12, 24, 48, 64)) -> None:
        super().__init__()
        self.period = period
        widths = (1, *channels)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(widths)
        )
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = functional.pad(samples, (0, -samples.shape[-1] % self.period))
        x = x.view(x.shape[0], 1, -1, self.period)
        hidden = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            hidden.append(x)
        return self.last(x), hidden


class SpectrumDiscriminator(nn.Module):
    """Compressed spectra (real, imaginary, magnitude), bins as channels."""

    def __init__(self, window: int, hop: int, channels: int = 96) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        self.register_buffer("taper", torch.hann_window(window), persistent=False)
        self.taper: Tensor
        inputs = 3 * (window // 2 + 1)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv1d(a, channels, 3, padding=1)) for a in (inputs, channels, channels)
        )
        self.last = weight_norm(nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectra = torch.stft(samples, self.window, self.hop, window=self.taper, return_complex=True)
        real, imaginary = spectra.real, spectra.imag
        size = (real.square() + imaginary.square() + 1e-6).sqrt()
        factor = size**-0.7
        x = torch.cat([size**0.3, real * factor, imaginary * factor], dim=1)
        hidden = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            hidden.append(x)
        return self.last(x), hidden


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            [
                *(PeriodDiscriminator(period) for period in PERIODS),
                *(SpectrumDiscriminator(window, hop) for window, hop in RESOLUTIONS),
            ]
        )

    def forward(self, samples: Tensor) -> Scores:
        """(batch, samples) -> scores; samples at -26 dBov are brought to a magnitude of about 1."""
        with torch.autocast("cpu", torch.bfloat16):
            return [part(8.0 * samples) for part in self.parts]


def discriminator_loss(real: Scores, made: Scores) -> Tensor:
    """Hinge loss: recorded speech above 1, generated speech below -1."""
    parts = [
        functional.relu(1 - r.float()).mean() + functional.relu(1 + m.float()).mean()
        for (r, _), (m, _) in zip(real, made, strict=True)
    ]
    return torch.stack(parts).mean()


def generator_loss(made: Scores) -> Tensor:
    return torch.stack([functional.relu(1 - score.float()).mean() for score, _ in made]).mean()


def feature_loss(real: Scores, made: Scores) -> Tensor:
    """Mean difference of the hidden layers relative to their size (feature matching)."""
    parts = [
        (r - m).float().abs().mean() / (r.float().abs().mean() + 1e-3)
        for (_, first), (_, second) in zip(real, made, strict=True)
        for r, m in zip(first, second, strict=True)
    ]
    return torch.stack(parts).mean()
