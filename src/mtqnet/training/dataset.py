"""Label table + features -> masked batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.signal.windows import pad
from mtqnet.targets import QUEST, named
from mtqnet.training.config import FitConfig
from mtqnet.training.frontend import Clip

BUCKET = 20
"""Batches whose clips are sorted by length together: little padding, still a random order."""

PADDED_ROWS = {"logmel": 64, "spectrum": 40, "wave": 10_240, "encoder": 8}
"""Rows of which a batch has a whole multiple (0.64 s of each view): a new shape costs each layer of torch its
preparation for it, a sixth of all time where every batch has its own."""

Labels = Mapping[str, NDArray[np.float64]]
"""Values by target key in the target's own unit, (clips,) each; NaN where unknown."""


@dataclass(frozen=True)
class Dataset:
    """Clips and their labels, in one order."""

    clips: Sequence[Clip]
    labels: Labels

    def with_labels(self, labels: Labels) -> Dataset:
        """The same clips with other labels added or in place."""
        return Dataset(self.clips, {**self.labels, **labels})

    def take(self, places: NDArray[np.int64]) -> Dataset:
        """The clips at these places, in that order."""
        return Dataset(
            [self.clips[p] for p in places], {key: labels[places] for key, labels in self.labels.items()}
        )

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(clips,): which carry an S-, N- or G-MOS label."""
        known = [~np.isnan(self.labels[target.key]) for target in QUEST if target.key in self.labels]
        return np.any(known, axis=0) if known else np.zeros(len(self.clips), dtype=bool)


@dataclass(frozen=True)
class Batch:
    """Padded features, sample counts (batch,), labels (batch, targets) on the training scale."""

    inputs: dict[str, Tensor]
    samples: Tensor
    labels: Tensor


def labels_of(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Labels:
    """Columns of a label table, as numbers or text -> values; an empty or absent cell is NaN."""
    return {target.key: np.array([_number(row.get(target.label)) for row in rows]) for target in named(list(keys))}


def _number(cell: float | str | None) -> float:
    return float("nan") if cell is None or cell == "" else float(cell)


def training_batches(
    data: Dataset, targets: Sequence[str], fit: FitConfig, rng: np.random.Generator
) -> Iterator[Batch]:
    """One epoch: random batches of clips of like length, each clip's level moved at random.

    Every clip comes once; or, with `fit.steps`, so many batches are drawn, each clip as often as any other. With
    `fit.unlabelled_batch`, so many clips without S/N/G labels join each batch of clips with them.
    """
    for places in _drawn(data, fit, rng):
        yield moved(collate(data, places, targets), fit.level_db, rng)


def steps_of(data: Dataset, fit: FitConfig) -> int:
    """Batches of one epoch."""
    return fit.steps or math.ceil(len(data.clips) / fit.batch)


def _drawn(data: Dataset, fit: FitConfig, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Places of the clips of each batch of an epoch."""
    lengths = np.array([clip.samples for clip in data.clips])
    everything, labelled = np.arange(len(lengths)), np.flatnonzero(data.labelled)
    others = np.setdiff1d(everything, labelled)
    if not fit.unlabelled_batch or not len(labelled) or not len(others):
        return _by_length(everything, lengths, fit.batch, fit.steps, rng)
    first = _by_length(labelled, lengths, fit.batch, fit.steps, rng)
    second = _by_length(others, lengths, fit.unlabelled_batch, fit.steps, rng)
    first.sort(key=lambda places: int(lengths[places].max()))  # batches of like length meet
    second.sort(key=lambda places: int(lengths[places].max()))
    together = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    return [together[number] for number in rng.permutation(len(together))]


def _by_length(
    places: NDArray[np.int64], lengths: NDArray[np.int64], size: int, steps: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of `size` of these clips, of like length, in random order: all clips once, or `steps` batches."""
    rounds = math.ceil(steps * size / len(places)) if steps else 1
    order = np.concatenate([rng.permutation(places) for _ in range(rounds)])[: steps * size or None]
    groups = [order[i : i + size * BUCKET] for i in range(0, len(order), size * BUCKET)]
    ordered = [group[np.argsort(lengths[group], kind="stable")] for group in groups]
    batches = [group[i : i + size] for group in ordered for i in range(0, len(group), size)]
    return [batches[number] for number in rng.permutation(len(batches))]


def plain_batches(data: Dataset, targets: Sequence[str], size: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Every clip once, as it is, by length; with the places of its clips."""
    order = np.argsort([clip.samples for clip in data.clips], kind="stable")
    for start in range(0, len(order), size):
        places = order[start : start + size]
        yield places, collate(data, places, targets)


def collate(data: Dataset, places: NDArray[np.int64], targets: Sequence[str]) -> Batch:
    """Clips at these places -> one padded batch."""
    clips = [data.clips[place] for place in places]
    inputs: dict[str, Tensor] = {}
    for name in clips[0].features:
        rows, counts = pad([clip.features[name].astype(np.float32) for clip in clips], PADDED_ROWS[name])
        inputs[name] = torch.from_numpy(rows)
        if name == "encoder":
            inputs["encoder_counts"] = torch.from_numpy(counts)
    labels = np.empty((len(clips), len(targets)), dtype=np.float32)
    for column, target in enumerate(named(list(targets))):
        labels[:, column] = target.to_training(data.labels[target.key][places])
    return Batch(inputs, torch.tensor([clip.samples for clip in clips]), torch.from_numpy(labels))


def moved(batch: Batch, level_db: float, rng: np.random.Generator) -> Batch:
    """Another playback level: an offset on log-mel (its floor aside). The encoder does not hear the level."""
    if level_db <= 0 or "logmel" not in batch.inputs:
        return batch
    offset = rng.uniform(-level_db, level_db, len(batch.samples)).astype(np.float32) / 10
    moved = batch.inputs["logmel"] + torch.from_numpy(offset)[:, None, None]
    return Batch({**batch.inputs, "logmel": moved.clamp(min=-10.0)}, batch.samples, batch.labels)
