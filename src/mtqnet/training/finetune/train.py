"""Training of a fine-tuning: first the heads, then the whole network with a small learning rate.

Small tables have no recordings to spare for a validation set. So the number of epochs is found by
cross-validation: each part of the recordings (split.folds) is the validation set once, and the number of epochs
with the lowest error on them is used to train on all of them. Epoch 0 is the original model, which may be the
best.

The result is an average of the weights before and after (WiSE-FT: Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022): speakers without ratings lose less accuracy by it, and those with ratings gain
nearly as much.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtqnet.errors import UsageError
from mtqnet.targets import named
from mtqnet.training.batches import Batch, collate, varied
from mtqnet.training.config import LossConfig
from mtqnet.training.finetune import split
from mtqnet.training.finetune.data import Array, Indices, TuningData, scores
from mtqnet.training.losses import MultiTaskLoss
from mtqnet.training.model import Network
from mtqnet.training.trainer import Loop

WARM_UP = 10
"""Number of steps during which the learning rate increases, because Adam's first steps would be the largest"""

Validate = Callable[[Network, int], bool]
"""Called before the first epoch and after each with the number of finished epochs; False ends the training"""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TuneConfig:
    """Options of a fine-tuning."""

    epochs: int = 30
    """Largest number of epochs"""
    frozen_epochs: int = 10
    """Number of first epochs in which only the heads are trained"""
    patience: int = 8
    """Number of epochs without improvement on the validation parts after which the search ends; epochs in which
    only the heads are trained do not count"""
    batch: int = 16
    """Rated segments per batch; the same number of unlabelled segments is added, if there are any"""
    head_rate: float = 1e-3
    """Learning rate while only the heads are trained"""
    rate: float = 1e-4
    """Learning rate after that: a tenth of the rate of the original training"""
    anchor: float = 3.0
    """Weight of the targets without ratings, whose labels are the original model's predictions. Chosen with an
    earlier `base` by holding out speakers of CSP835 (benchmarks/unseen_talker.py --anchor), with ratings of G-MOS
    alone: with 1, SDI of one speaker lost 0.014 LCC; with 3 no score of the two examined speakers lost any, and
    G-MOS improved nearly as much"""
    share: float = 0.5
    """Weight of the fine-tuned weights in the average with the original ones, as Wortsman et al. propose if
    no better value is known. With 1, speakers of CSP835 without ratings lost up to 0.02 LCC of a score, with 0.5 up
    to 0.01 (docs/results/tuning.md)"""
    level_db: float = 3.0
    """The level of each segment is changed at random by up to this many dB, in both directions"""
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                f"the share of the fine-tuned weights must be above 0 and at most 1, found {self.share:g}"
            )


@dataclass(frozen=True)
class Search:
    """Result of the cross-validation."""

    errors: tuple[float, ...]
    """Mean squared error on the validation parts after 0, 1, 2, ... epochs, on the training scale"""

    @property
    def epochs(self) -> int:
        """Number of epochs with the lowest error."""
        return int(np.argmin(self.errors))


def search(start: Network, data: TuningData, recordings: Indices, groups: Sequence[str], config: TuneConfig,
           progress: Progress) -> Search:  # fmt: skip
    """Find the number of epochs by cross-validation.

    Args:
        start: The original network.
        data: All segments.
        recordings: Recordings for training.
        groups: Group of each recording.
        config: Options.
        progress: Called after each part.
    """
    parts = split.folds(recordings, groups)
    curves, counts = [], []
    for number, part in enumerate(parts):
        curve, count = _curve(start, data, np.setdiff1d(recordings, part), part, config)
        curves.append(curve)
        counts.append(count)
        progress(number + 1, len(parts))
    if not sum(counts):
        return Search((math.nan,))
    return Search(tuple(np.average(curves, axis=0, weights=counts).tolist()))


def tune(start: Network, data: TuningData, recordings: Indices, epochs: int, config: TuneConfig,
         validate: Validate = lambda *_: True) -> Network:  # fmt: skip
    """Fine-tune a copy of a network.

    Args:
        start: The original network.
        data: All segments; unlabelled ones are always used.
        recordings: Recordings for training.
        epochs: Number of epochs.
        config: Options.
        validate: Called with the network that would be the result, before the first epoch and after each.

    Returns:
        The average of the original and the fine-tuned network.
    """
    network = copy.deepcopy(start)
    segments = data.sound.segments(recordings)
    steps = math.ceil(len(segments) / config.batch)

    def rate(step: int) -> float:
        frozen = step // steps < config.frozen_epochs
        return (config.head_rate / config.rate if frozen else 1.0) * min(1.0, (step + 1) / WARM_UP)

    result = interpolated(start, network, config.share)
    if not validate(result, 0):
        return result

    def after_epoch(epoch: int, _loss: float) -> bool:
        nonlocal result
        result = interpolated(start, network, config.share)
        return validate(result, epoch)

    target_weights = tuple(1.0 if key in data.tuned else config.anchor for key in network.targets)
    loss = MultiTaskLoss(network.targets, LossConfig(), semi_supervised=(), target_weights=target_weights)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=0.0)
    Loop(
        network, loss, lambda epoch: _batches(data, segments, network.targets, config, epoch), optimiser, rate,
        epochs, steps, config.seed, config.frozen_epochs,
    ).run(after_epoch)  # fmt: skip
    return result


def interpolated(before: Network, after: Network, share: float) -> Network:
    """Return a network in evaluation mode whose weights are (1 - share) * before + share * after."""
    network = copy.deepcopy(before)
    ends = before.state_dict(), after.state_dict()
    network.load_state_dict({name: torch.lerp(ends[0][name], ends[1][name], share) for name in ends[0]})
    return network.eval()


def error(predicted: Mapping[str, Array], data: TuningData, recordings: Indices) -> float:
    """Return the weighted mean squared error on the training scale, averaged over the tuned targets.

    Args:
        predicted: Scores of these recordings, (recordings,) by target.
        data: The ratings.
        recordings: Indices of the recordings.

    Returns:
        NaN if no recording has a rating.
    """
    errors = []
    for target in named(data.tuned):
        truth = data.truth[target.key][recordings]
        known = ~np.isnan(truth)
        if known.any():
            distance = target.to_training(truth[known]) - target.to_training(predicted[target.key][known])
            errors.append(float(np.average(distance**2, weights=data.weights[target.key][recordings][known])))
    return float(np.mean(errors)) if errors else math.nan


def _curve(
    start: Network, data: TuningData, training: Indices, validation: Indices, config: TuneConfig
) -> tuple[list[float], int]:
    """Return the errors on `validation` after 0, 1, 2, ... epochs, and the number of its ratings."""
    curve: list[float] = []

    def validate(network: Network, epochs: int) -> bool:
        curve.append(error(scores(network, data.sound, validation), data, validation))
        return epochs - max(int(np.argmin(curve)), config.frozen_epochs) < config.patience

    ratings = sum(int((~np.isnan(data.truth[key][validation])).sum()) for key in data.tuned)
    if not ratings:
        return [0.0] * (config.epochs + 1), 0
    tune(start, data, training, config.epochs, config, validate)
    return curve + curve[-1:] * (config.epochs + 1 - len(curve)), ratings


def _batches(
    data: TuningData, segments: Indices, targets: Sequence[str], config: TuneConfig, epoch: int
) -> Iterator[Batch]:
    """Yield batches that contain each of these segments once, with as many unlabelled ones."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(segments)
    for first in range(0, len(order), config.batch):
        labelled = order[first : first + config.batch]
        unlabelled = rng.permutation(data.unlabelled)[: len(labelled)]
        batch = collate(data.data, np.concatenate([labelled, unlabelled]), targets)
        yield varied(batch, config.level_db, 0.0, rng)
