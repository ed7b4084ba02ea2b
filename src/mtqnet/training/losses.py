"""The loss of multi-task pseudo-label learning.

    L      = L_sup + gamma L_semi
    L_sup  = sum over S-, N- and G-MOS of L_m, with true labels
    L_semi = sum over PESQ, STOI, SDI (and scores of existing models) of L_m, with pseudo labels
    L_m    = mean over clips of d(y - y^) + alpha / F sum over frames of d(y - y^_f)

d is the Huber loss, or the squared or absolute error for comparison. A missing label is NaN and has no influence:
the mean of each target is over the clips of the batch that have its label. The frame term follows MOSA-Net's code.
gamma may decrease over the run (LossConfig.gamma).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtqnet.targets import OBJECTIVE, PEERS
from mtqnet.training.config import LossConfig
from mtqnet.training.model import Output, frame_mask

PSEUDO = tuple(target.key for target in (*OBJECTIVE, *PEERS))
"""Targets whose labels are pseudo labels in stage 2 of MPL"""


@dataclass(frozen=True)
class MultiTaskLoss:
    """Sum of the losses of all targets of a network."""

    targets: tuple[str, ...]
    """Keys of the columns of labels and scores"""
    config: LossConfig
    semi_supervised: tuple[str, ...] = PSEUDO
    """Targets whose loss is weighted by gamma; of all others the weight is 1"""
    target_weights: tuple[float, ...] = ()
    """A further weight for each target; empty: all are 1"""

    def __call__(
        self, output: Output, labels: Tensor, weights: Tensor | None = None, progress: float = 0.0
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            output: Scores of the network.
            labels: (batch, targets) on the training scale; NaN where unknown.
            weights: (batch, targets), weights of the labels, 1 on average; by default 1.
            progress: Fraction of the run's steps that are done, 0 to 1.
        """
        each, known = self.per_clip(output, labels)
        each = each if weights is None else each * weights
        per_target = each.sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return (per_target * self._weights(progress).to(labels.device)).sum()

    def per_clip(self, output: Output, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the terms that L_m averages, (batch, targets), zero without a label, and where labels are
        known."""
        known, distance = ~torch.isnan(labels), element_loss(self.config)
        truth = torch.where(known, labels, torch.zeros_like(labels))
        of_clip = distance(output.values, truth)
        of_frames = distance(output.frames, truth[:, None, :].expand_as(output.frames))
        of_frames = of_frames * frame_mask(output.counts, output.frames.shape[1])[:, :, None]
        each = of_clip + self.config.frame_weight * of_frames.sum(dim=1) / output.counts[:, None]
        return torch.where(known, each, torch.zeros_like(each)), known

    def _weights(self, progress: float) -> Tensor:
        """(targets,)"""
        gamma = self.config.gamma(progress)
        weights = torch.tensor([gamma if key in self.semi_supervised else 1.0 for key in self.targets])
        return weights * torch.tensor(self.target_weights) if self.target_weights else weights


def supervised(targets: tuple[str, ...], config: LossConfig) -> MultiTaskLoss:
    """Return the loss of a network whose labels are all true labels, such as MOSA-Net's."""
    return MultiTaskLoss(targets, config, semi_supervised=())


def element_loss(config: LossConfig) -> nn.Module:
    """Return the elementwise distance d; for `huber`, torch.nn.HuberLoss."""
    if config.kind == "huber":
        return nn.HuberLoss(reduction="none", delta=config.delta)
    return nn.MSELoss(reduction="none") if config.kind == "mse" else nn.L1Loss(reduction="none")
