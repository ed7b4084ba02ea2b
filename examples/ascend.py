"""Increase G-MOS of a noisy recording by gradient ascent, and measure whether the speech improves.

    python examples/ascend.py clean.wav noisy.wav --model base -o better.wav

Two sets of parameters are optimised, each from the same noisy recording:

gains    a gain of 0 to 1 for each time-frequency bin of the spectrogram, like the mask of a speech enhancer
samples  every sample

Prints G-MOS, SI-SDR and STOI before and after. Results: docs/results/loss_and_reward.md.
Needs mtqnet[train] and a model with a .safetensors file, such as base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile as sf
import torch
import typer
from torch import Tensor

from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.integrations.torch import ScoreModule
from mtqnet.labels.intrusive import stoi

FRAME, HOP = 512, 128
"""Samples: 32 ms, every 8 ms"""
START = 3.0
"""Gains start at sigmoid(3) = 0.95; at 1 their gradient would be 0"""
GAIN_RATE, SAMPLE_STEP = 0.05, 5e-4
"""Step sizes of Adam"""


@dataclass(frozen=True)
class Measured:
    """A recording with its scores and measures."""

    samples: Tensor
    g_mos: float
    si_sdr: float
    """dB"""
    stoi: float


def si_sdr(clean: Tensor, processed: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019) of (samples,) twice."""
    one, other = clean.double(), processed.double()
    target = (one @ other) / (one @ one) * one
    return float(10 * torch.log10(target.square().sum() / (other - target).square().sum()))


def climb(module: ScoreModule, start: Tensor, made: Callable[[Tensor], Tensor], rate: float, steps: int) -> Tensor:
    """Parameters `start` after so many steps up the gradient; `made` turns them into (samples,)."""
    found = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([found], lr=rate, maximize=True)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(module(made(found)[None]).sum())
        optimiser.step()
    return made(found.detach()).detach()


def by_gains(module: ScoreModule, noisy: Tensor, steps: int) -> Tensor:
    """(samples,) -> (samples,), its spectrogram multiplied by gains of 0 to 1."""
    window = torch.hann_window(FRAME)
    spectrum = torch.stft(noisy, FRAME, HOP, window=window, return_complex=True)

    def made(gains: Tensor) -> Tensor:
        return torch.istft(spectrum * torch.sigmoid(gains), FRAME, HOP, window=window, length=len(noisy))

    return climb(module, torch.full(spectrum.shape, START), made, GAIN_RATE, steps)


def by_samples(module: ScoreModule, noisy: Tensor, steps: int) -> Tensor:
    """(samples,) -> (samples,), each moved freely."""
    return climb(module, noisy, lambda samples: samples, SAMPLE_STEP, steps)


def measured(module: ScoreModule, clean: Tensor, processed: Tensor) -> Measured:
    """Predict the G-MOS of a recording, and measure its true SI-SDR and STOI."""
    with torch.no_grad():
        g_mos = float(module(processed[None])[0, 0])
    return Measured(processed, g_mos, si_sdr(clean, processed), stoi(clean.numpy(), processed.numpy()))


def ways_up(module: ScoreModule, clean: Tensor, noisy: Tensor, steps: int) -> dict[str, Measured]:
    """Before, and after both ways."""
    ways = {
        "noisy": noisy,
        "gains": by_gains(module, noisy, steps),
        "samples": by_samples(module, noisy, steps),
    }
    return {name: measured(module, clean, samples) for name, samples in ways.items()}


def main(
    clean: Annotated[Path, typer.Argument(help="The clean recording, to measure by.")],
    noisy: Annotated[Path, typer.Argument(help="The same with noise.")],
    model: Annotated[str, typer.Option(help="A shipped model, or a path.")] = "base",
    steps: Annotated[int, typer.Option(help="Up the gradient.")] = 20,
    output: Annotated[Path | None, typer.Option("-o", help="Where the way by gains is written.")] = None,
) -> None:
    """Climb both ways, print what came of it."""
    one, other = (torch.from_numpy(np.array(reading.read(path).samples)) for path in (clean, noisy))
    length = min(len(one), len(other))
    found = ways_up(ScoreModule(model, ["g_mos"]), one[:length], other[:length], steps)
    print("way      G-MOS  SI-SDR  STOI")
    for name, processed in found.items():
        print(f"{name:8} {processed.g_mos:5.2f}  {processed.si_sdr:6.2f}  {processed.stoi:.3f}")
    if output is not None:
        sf.write(output, found["gains"].samples.numpy(), SAMPLE_RATE)


if __name__ == "__main__":
    typer.run(main)
