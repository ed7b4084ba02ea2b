"""A small neural enhancer: noisy speech at 16 kHz -> an estimate of the clean speech, with generated detail.

A ConvNeXt network over frames predicts, from the log magnitudes of noisy speech, a mask on the compressed
magnitudes and magnitudes that are added. The mask can only attenuate. What is added is generated: it restores
what noise or a band limit has removed, and may be wrong, as in mapping-based and generative enhancement (two
outputs of this kind: CMGAN, Cao et al. 2022). The phase is that of the input.

A first variant, whose inputs were real and imaginary parts and whose second output was a complex spectrum, had
learned almost nothing after 500 steps and was stopped (README.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtqnet.corpus.degradations.neural_suppressors import HOP, POWER, WINDOW
from research.neural.layers import Backbone, Spectra, magnitude
from research.neural.vocoder import Output, spectral_loss

BINS = WINDOW // 2 + 1
DILATIONS = (1, 2, 4, 8, 1)


class Enhancer(nn.Module):
    def __init__(self, channels: int = 192, hidden: int = 576) -> None:
        super().__init__()
        self.backbone = Backbone(BINS, 2 * BINS, channels, hidden, 3, DILATIONS)
        self.spectra = Spectra(WINDOW, HOP, torch.hann_window(WINDOW).sqrt())

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed spectra (batch, 2, BINS, frames) of noisy speech -> those of the estimate."""
        size = magnitude(compressed)
        mask, added = self.backbone(torch.log(size + 0.1) + 1).float().chunk(2, dim=1)
        # Both start near the identity: a mask of 0.88, and little that is added.
        made = torch.sigmoid(mask + 2) * size + functional.softplus(added - 4)
        return compressed / size[:, None] * made[:, None]

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
        "spectra": spectral_loss(waveform, clean),
    }
    return Output(waveform, losses)
