"""A small neural enhancer: noisy speech at 16 kHz -> an estimate of the clean speech, with generated detail.

A ConvNeXt network over frames predicts a mask on the compressed spectrum and a complex spectrum that is added to
it. The mask can only attenuate; what is added is generated, and may be wrong, as in mapping-based and generative
enhancement (the two outputs follow CMGAN, Cao et al. 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtqnet.corpus.degradations.neural_enhancer import HOP, POWER, WINDOW
from research.neural.layers import Backbone, Spectra, magnitude
from research.neural.vocoder import Output, spectral_loss

BINS = WINDOW // 2 + 1
DILATIONS = (1, 2, 4, 8, 1)


class Enhancer(nn.Module):
    def __init__(self, channels: int = 192, hidden: int = 512) -> None:
        super().__init__()
        self.backbone = Backbone(3 * BINS, 3 * BINS, channels, hidden, 1, DILATIONS)
        self.spectra = Spectra(WINDOW, HOP, torch.hann_window(WINDOW).sqrt())

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed spectra (batch, 2, BINS, frames) of noisy speech -> those of the estimate."""
        size = magnitude(compressed)
        features = torch.cat([size, compressed[:, 0], compressed[:, 1]], dim=1)
        mask, real, imaginary = self.backbone(features).float().chunk(3, dim=1)
        return torch.sigmoid(mask)[:, None] * compressed + 0.3 * torch.stack([real, imaginary], dim=1)

    def enhance(self, samples: Tensor) -> Tensor:
        """(batch, samples) at -26 dBov -> (batch, samples)."""
        return self.spectra.inverse(expand(self(compress(self.spectra(samples)))), samples.shape[-1])


def compress(spectra: Tensor) -> Tensor:
    """Magnitude to the power POWER, phase unchanged: (batch, 2, bins, frames)."""
    return spectra * magnitude(spectra)[:, None] ** (POWER - 1)


def expand(compressed: Tensor) -> Tensor:
    """The inverse of `compress`."""
    return compressed * magnitude(compressed)[:, None] ** (1 / POWER - 1)


def estimate(enhancer: Enhancer, clean: Tensor, noisy: Tensor) -> Output:
    """Enhance (batch, samples); losses of compressed spectra and of spectra at several resolutions."""
    target = compress(enhancer.spectra(clean))
    made = enhancer(compress(enhancer.spectra(noisy)))
    waveform = enhancer.spectra.inverse(expand(made), clean.shape[-1])
    losses = {
        "size": (magnitude(made) - magnitude(target)).abs().mean(),
        "complex": (made - target).abs().mean(),
        "spectra": spectral_loss(waveform, clean),
    }
    return Output(waveform, losses)
