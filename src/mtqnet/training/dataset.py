"""Label table + features -> masked batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.audio.features import SILENT
from mtqnet.audio.windows import pad
from mtqnet.corpus.table import DISAGREEMENT
from mtqnet.errors import UsageError
from mtqnet.labels.ensemble import loss_weights
from mtqnet.targets import QUEST, named
from mtqnet.training.colour import coloured
from mtqnet.training.config import FitConfig
from mtqnet.training.dropout import Rows
from mtqnet.training.frontend import Clip
from mtqnet.training.parallel import ALONE, Share

BUCKET = 20
"""Batches whose clips are sorted by length together: little padding, still a random order."""

HINT = "hint"
"""A view that no front end makes: what a teacher hears in the clip (hints.py)"""
PADDED_ROWS = {"logmel": 64, "spectrum": 40, "wave": 10_240, "encoder": 8, HINT: 8}
"""Rows of which a batch has a whole multiple (0.64 s of each view): a new shape costs each layer of torch its
preparation for it, a sixth of all time where every batch has its own."""

Labels = Mapping[str, NDArray[np.float64]]
"""Values by target key in the target's own unit, (clips,) each; NaN where unknown."""


@dataclass(frozen=True)
class Dataset:
    """Clips and their labels, in one order."""

    clips: Sequence[Clip]
    labels: Labels
    weights: Labels = field(default_factory=dict)
    """By target key, (clips,): weight of each clip in the loss of that target, 1 on average. Absent targets: 1"""

    def with_labels(self, labels: Labels) -> Dataset:
        """The same clips with other labels added or in place."""
        return replace(self, labels={**self.labels, **labels})

    def take(self, places: NDArray[np.int64]) -> Dataset:
        """The clips at these places, in that order."""
        labels, weights = (
            {key: values[places] for key, values in part.items()} for part in (self.labels, self.weights)
        )
        return Dataset([self.clips[p] for p in places], labels, weights)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(clips,): which carry an S-, N- or G-MOS label."""
        known = [~np.isnan(self.labels[target.key]) for target in QUEST if target.key in self.labels]
        return np.any(known, axis=0) if known else np.zeros(len(self.clips), dtype=bool)


@dataclass(frozen=True)
class Part:
    """What a share of a batch has to know of the whole."""

    rows: Rows
    counts: Tensor
    """(targets,): labels of the whole batch"""

    def to(self, device: torch.device) -> Part:
        return Part(Rows(self.rows.places.to(device), self.rows.size), self.counts.to(device))


@dataclass(frozen=True)
class Batch:
    """Padded features, sample counts (batch,), labels (batch, targets) on the training scale."""

    inputs: dict[str, Tensor]
    samples: Tensor
    labels: Tensor
    part: Part | None = None
    """None where these are all of its clips"""
    weights: Tensor | None = None
    """(batch, targets): weights in the loss; None where all are 1"""

    def to(self, device: torch.device) -> Batch:
        inputs = {name: view.to(device) for name, view in self.inputs.items()}
        part = None if self.part is None else self.part.to(device)
        weights = None if self.weights is None else self.weights.to(device)
        return Batch(inputs, self.samples.to(device), self.labels.to(device), part, weights)


def labels_of(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Labels:
    """Columns of a label table, as numbers or text -> values; an empty or absent cell is NaN."""
    return {target.key: np.array([_number(row.get(target.label)) for row in rows]) for target in named(list(keys))}


def weights_of(rows: Sequence[Mapping[str, Any]]) -> Labels:
    """Loss weights from the disagreement columns of a corpus (labels/ensemble.py); empty where it has none."""
    keys = [target.key for target in QUEST if rows and target.key + DISAGREEMENT in rows[0]]
    columns = {key: np.array([_number(row[key + DISAGREEMENT]) for row in rows]) for key in keys}
    return {key: loss_weights(values) for key, values in columns.items()}


def _number(cell: float | str | None) -> float:
    return float("nan") if cell is None or cell == "" else float(cell)


def training_batches(
    data: Dataset, targets: Sequence[str], fit: FitConfig, rng: np.random.Generator, share: Share = ALONE
) -> Iterator[Batch]:
    """One epoch: random batches of clips of like length, each clip's level and colour moved at random.

    Every clip comes once; or, with `fit.steps`, so many batches are drawn, each clip as often as any other. With
    `fit.unlabelled_batch`, so many clips without S/N/G labels join each batch of clips with them. Of each batch a
    `share` reads its own clips alone; its draws are those of the whole.
    """
    for places in _drawn(data, fit, rng):
        if share.world == 1:
            yield _varied(collate(data, places, targets), fit, rng)
        else:
            yield _part(data, places, targets, fit, rng, share)


def _part(
    data: Dataset, places: NDArray[np.int64], targets: Sequence[str], fit: FitConfig,
    rng: np.random.Generator, share: Share,
) -> Batch:  # fmt: skip
    """One process's clips of a batch, padded as the whole batch is."""
    rows = share.rows(len(places))
    labels = _labels(data, places, targets)
    idle = not len(rows)  # a batch of fewer clips than processes: a clip without labels, which teaches nothing
    rows = np.zeros(1, dtype=np.int64) if idle else rows
    whole = collate(data, places[rows], targets, _rows(data, places))
    part = Part(Rows(torch.from_numpy(rows), len(places)), (~torch.isnan(labels)).sum(dim=0))
    own = torch.full_like(whole.labels, torch.nan) if idle else whole.labels
    return _varied(replace(whole, labels=own, part=part), fit, rng)


def _varied(batch: Batch, fit: FitConfig, rng: np.random.Generator) -> Batch:
    return recoloured(moved(batch, fit.level_db, rng), fit.colour, rng)


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


def plain_places(data: Dataset, size: int) -> Iterator[NDArray[np.int64]]:
    """Every clip once, by length: places of the clips of each batch."""
    order = np.argsort([clip.samples for clip in data.clips], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def collate(
    data: Dataset, places: NDArray[np.int64], targets: Sequence[str], least: Mapping[str, int] | None = None
) -> Batch:
    """Clips at these places -> one padded batch, of `least` rows of each view or more."""
    clips = [data.clips[place] for place in places]
    inputs: dict[str, Tensor] = {}
    for name in clips[0].features:
        rows, counts = pad([clip.features[name].astype(np.float32) for clip in clips], PADDED_ROWS[name])
        missing = max(0, (least or {}).get(name, 0) - rows.shape[1])
        inputs[name] = torch.from_numpy(np.pad(rows, ((0, 0), (0, missing), (0, 0))) if missing else rows)
        if name in ("encoder", HINT):
            inputs[f"{name}_counts"] = torch.from_numpy(counts)
    samples, labels = torch.tensor([clip.samples for clip in clips]), _labels(data, places, targets)
    return Batch(inputs, samples, labels, weights=_weights(data, places, targets))


def _weights(data: Dataset, places: NDArray[np.int64], targets: Sequence[str]) -> Tensor | None:
    """(clips, targets), or None where no target has weights"""
    if not set(targets) & set(data.weights):
        return None
    ones = np.ones(len(places))
    columns = [data.weights[key][places] if key in data.weights else ones for key in targets]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def _labels(data: Dataset, places: NDArray[np.int64], targets: Sequence[str]) -> Tensor:
    """(clips, targets) on the training scale"""
    labels = np.empty((len(places), len(targets)), dtype=np.float32)
    for column, target in enumerate(named(list(targets))):
        labels[:, column] = target.to_training(data.labels[target.key][places])
    return torch.from_numpy(labels)


def _rows(data: Dataset, places: NDArray[np.int64]) -> dict[str, int]:
    """Rows that `collate` would give each view of these clips; reads none of them."""
    clips = [data.clips[place] for place in places]
    longest = {name: max(len(clip.features[name]) for clip in clips) for name in clips[0].features}
    return {name: -(-rows // PADDED_ROWS[name]) * PADDED_ROWS[name] for name, rows in longest.items()}


def moved(batch: Batch, level_db: float, rng: np.random.Generator) -> Batch:
    """Another playback level: an offset on log-mel (its floor aside). The encoder does not hear the level."""
    if level_db <= 0 or "logmel" not in batch.inputs:
        return batch
    clips = len(batch.samples) if batch.part is None else batch.part.rows.size
    offset = torch.from_numpy(rng.uniform(-level_db, level_db, clips).astype(np.float32) / 10)
    own = offset if batch.part is None else offset[batch.part.rows.places]
    moved = batch.inputs["logmel"] + own[:, None, None]
    return replace(batch, inputs={**batch.inputs, "logmel": moved.clamp(min=SILENT)})


def recoloured(batch: Batch, chance: float, rng: np.random.Generator) -> Batch:
    """Other microphones (colour.py). Raises UsageError where a clip has views that would not show it."""
    if chance <= 0:
        return batch
    if others := sorted(set(batch.inputs) - {"logmel", HINT, f"{HINT}_counts"}):
        raise UsageError(f"colour is for clips whose only view is 'logmel', not {', '.join(others)}: set it to 0")
    rows = None if batch.part is None else batch.part.rows
    logmel = coloured(batch.inputs["logmel"], batch.samples, chance, rng, rows)
    return replace(batch, inputs={**batch.inputs, "logmel": logmel})
