"""The training of a fine-tuning: first the heads, then the whole network with a small learning rate.

Rated targets have the ratings as labels; all other targets have the predictions of the original model, which
regularise fine-tuning like the pseudo labels of MPL. Unlabelled audio has only the latter.

Small tables have no recordings to spare for a validation set. So the number of epochs is found by
cross-validation: each part of the recordings (ratings.folds) is the validation set once, and the number of epochs
with the lowest error on them is used to train on all of them. Epoch 0 is the original model, which may be the
best.

The result is an average of the weights before and after (WiSE-FT: Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022): speakers without ratings lose less accuracy by it, and those with ratings gain
nearly as much.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.scoring.intervals import DISTANCE
from mtqnet.targets import named
from mtqnet.training import trainer
from mtqnet.training.batches import Batch, Dataset, Labels, collate, varied
from mtqnet.training.config import LossConfig
from mtqnet.training.features import Clip
from mtqnet.training.losses import MultiTaskLoss
from mtqnet.training.model import Network
from mtqnet.training.ratings import Segments, folds
from mtqnet.training.trainer import Loop

WARM_UP = 10
"""Number of steps during which the learning rate increases, because Adam's first steps would be the largest"""
LEVEL_DB = 3.0
"""The level of each segment is changed at random by up to this many dB, in both directions"""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
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
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                f"the share of the fine-tuned weights must be above 0 and at most 1, found {self.share:g}"
            )


@dataclass(frozen=True)
class Sound:
    """Features of the segments of some recordings."""

    clips: Sequence[Clip]
    recording: Indices
    """(segments,)"""
    shares: Array
    """(segments,)"""
    recordings: int
    """Number of recordings"""

    @classmethod
    def of(cls, cut: Segments, clips: Sequence[Clip]) -> Sound:
        """Return the segments of recordings with their features."""
        return cls(clips, cut.recording, cut.shares, len(cut.scorable))

    def segments(self, recordings: Indices) -> Indices:
        """Return the indices of the segments of these recordings."""
        return np.flatnonzero(np.isin(self.recording, recordings))


@dataclass(frozen=True)
class TuningData:
    """Segments of rated recordings, followed by those of unlabelled ones."""

    data: Dataset
    """Labels and weights of all heads, (segments,) each"""
    sound: Sound
    """The rated recordings"""
    truth: Labels
    """Ratings (recordings,) by target; NaN without a rating"""
    weights: Labels
    """Weights of the ratings, (recordings,) by target"""
    tuned: tuple[str, ...]
    """Targets that are trained on ratings"""
    unlabelled: Indices
    """Segments whose labels are the original model's predictions alone"""


def tuning_data(
    network: Network, sound: Sound, labels: Labels, weights: Labels, tuned: tuple[str, ...],
    unlabelled: Sequence[Clip],
) -> TuningData:  # fmt: skip
    """Assign labels and weights to all segments.

    Args:
        network: The original model, which predicts the labels of the targets that are not in `tuned`.
        sound: The rated recordings.
        labels: Ratings (recordings,) by target; NaN without a rating.
        weights: Their weights.
        tuned: Targets that are trained on ratings.
        unlabelled: Segments of unlabelled recordings.
    """
    clips, count = [*sound.clips, *unlabelled], len(unlabelled)
    predicted = trainer.predict(network, Dataset(clips, {}))
    of_segments, counts = {}, {}
    for target in named(network.targets):
        key = target.key
        if key in tuned:
            of_segments[key] = np.append(labels[key][sound.recording], np.full(count, np.nan))
            counts[key] = np.append(weights[key][sound.recording] * sound.shares, np.zeros(count))
        else:
            of_segments[key] = predicted[key].clip(target.low, target.high)
            counts[key] = np.append(sound.shares, np.ones(count))
    indices = np.arange(len(sound.clips), len(clips))
    return TuningData(Dataset(clips, of_segments, counts), sound, labels, weights, tuned, indices)


def scores(network: Network, sound: Sound, recordings: Indices) -> dict[str, Array]:
    """Predict the scores of these recordings, (recordings,) by target, combined and limited as in scoring."""
    chosen = sound.segments(recordings)
    predicted = trainer.predict(network, Dataset([sound.clips[index] for index in chosen], {}))
    return {
        target.key: _mean(sound, recordings, chosen, predicted[target.key]).clip(target.low, target.high)
        for target in named(network.targets)
    }


def distances(network: Network, sound: Sound, recordings: Indices) -> dict[str, Array]:
    """Return the distances of these recordings from the training clips by the key DISTANCE, combined as in scoring.

    Empty for a network that does not measure them.
    """
    if network.distance is None:
        return {}
    chosen = sound.segments(recordings)
    found = trainer.distances(network, Dataset([sound.clips[index] for index in chosen], {}))
    return {DISTANCE: _mean(sound, recordings, chosen, found)}


def _mean(sound: Sound, recordings: Indices, chosen: Indices, values: Array) -> Array:
    """Average values of these segments within each recording, weighted by their parts of it: (recordings,)"""
    order = np.full(sound.recordings, -1)
    order[recordings] = np.arange(len(recordings))
    mean = np.zeros(len(recordings))
    np.add.at(mean, order[sound.recording[chosen]], sound.shares[chosen] * values)
    return mean


def search(start: Network, data: TuningData, recordings: Indices, groups: Sequence[str], config: TuneConfig,
           progress: Progress) -> tuple[int, list[float]]:  # fmt: skip
    """Find the number of epochs by cross-validation on these recordings; `groups` are those of all recordings.

    Returns:
        The number of epochs with the lowest error, and the mean squared error on the validation parts after 0, 1, 2,
        ... epochs, on the training scale.
    """
    parts = folds(recordings, groups)
    curves, counts = [], []
    for number, part in enumerate(parts):
        if count := sum(int((~np.isnan(data.truth[key][part])).sum()) for key in data.tuned):
            curves.append(_curve(start, data, np.setdiff1d(recordings, part), part, config))
            counts.append(count)
        progress(number + 1, len(parts))
    errors = np.average(curves, axis=0, weights=counts) if counts else np.array([math.nan])
    return int(np.argmin(errors)), errors.tolist()


def _curve(
    start: Network, data: TuningData, training: Indices, validation: Indices, config: TuneConfig
) -> list[float]:
    """Return the errors on `validation` after 0, 1, 2, ... epochs; after the end of the search, the last error."""
    curve: list[float] = []

    def validate(network: Network, epochs: int) -> bool:
        curve.append(error(scores(network, data.sound, validation), data, validation))
        return epochs - max(int(np.argmin(curve)), config.frozen_epochs) < config.patience

    tune(start, data, training, config.epochs, config, validate)
    return curve + curve[-1:] * (config.epochs + 1 - len(curve))


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


def error(predicted: Labels, data: TuningData, recordings: Indices) -> float:
    """Return the weighted mean squared error of the scores of these recordings on the training scale.

    It is averaged over the tuned targets, and NaN if no recording has a rating.
    """
    errors = []
    for target in named(data.tuned):
        truth = data.truth[target.key][recordings]
        known = ~np.isnan(truth)
        if known.any():
            distance = target.to_training(truth[known]) - target.to_training(predicted[target.key][known])
            errors.append(float(np.average(distance**2, weights=data.weights[target.key][recordings][known])))
    return float(np.mean(errors)) if errors else math.nan


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
        yield varied(batch, LEVEL_DB, 0.0, rng)
