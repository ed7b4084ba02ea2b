"""Layers that the vocoder and the enhancer share: ConvNeXt blocks over time, and spectra that can be inverted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
EPSILON = 1e-5


class Block(nn.Module):
    """ConvNeXt block over time (Liu et al. 2022, as used by Vocos): (batch, frames, channels) -> same shape."""

    def __init__(self, channels: int, hidden: int, dilation: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3 * dilation, dilation=dilation, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.reduce = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        change: Tensor = self.scale * self.reduce(functional.gelu(self.expand(self.norm(y))))
        return x + change


class Backbone(nn.Module):
    """Convolution over `kernel` frames, then one block for each dilation: (batch, inputs, frames) -> (..,
    outputs).

    In training mode the products are computed in bfloat16, which is twice as fast on processors that have them.
    """

    def __init__(
        self, inputs: int, outputs: int, channels: int, hidden: int, kernel: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.embed = nn.Conv1d(inputs, channels, kernel, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels)
        self.blocks = nn.Sequential(*(Block(channels, hidden, d, 1 / len(dilations)) for d in dilations))
        self.last_norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            x = self.norm(self.embed(x).transpose(1, 2))
            y: Tensor = self.head(self.last_norm(self.blocks(x))).transpose(1, 2)
        return y


class Spectra(nn.Module):
    """Short-time spectra of `window` samples each `hop`, as a real tensor (batch, 2, bins, frames).

    The signal is padded by half a window of zeros at both ends; frame t is centred at sample t * hop.
    """

    def __init__(self, window: int, hop: int, taper: Tensor) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        self.register_buffer("taper", taper, persistent=False)
        self.taper: Tensor

    def forward(self, samples: Tensor) -> Tensor:
        """(batch, samples) -> (batch, 2, bins, 1 + samples // hop)."""
        spectra = torch.stft(
            samples,
            self.window,
            self.hop,
            window=self.taper,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.stack([spectra.real, spectra.imag], dim=1)

    def inverse(self, spectra: Tensor, length: int) -> Tensor:
        """(batch, 2, bins, frames) -> (batch, length)."""
        spectra = spectra.float()
        return torch.istft(
            torch.complex(spectra[:, 0], spectra[:, 1]), self.window, self.hop, window=self.taper, length=length
        )


def magnitude(spectra: Tensor) -> Tensor:
    """(batch, 2, bins, frames) -> (batch, bins, frames), with a gradient at zero."""
    return (spectra.square().sum(1) + EPSILON**2).sqrt()


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
