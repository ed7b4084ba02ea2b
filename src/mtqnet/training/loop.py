"""One loop: epochs, validation, a checkpoint after each (checkpoint.py), resume, and the best state at the end.

Epoch n draws from (seed, n) alone: a resumed run takes the very steps of an unbroken one.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mtqnet.targets import QUEST, named
from mtqnet.training import dropout, parallel
from mtqnet.training.checkpoint import State, averaged, restore, save
from mtqnet.training.config import FitConfig, MachineConfig
from mtqnet.training.dataset import Batch, Dataset, collate, plain_places, steps_of, training_batches
from mtqnet.training.network import Output, Trainable

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises"""
MAX_NORM = 1.0
"""Of the gradient"""
EVALUATION_BATCH = 32
SHOWN = 4
"""Clips, spread over the data, by whose features a checkpoint knows its front end"""
PLAIN = MachineConfig()


class Loss(Protocol):
    """What a step comes down: of scores, labels (batch, targets), and the share of all steps that were made; where
    processes share the batch, of how many labels the whole of it has (targets,)."""

    def __call__(
        self, output: Output, labels: Tensor, *, progress: float, counts: Tensor | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave."""

    epoch: int
    train_loss: float
    validation_error: float
    """Mean squared error on the training scale, over the targets that a run is judged by: whatever the loss was,
    its epochs, and those of another run, compare"""
    lcc: dict[str, float]
    """Per target, on the validation clips; log10 where the target says so"""


Report = Callable[[Epoch, int], None]
"""Called after each epoch, with the number of epochs in all."""


def fit(
    network: Trainable,
    train: Dataset,
    validation: Dataset,
    loss: Loss,
    config: FitConfig,
    seed: int,
    checkpoint: Path,
    report: Report | None = None,
    machine: MachineConfig = PLAIN,
) -> list[Epoch]:
    """Train in place; leave the network at its best epoch (lowest validation error). Resumes `checkpoint`.

    Where several processes were started (parallel.py), all of them call this, and each trains on its share.

    Judged by S-, N- and G-MOS, or, where the network has none of them, by all its targets. Raises UsageError if
    the checkpoint is of other clips, labels, options, loss, dimensions or first weights.
    """
    identity = _identity(network, train, validation, loss, config, seed)
    share, device = parallel.here(), parallel.device()
    network.to(device)
    optimiser = torch.optim.AdamW(network.rates(), lr=config.learning_rate, weight_decay=config.weight_decay)
    state = State(network, optimiser, averaged(network, config.average))
    stored = restore(checkpoint, identity, state)
    history = [Epoch(**epoch) for epoch in stored]
    for number in range(len(history), config.epochs):
        network.freeze_trunk(number < config.frozen_epochs)
        train_loss = _epoch(state, train, loss, config, seed, number, machine)
        history.append(Epoch(number + 1, train_loss, *judge(state.judged, validation)))
        if not history[-1].validation_error > min(
            e.validation_error for e in history
        ):  # NaN: no labels to judge by
            state.keep()
        if share.first:
            save(checkpoint, identity, state, [vars(epoch) for epoch in history])
        if report and share.first:
            report(history[-1], config.epochs)
    network.load_state_dict(state.best)
    network.freeze_trunk(False)
    network.cpu().eval()
    return history


def predict(network: Trainable, data: Dataset) -> dict[str, NDArray[np.float64]]:
    """Scores of all clips by target, in the target's own unit and not clipped, (clips,) each.

    Of several processes each takes its share of the batches, and all get all scores.
    """
    share, device = parallel.here(), next(network.parameters()).device
    raw = np.zeros((len(data.clips), len(network.targets)))
    network.eval()
    with torch.inference_mode():
        for number, places in enumerate(plain_places(data, EVALUATION_BATCH)):
            if number % share.world == share.rank:
                batch = collate(data, places, ()).to(device)
                raw[places] = network(batch.inputs, batch.samples).values.cpu().numpy()
    raw = parallel.summed_array(raw) if share.world > 1 else raw
    return {t.key: t.from_training(raw[:, i]) for i, t in enumerate(named(network.targets))}


def judge(network: Trainable, data: Dataset) -> tuple[float, dict[str, float]]:
    """Mean squared error over the targets that count (see `fit`), and the LCC of each target that is labelled."""
    scores = predict(network, data)
    errors, found = {}, {}
    for target in named([key for key in network.targets if key in data.labels]):
        truth, said = data.labels[target.key], scores[target.key]
        known = ~np.isnan(truth)
        found[target.key] = lcc(target.compress(truth[known]), target.compress(said[known]))
        distance = target.to_training(truth[known]) - target.to_training(said[known])
        if known.any():
            errors[target.key] = float(np.mean(distance**2))
    quest = [target.key for target in QUEST if target.key in errors]
    return float(np.mean([errors[key] for key in quest or errors])) if errors else math.nan, found


def lcc(truth: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """Pearson correlation of (clips,); NaN for fewer than two, or where one side is the same throughout."""
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(said) == 0:
        return math.nan
    return float(np.corrcoef(truth, said)[0, 1])


def _identity(
    network: Trainable, train: Dataset, validation: Dataset, loss: Loss, config: FitConfig, seed: int
) -> str:
    """A digest of all that a run's steps depend on: dimensions, options, loss, and the clips with their labels.

    What a front end made of the clips is told by that of a few: another encoder or other layers change every clip.
    """
    terms = (loss.func.__qualname__, sorted(loss.keywords.items())) if isinstance(loss, functools.partial) else ()
    digest = hashlib.sha256(repr((network.targets, network.config, config, seed, terms)).encode())
    for data in (train, validation):
        digest.update(np.array([clip.samples for clip in data.clips]).tobytes())
        for key in network.targets:
            digest.update(np.ascontiguousarray(data.labels.get(key, ())).tobytes())
        for key, weights in sorted(data.weights.items()):
            digest.update(key.encode() + np.ascontiguousarray(weights).tobytes())
        for clip in data.clips[:: max(1, len(data.clips) // SHOWN)]:
            for name, view in sorted(clip.features.items()):
                digest.update(name.encode() + np.ascontiguousarray(view).tobytes())
    for weight in network.state_dict().values():
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()


def _epoch(
    state: State, train: Dataset, loss: Loss, config: FitConfig, seed: int, number: int, machine: MachineConfig
) -> float:
    network, optimiser, share = state.network, state.optimiser, parallel.here()
    device = next(network.parameters()).device
    run = _runner(network, machine)
    rng = np.random.default_rng([seed, number])
    torch.manual_seed(seed * 1_000_003 + number)  # dropout
    network.train()
    steps = steps_of(train, config)
    total, clips = 0.0, 0
    drawn = training_batches(train, network.targets, config, rng, share)
    for step, batch in enumerate((batch.to(device) for batch in drawn), start=number * steps):
        progress = step / (steps * config.epochs)
        for group in optimiser.param_groups:
            rate = config.learning_rate * group["share"]
            group["lr"] = rate * (schedule(progress) if config.schedule == "cosine" else 1.0)
        value = _loss_of(run, network, batch, loss, progress, machine)
        optimiser.zero_grad()
        torch.autograd.backward(value * share.world)  # DDP takes the mean over processes; the loss is a sum
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimiser.step()
        state.average_step()
        size = len(batch.samples) if batch.part is None else batch.part.rows.size
        total += parallel.summed(value.detach()).item() * size
        clips += size
    dropout.tell(network, None)
    return total / clips


def _runner(network: Trainable, machine: MachineConfig) -> Callable[..., Output]:
    """What a step calls: the network; told to sum its gradients over all processes; compiled."""
    run: nn.Module = network
    if parallel.here().world > 1:  # made for each epoch: which weights are frozen may have changed
        run = DistributedDataParallel(network, broadcast_buffers=False)
    return cast(Callable[..., Output], torch.compile(run, dynamic=True) if machine.compile else run)


def _loss_of(
    run: Callable[..., Output],
    network: Trainable,
    batch: Batch,
    loss: Loss,
    progress: float,
    machine: MachineConfig,
) -> Tensor:
    """The loss of a batch, or this process's part of it."""
    if batch.part is not None:
        dropout.tell(network, batch.part.rows)
    with torch.autocast(batch.samples.device.type, torch.bfloat16, enabled=machine.bf16):
        output = run(batch.inputs, batch.samples)
    output = output._replace(values=output.values.float(), frames=output.frames.float())
    further = {} if batch.weights is None else {"weights": batch.weights}
    if batch.part is None:
        return loss(output, batch.labels, progress=progress, **further)
    return loss(output, batch.labels, progress=progress, counts=batch.part.counts, **further)


def schedule(progress: float) -> float:
    """Share of the peak learning rate at this share of all steps: up in a line, down as a cosine."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
