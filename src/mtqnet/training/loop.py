"""One loop: epochs, validation, an atomic checkpoint after each, resume, and the best state at the end.

A checkpoint is one safetensors file: weights, the optimiser's state and the best weights as tensors, the rest
(epoch, history) as JSON in its header. It is written beside the old one and renamed, so a kill at any moment
leaves a whole one. Epoch n draws from (seed, n) alone: a resumed run takes the very steps of an unbroken one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mtqnet.errors import UsageError
from mtqnet.targets import QUEST, named
from mtqnet.training.config import FitConfig
from mtqnet.training.dataset import Dataset, plain_batches, steps_of, training_batches
from mtqnet.training.network import Output, Trainable

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises"""
MAX_NORM = 1.0
"""Of the gradient"""
EVALUATION_BATCH = 32


class Loss(Protocol):
    """What a step comes down: of scores, labels (batch, targets), and the share of all steps that were made."""

    def __call__(self, output: Output, labels: Tensor, *, progress: float) -> Tensor: ...


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
) -> list[Epoch]:
    """Train in place; leave the network at its best epoch (lowest validation error). Resumes `checkpoint`.

    Judged by S-, N- and G-MOS, or, where the network has none of them, by all its targets. Raises UsageError if
    the checkpoint is of other clips, labels, options, loss, dimensions or first weights.
    """
    identity = _identity(network, train, validation, loss, config, seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    history, best = _restore(checkpoint, identity, network, optimiser)
    for number in range(len(history), config.epochs):
        network.freeze_trunk(number < config.frozen_epochs)
        train_loss = _epoch(network, train, loss, config, optimiser, seed, number)
        history.append(Epoch(number + 1, train_loss, *judge(network, validation)))
        if not history[-1].validation_error > min(
            e.validation_error for e in history
        ):  # NaN: no labels to judge by
            best = {name: value.detach().clone() for name, value in network.state_dict().items()}
        save(checkpoint, identity, network, optimiser, best, history)
        if report:
            report(history[-1], config.epochs)
    network.load_state_dict(best)
    network.freeze_trunk(False)
    network.eval()
    return history


def predict(network: Trainable, data: Dataset) -> dict[str, NDArray[np.float64]]:
    """Scores of all clips by target, in the target's own unit and not clipped, (clips,) each."""
    raw = np.empty((len(data.clips), len(network.targets)))
    network.eval()
    with torch.inference_mode():
        for places, batch in plain_batches(data, (), EVALUATION_BATCH):
            raw[places] = network(batch.inputs, batch.samples).values.numpy()
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


def save(
    path: Path,
    identity: str,
    network: Trainable,
    optimiser: torch.optim.Optimizer,
    best: dict[str, Tensor],
    history: Sequence[Epoch],
) -> None:
    """Write a checkpoint, whole or not at all."""
    tensors = {f"network/{k}": v.contiguous() for k, v in network.state_dict().items()}
    tensors |= {f"best/{k}": v.contiguous() for k, v in best.items()}
    for place, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{place}/{k}": v.contiguous() for k, v in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    about = {"identity": identity, "history": json.dumps([vars(epoch) for epoch in history])}
    save_file(tensors, partial, about)
    partial.replace(path)


def _restore(
    path: Path, identity: str, network: Trainable, optimiser: torch.optim.Optimizer
) -> tuple[list[Epoch], dict[str, Tensor]]:
    """Load a checkpoint into network and optimiser, if there is one: its history and best weights."""
    if not path.exists():
        return [], {name: value.detach().clone() for name, value in network.state_dict().items()}
    weights: dict[str, Tensor] = {}
    best: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as stored:
        if stored.metadata().get("identity") != identity:
            raise UsageError(f"{path} is of other clips or other options: name another folder for this run")
        history = [Epoch(**epoch) for epoch in json.loads(stored.metadata()["history"])]
        for name in stored.keys():  # noqa: SIM118 - not a dict
            group, _, rest = name.partition("/")
            if group == "optimiser":
                place, _, field = rest.partition("/")
                state.setdefault(int(place), {})[field] = stored.get_tensor(name)
            else:
                (weights if group == "network" else best)[rest] = stored.get_tensor(name)
    network.load_state_dict(weights)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return history, best


def _identity(
    network: Trainable, train: Dataset, validation: Dataset, loss: Loss, config: FitConfig, seed: int
) -> str:
    """A digest of all that a run's steps depend on: dimensions, options, loss, and the clips with their labels."""
    terms = (loss.func.__qualname__, sorted(loss.keywords.items())) if isinstance(loss, functools.partial) else ()
    digest = hashlib.sha256(repr((network.targets, network.config, config, seed, terms)).encode())
    for data in (train, validation):
        digest.update(np.array([clip.samples for clip in data.clips]).tobytes())
        for key in network.targets:
            digest.update(np.ascontiguousarray(data.labels.get(key, ())).tobytes())
    for weight in network.state_dict().values():
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def _epoch(
    network: Trainable,
    train: Dataset,
    loss: Loss,
    config: FitConfig,
    optimiser: torch.optim.Optimizer,
    seed: int,
    number: int,
) -> float:
    rng = np.random.default_rng([seed, number])
    torch.manual_seed(seed * 1_000_003 + number)  # dropout
    network.train()
    steps = steps_of(train, config)
    total, clips = 0.0, 0
    for step, batch in enumerate(training_batches(train, network.targets, config, rng), start=number * steps):
        progress = step / (steps * config.epochs)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (schedule(progress) if config.schedule == "cosine" else 1.0)
        value = loss(network(batch.inputs, batch.samples), batch.labels, progress=progress)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimiser.step()
        total += value.item() * len(batch.samples)
        clips += len(batch.samples)
    return total / clips


def schedule(progress: float) -> float:
    """Share of the peak learning rate at this share of all steps: up in a line, down as a cosine."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
