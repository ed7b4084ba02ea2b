"""The loss of multi-task pseudo-label learning.

    L      = L_sup + gamma L_semi
    L_sup  = sum over S-, N- and G-MOS of L_m, with true labels
    L_semi = sum over PESQ, STOI, SDI (and scores of existing models) of L_m, with pseudo labels
    L_m    = mean over clips of d(y - y^) + alpha / F sum over frames of d(y_f - y^_f)

With LossConfig.rank_weight beta, pairs of clips that were made from the same recording of speech add

    beta sum over targets of mean over pairs of d((y_i - y_j) - (y^_i - y^_j))

so that systems which process the same speech are ordered correctly.

d is the Huber loss, or the squared or absolute error for comparison. A missing label is NaN and has no influence:
the mean of each target is over the clips of the batch that have its label. The frame term follows MOSA-Net's code:
the label y_f of a frame is that of its clip or, in a clip with a part of other quality, that of its part.
gamma may decrease over the run (LossConfig.gamma).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtqnet.causes import CAUSE_KEYS
from mtqnet.targets import OBJECTIVE, PEERS
from mtqnet.training.batches import PartLabels
from mtqnet.training.config import LossConfig
from mtqnet.training.model import Output, frame_mask

PSEUDO = tuple(target.key for target in (*OBJECTIVE, *PEERS))
"""Targets whose labels are pseudo labels in stage 2 of MPL"""
CAUSE_WEIGHT = 0.3
"""Weight of the cross-entropy of the causes, for a network that predicts them"""
EVENTS = ("packet_loss",)
"""Causes that are short events: where they are present, the frames in which they occur are not known"""


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
    feature_weight: float = 0.0
    """Weight of the mean distance from the teacher's features (distill.py), over the clips with a label"""

    def __call__(
        self, output: Output, labels: Tensor, weights: Tensor | None = None, progress: float = 0.0,
        parts: PartLabels | None = None, speech: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return the loss of a batch, a scalar.

        Args:
            output: Scores of the network.
            labels: (batch, targets) on the training scale; NaN where unknown.
            weights: (batch, targets), weights of the labels, 1 on average; by default 1.
            progress: Fraction of the run's steps that are done, 0 to 1.
            parts: Labels of the frames; by default those of the clips.
            speech: (batch,), number of the recording of speech that each clip was made from; by default all
                recordings are different.
        """
        each, known = self.per_clip(output, labels, parts)
        each = each if weights is None else each * weights
        per_target = each.sum(dim=0) / known.sum(dim=0).clamp(min=1)
        if speech is not None and self.config.rank_weight:
            ones = torch.ones_like(labels) if weights is None else weights
            per_target = per_target + self.config.rank_weight * self.of_pairs(output.values, labels, ones, speech)
        total: Tensor = (per_target * self._weights(progress).to(labels.device)).sum()
        if parts is not None and output.causes is not None:
            total = total + CAUSE_WEIGHT * cause_loss(output.causes, output.counts, parts)
        if output.feature_distance is not None:
            labelled = (~torch.isnan(labels if parts is None else parts.outside)).any(dim=1)
            distance = (output.feature_distance * labelled).sum() / labelled.sum().clamp(min=1)
            total = total + self.feature_weight * distance
        return total

    def per_clip(self, output: Output, labels: Tensor, parts: PartLabels | None = None) -> tuple[Tensor, Tensor]:
        """Return the terms that L_m averages, (batch, targets), zero without a label, and where labels are
        known."""
        distance = element_loss(self.config)
        of_clip, known = _masked(distance, output.values, labels)
        of_frame = labels[:, None, :].expand_as(output.frames)
        if parts is not None:
            inside = parts.within(output.frames.shape[1])[:, :, None]
            of_frame = torch.where(inside, parts.inside[:, None, :], parts.outside[:, None, :])
        of_frames, known_frames = _masked(distance, output.frames, of_frame)
        of_frames = of_frames * frame_mask(output.counts, output.frames.shape[1])[:, :, None]
        each = of_clip + self.config.frame_weight * of_frames.sum(dim=1) / output.counts[:, None]
        return each, known | known_frames.any(dim=1)

    def of_pairs(self, values: Tensor, labels: Tensor, weights: Tensor, speech: Tensor) -> Tensor:
        """Return the mean distance of the differences within pairs of clips of the same speech, (targets,).

        A pair has the smaller of the weights of its clips.
        """
        first, second = torch.nonzero(torch.triu(speech[:, None] == speech[None, :], 1), as_tuple=True)
        each, known = _masked(
            element_loss(self.config), values[first] - values[second], labels[first] - labels[second]
        )
        each = each * torch.minimum(weights[first], weights[second])
        return each.sum(dim=0) / known.sum(dim=0).clamp(min=1)

    def _weights(self, progress: float) -> Tensor:
        """(targets,)"""
        gamma = self.config.gamma(progress)
        weights = torch.tensor([gamma if key in self.semi_supervised else 1.0 for key in self.targets])
        return weights * torch.tensor(self.target_weights) if self.target_weights else weights


def cause_loss(logits: Tensor, counts: Tensor, parts: PartLabels) -> Tensor:
    """Return the cross-entropy of the causes, of frames and of clips, averaged over the causes.

    The probability of a clip is pooled from its frames (`pooled_probability`). Frames of a part in which an event
    such as packet loss occurs somewhere are not labelled.

    Args:
        logits: (batch, frames, causes)
        counts: Frames that are no padding, (batch,)
        parts: Labels of the frames.
    """
    inside = parts.within(logits.shape[1])[:, :, None]
    truth = torch.where(inside, parts.causes_inside[:, None, :], parts.causes_outside[:, None, :])
    valid = frame_mask(counts, logits.shape[1])[:, :, None]
    events = torch.tensor([key in EVENTS for key in CAUSE_KEYS], device=logits.device)
    known = ~torch.isnan(truth) & ~(events & (truth > 0)) & (valid > 0)
    of_frames = nn.functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(truth), reduction="none")
    has_part = (parts.span_s[:, 1] > 0)[:, None]
    both = torch.maximum(parts.causes_inside, parts.causes_outside)
    clip = torch.where(has_part, both, parts.causes_outside)
    probability = pooled_probability(logits, valid).clamp(1e-5, 1 - 1e-5)
    known_clip = ~torch.isnan(clip)
    of_clip = nn.functional.binary_cross_entropy(probability, torch.nan_to_num(clip), reduction="none")
    return (
        (of_frames * known).sum(dim=(0, 1)) / known.sum(dim=(0, 1)).clamp(min=1)
        + (of_clip * known_clip).sum(dim=0) / known_clip.sum(dim=0).clamp(min=1)
    ).mean()


def pooled_probability(logits: Tensor, valid: Tensor) -> Tensor:
    """Linear softmax pooling of frame probabilities (Wang, Li and Metze, ICASSP 2019): the mean of p weighted by p.

    Args:
        logits: (batch, frames, causes)
        valid: (batch, frames, 1); 0 for padding.

    Returns:
        (batch, causes)
    """
    p = torch.sigmoid(logits) * valid
    return (p * p).sum(dim=1) / p.sum(dim=1).clamp(min=1e-6)


def _masked(distance: nn.Module, predicted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances, zero where a label is NaN, and where labels are known."""
    known = ~torch.isnan(labels)
    each = distance(predicted, torch.where(known, labels, torch.zeros_like(labels)))
    return torch.where(known, each, torch.zeros_like(each)), known


def supervised(targets: tuple[str, ...], config: LossConfig) -> MultiTaskLoss:
    """Return the loss of a network whose labels are all true labels, such as MOSA-Net's."""
    return MultiTaskLoss(targets, config, semi_supervised=())


def element_loss(config: LossConfig) -> nn.Module:
    """Return the elementwise distance d; for `huber`, torch.nn.HuberLoss."""
    if config.kind == "huber":
        return nn.HuberLoss(reduction="none", delta=config.delta)
    return nn.MSELoss(reduction="none") if config.kind == "mse" else nn.L1Loss(reduction="none")
