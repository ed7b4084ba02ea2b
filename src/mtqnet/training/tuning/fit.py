"""The tuning itself: heads first, then all of the network, gently; and how many epochs that is good for.

Small sets of labels leave nothing to spare for a validation set. So the number of epochs is found by leaving out
each part of the recordings once (groups.folds): at which epoch were the parts that were left out scored best? Then
all learn together for so long. Epoch 0 is the model as it was: it may well be the best.

What is judged and kept is a mean of the weights before and after (WiSE-FT: Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022): talkers who were not rated lose less by it than those who were gain.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtqnet.errors import UsageError
from mtqnet.targets import named
from mtqnet.training import losses
from mtqnet.training.config import LossConfig
from mtqnet.training.dataset import Batch, collate, moved
from mtqnet.training.loop import MAX_NORM
from mtqnet.training.network import Network, Output
from mtqnet.training.tuning import groups
from mtqnet.training.tuning.material import Array, Material, Places, scores

WARM_UP = 10
"""Steps in which the learning rate rises: Adam's first ones would be the largest"""

Judge = Callable[[Network, int], bool]
"""Called before the first epoch and after each, with the epochs that were made; False ends the tuning"""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TuneConfig:
    """How a model is tuned."""

    epochs: int = 30
    """At most"""
    frozen_epochs: int = 10
    """First ones, in which the heads learn alone: a few thousand weights, and no other head moves"""
    patience: int = 8
    """Epochs without gain on what is left out, after which nothing more is expected; those of the heads alone are
    no reason to end"""
    batch: int = 16
    """Rated pieces; as many unlabelled ones beside them, if there are any"""
    head_rate: float = 1e-3
    """Learning rate while the trunk is frozen"""
    rate: float = 1e-4
    """And after: a tenth of what the model was trained with"""
    anchor: float = 3.0
    """Weight of a head that is to stay, beside one that learns. Found with an earlier `base` by leaving talkers of
    CSP835 out (benchmarks/unseen_talker.py --anchor), ratings of G-MOS alone: with 1, SDI of one talker lost 0.014
    LCC; with 3 no score of the two talkers looked at lost any, and G-MOS gained nearly as much"""
    share: float = 0.5
    """Of the weights that were learnt in those that are judged and kept; the rest are the model's as it was. What
    Wortsman et al. propose where nothing tells a better one. With 1, talkers of CSP835 who were not rated lost up
    to 0.02 LCC of a score, with 0.5 up to 0.01 (docs/results/tuning.md)"""
    level_db: float = 3.0
    """Each piece's level is moved by up to so much, up or down"""
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError("the share of the tuned weights is above 0 and at most 1")


@dataclass(frozen=True)
class Search:
    """What was found by leaving out."""

    errors: tuple[float, ...]
    """After 0, 1, 2, ... epochs: mean squared error on what was left out, on the training scale"""

    @property
    def epochs(self) -> int:
        """The best number of them."""
        return int(np.argmin(self.errors))


def search(start: Network, data: Material, recordings: Places, by: Sequence[str], config: TuneConfig,
           progress: Progress) -> Search:  # fmt: skip
    """How many epochs are best for these recordings, whose groups are `by`."""
    parts = groups.folds(recordings, by)
    curves, counts = [], []
    for number, part in enumerate(parts):
        curve, count = _curve(start, data, np.setdiff1d(recordings, part), part, config)
        curves.append(curve)
        counts.append(count)
        progress(number + 1, len(parts))
    if not sum(counts):
        return Search((math.nan,))
    return Search(tuple(np.average(curves, axis=0, weights=counts).tolist()))


def tune(start: Network, data: Material, recordings: Places, epochs: int, config: TuneConfig,
         judge: Judge = lambda *_: True) -> Network:  # fmt: skip
    """A copy of the network after so many epochs on these recordings (and on all unlabelled pieces), averaged with
    the network as it was."""
    network = copy.deepcopy(start)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.0)  # decay would pull away from the start
    pieces = data.sound.pieces(recordings)
    heads = torch.tensor([1.0 if key in data.tuned else config.anchor for key in network.targets])
    kept = between(start, network, config.share)
    going = judge(kept, 0)
    step = 0
    for epoch in range(epochs):
        if not going:
            break
        frozen = epoch < config.frozen_epochs
        network.freeze_trunk(frozen)
        network.train()
        torch.manual_seed(config.seed * 1_000_003 + epoch)  # dropout
        for places, batch in _batches(data, pieces, network.targets, config, epoch):
            step += 1
            peak = config.head_rate if frozen else config.rate
            for group in optimiser.param_groups:
                group["lr"] = peak * min(1.0, step / WARM_UP)
            counts = torch.from_numpy(data.weights[places]).to(torch.float32)
            value = weighted(network(batch.inputs, batch.samples), batch.labels, counts, heads)
            optimiser.zero_grad()
            torch.autograd.backward(value)
            torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
            optimiser.step()
        kept = between(start, network, config.share)
        going = judge(kept, epoch + 1)
    return kept


def between(before: Network, after: Network, share: float) -> Network:
    """A network whose weights lie between those of two, at `share` of the way; in evaluation mode."""
    made = copy.deepcopy(before)
    ends = before.state_dict(), after.state_dict()
    made.load_state_dict({name: torch.lerp(ends[0][name], ends[1][name], share) for name in ends[0]})
    return made.eval()


def weighted(output: Output, labels: Tensor, counts: Tensor, heads: Tensor) -> Tensor:
    """L = sum over heads of heads * mean over known labels of counts * L_m, L_m as in losses.py; a scalar.

    Labels and counts are (batch, targets), heads (targets,).
    """
    each, known = losses.per_clip(output, labels, LossConfig())
    per_target = (each * counts).sum(dim=0) / known.sum(dim=0).clamp(min=1)
    return (per_target * heads).sum()


def error(said: Mapping[str, Array], data: Material, recordings: Places) -> float:
    """Mean over the tuned heads of the weighted mean squared error of what was said of these recordings,
    (recordings,) by target, on the training scale; NaN where none has a rating."""
    found = []
    for target in named(data.tuned):
        truth = data.truth[target.key][recordings]
        known = ~np.isnan(truth)
        if known.any():
            distance = target.to_training(truth[known]) - target.to_training(said[target.key][known])
            found.append(float(np.average(distance**2, weights=data.trust[target.key][recordings][known])))
    return float(np.mean(found)) if found else math.nan


def _curve(
    start: Network, data: Material, learning: Places, left_out: Places, config: TuneConfig
) -> tuple[list[float], int]:
    """Errors on what is left out after 0, 1, 2, ... epochs on the rest; and how many ratings they are of."""
    curve: list[float] = []

    def judge(network: Network, epochs: int) -> bool:
        curve.append(error(scores(network, data.sound, left_out), data, left_out))
        return epochs - max(int(np.argmin(curve)), config.frozen_epochs) < config.patience

    ratings = sum(int((~np.isnan(data.truth[key][left_out])).sum()) for key in data.tuned)
    if not ratings:
        return [0.0] * (config.epochs + 1), 0
    tune(start, data, learning, config.epochs, config, judge)
    return curve + curve[-1:] * (config.epochs + 1 - len(curve)), ratings


def _batches(
    data: Material, pieces: Places, targets: Sequence[str], config: TuneConfig, epoch: int
) -> Iterator[tuple[Places, Batch]]:
    """Each of these pieces once, with as many unlabelled ones; the places of each batch with it."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(pieces)
    for first in range(0, len(order), config.batch):
        rated = order[first : first + config.batch]
        beside = rng.permutation(data.unlabelled)[: len(rated)]
        places = np.concatenate([rated, beside])
        yield places, moved(collate(data.data, places, targets), config.level_db, rng)
