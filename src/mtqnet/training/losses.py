"""The loss of multi-task pseudo-label learning, after its abstract and MOSA-Net's code.

    L = L_sup + gamma L_semi
    L_sup  = sum over S-, N-, G-MOS of L_m (true labels)
    L_semi = sum over PESQ, STOI, SDI of L_m (the teacher's labels), and over scores of peers where they are taught
    L_m    = mean over clips of d(y - y^) + alpha / F sum over frames of d(y - y^_f)

d is Huber, or squared or absolute error for the comparison. Missing labels are NaN and count for nothing: each
target's mean is over the clips of the batch that carry it. gamma may fade over the run (LossConfig.gamma).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mtqnet.targets import OBJECTIVE, PEERS
from mtqnet.training.config import LossConfig
from mtqnet.training.masks import frame_mask
from mtqnet.training.network import Output

PSEUDO = frozenset(target.key for target in (*OBJECTIVE, *PEERS))


def distance(error: Tensor, config: LossConfig) -> Tensor:
    """Elementwise. Huber: e^2/2 up to delta, delta (|e| - delta/2) beyond."""
    if config.kind == "mse":
        return error.square()
    if config.kind == "mae":
        return error.abs()
    size = error.abs()
    return torch.where(size <= config.delta, 0.5 * size.square(), config.delta * (size - 0.5 * config.delta))


def multi_task(
    output: Output,
    labels: Tensor,
    targets: Sequence[str],
    config: LossConfig,
    progress: float = 0.0,
    counts: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Scores, labels (batch, targets) on the training scale with NaN where unknown -> the loss, a scalar.

    `progress` is the share of the run's steps that were made, 0 to 1. `counts` (targets,) says how many labels
    there are where these clips are a part of the batch: the losses of the parts add up to that of the whole.
    `weights` (batch, targets) multiply the loss of each clip; their mean over all clips is 1.
    """
    each, known = per_clip(output, labels, config)
    each = each if weights is None else each * weights
    per_target = each.sum(dim=0) / (known.sum(dim=0) if counts is None else counts).clamp(min=1)
    gamma = config.gamma(progress)
    of_target = torch.tensor([gamma if key in PSEUDO else 1.0 for key in targets], device=labels.device)
    return (per_target * of_target).sum()


def per_clip(output: Output, labels: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """What L_m is the mean of: (batch, targets), zero where there is no label; and where there is one."""
    known = ~torch.isnan(labels)
    truth = torch.where(known, labels, torch.zeros_like(labels))
    whole = distance(output.values - truth, config)
    mask = frame_mask(output.counts, output.frames.shape[1])[:, :, None]
    framewise = distance(output.frames - truth[:, None, :], config) * mask
    each = whole + config.frame_weight * framewise.sum(dim=1) / output.counts[:, None]
    return torch.where(known, each, torch.zeros_like(each)), known


def supervised(
    output: Output,
    labels: Tensor,
    targets: Sequence[str],
    config: LossConfig,
    progress: float = 0.0,
    counts: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """All targets alike: stage 1, where PESQ, STOI and SDI are true."""
    alike = replace(config, pseudo_weight=1.0, pseudo_fade=False)
    return multi_task(output, labels, targets, alike, progress, counts, weights)
