"""The learnable sinc filter bank of MOSA-Net's released code (Ravanelli and Bengio, SincNet, SLT 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtqnet.audio.features import SPECTRUM_BINS, SPECTRUM_HOP
from mtqnet.audio.resampling import SAMPLE_RATE

FILTERS = SPECTRUM_BINS
"""As many as STFT bins, so that both make images of one width"""
LENGTH = 251
"""Samples of a filter"""
MIN_LOW_HZ = MIN_BAND_HZ = 50.0
"""Hz that are added to the learnt edge and width at run time"""
FIRST_EDGE_HZ, LAST_MARGIN_HZ = 30.0, 100.0
"""Lower edge of the first filter; distance of the last upper edge from half the rate"""


class SincBank(nn.Module):
    """(batch, samples, 1) -> (batch, ceil(samples / 256), 257): band-passes whose edges are learnt."""

    def __init__(self) -> None:
        super().__init__()
        low, band = _mel_bands()
        self.low_hz = nn.Parameter(low / SAMPLE_RATE)
        self.band_hz = nn.Parameter(band / SAMPLE_RATE)
        time = (torch.arange(LENGTH) - (LENGTH - 1) / 2) / SAMPLE_RATE
        self.time: Tensor
        self.window: Tensor
        self.register_buffer("time", time, persistent=False)
        self.register_buffer("window", torch.hamming_window(LENGTH, periodic=False), persistent=False)

    def counts(self, samples: Tensor) -> Tensor:
        return torch.div(samples + SPECTRUM_HOP - 1, SPECTRUM_HOP, rounding_mode="floor")

    def forward(self, wave: Tensor) -> Tensor:
        # "SAME" padding would depend on the longest clip of the batch; half a filter at both ends does not.
        return functional.conv1d(
            wave.transpose(1, 2), self.filters(), stride=SPECTRUM_HOP, padding=LENGTH // 2
        ).transpose(1, 2)

    def filters(self) -> Tensor:
        """(257, 1, 251), each divided by its maximum."""
        low = self.low_hz.abs() * SAMPLE_RATE + MIN_LOW_HZ
        high = low + self.band_hz.abs() * SAMPLE_RATE + MIN_BAND_HZ
        shape = (self._low_pass(high) - self._low_pass(low)) * self.window
        return (shape / shape.amax(dim=1, keepdim=True))[:, None, :]

    def _low_pass(self, cut_hz: Tensor) -> Tensor:
        """(filters,) -> (filters, length): ideal low-pass, sin(2 pi f t) / (pi t), 2 f in the middle.

        Written out because ONNX has no sinc.
        """
        middle, twice = self.time == 0, 2 * cut_hz[:, None]
        below = math.pi * torch.where(middle, 1.0, self.time)
        return torch.where(middle, twice, torch.sin(math.pi * twice * self.time) / below)


def _mel_bands() -> tuple[Tensor, Tensor]:
    """Lower edges and widths in Hz: centres equally spaced from mel 80 to mel(fs/2), edges the neighbours."""
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    centres = 700 * (10 ** (torch.linspace(80, top, FILTERS) / 2595) - 1)
    low = torch.cat([torch.tensor([FIRST_EDGE_HZ]), centres[:-1]])
    high = torch.cat([centres[1:], torch.tensor([SAMPLE_RATE / 2 - LAST_MARGIN_HZ])])
    return low, high - low
