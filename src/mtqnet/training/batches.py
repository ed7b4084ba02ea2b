"""Clips with labels, and padded batches of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.audio.features import MEL_HOP
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.audio.windows import pad
from mtqnet.corpus.table import DISAGREEMENT
from mtqnet.errors import UsageError
from mtqnet.labels.ensemble import loss_weights
from mtqnet.targets import QUEST, named
from mtqnet.training import augment
from mtqnet.training.config import FitConfig
from mtqnet.training.features import Clip
from mtqnet.training.parallel import SINGLE, Process
from mtqnet.training.parts import PartLabels, Parts, with_pieces

BUCKET = 20
"""Number of batches whose clips are sorted by length together: little padding, in a random order"""
TEACHER_FEATURES = "teacher_features"
"""View with the teacher's intermediate features (distill.py); no front end computes it"""
PADDED_ROWS = {"logmel": 64, "spectrum": 40, "encoder": 8, TEACHER_FEATURES: 8}
"""The rows of a batch are a multiple of this (0.64 s in each view): torch prepares each layer for each new shape,
which took a sixth of the training time when every batch had its own length"""

Labels = Mapping[str, NDArray[np.float64]]
"""Values (clips,) by target key in the target's unit; NaN where unknown"""
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Clips and their labels, in the same order."""

    clips: Sequence[Clip]
    labels: Labels
    weights: Labels = field(default_factory=dict)
    """By target key, (clips,): weight of each label in the loss of that target, 1 on average. Absent targets: 1"""
    parts: Parts | None = None
    """Causes of the clips, and their parts of other quality; None if unknown"""
    kinds: Sequence[tuple[str, ...]] = ()
    """Kinds of processing of each clip (labels/ensemble.py); empty if unknown"""
    speech: Indices | None = None
    """(clips,): number of the recording of speech that each clip was made from; None if unknown"""

    def with_labels(self, labels: Labels) -> Dataset:
        """Return the same clips with these labels added or replaced."""
        return replace(self, labels={**self.labels, **labels})

    def take(self, indices: Indices) -> Dataset:
        """Return the clips at these indices, in that order."""
        labels, weights = ({key: v[indices] for key, v in part.items()} for part in (self.labels, self.weights))
        parts = None if self.parts is None else self.parts.take(indices)
        kinds = [self.kinds[index] for index in indices] if self.kinds else ()
        speech = None if self.speech is None else self.speech[indices]
        return Dataset([self.clips[index] for index in indices], labels, weights, parts, kinds, speech)

    def without(self, view: str) -> Dataset:
        """Return the same clips without one view."""
        clips = [replace(c, features={k: v for k, v in c.features.items() if k != view}) for c in self.clips]
        return replace(self, clips=clips)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(clips,): whether a clip has an S-, N- or G-MOS label."""
        known = [~np.isnan(self.labels[target.key]) for target in QUEST if target.key in self.labels]
        return np.any(known, axis=0) if known else np.zeros(len(self.clips), dtype=bool)

    @property
    def encoder_width(self) -> int:
        """Number of columns of an encoder frame; 0 without encoder frames."""
        view = self.clips[0].features.get("encoder")
        return 0 if view is None else int(view.shape[1])


@dataclass(frozen=True)
class Batch:
    """Padded features, sample counts (batch,), and labels (batch, targets) on the training scale."""

    inputs: dict[str, Tensor]
    samples: Tensor
    labels: Tensor
    weights: Tensor | None = None
    """(batch, targets): weights of the labels in the loss; by default 1"""
    parts: PartLabels | None = None
    """Labels of the frames; by default those of the clips"""
    speech: Tensor | None = None
    """(batch,): number of the recording of speech that each clip was made from; None if unknown"""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        inputs = {name: view.to(device) for name, view in self.inputs.items()}
        weights = None if self.weights is None else self.weights.to(device)
        parts = None if self.parts is None else self.parts.to(device)
        speech = None if self.speech is None else self.speech.to(device)
        return Batch(inputs, self.samples.to(device), self.labels.to(device), weights, parts, speech)


def labels_of(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Labels:
    """Convert the label columns of a table, as numbers or text, into arrays; an empty or absent cell is NaN."""
    return {target.key: np.array([_number(row.get(target.label)) for row in rows]) for target in named(list(keys))}


def weights_of(rows: Sequence[Mapping[str, Any]]) -> Labels:
    """Convert the disagreement columns of a corpus into loss weights (labels/ensemble.py); empty without them."""
    keys = [target.key for target in QUEST if rows and target.key + DISAGREEMENT in rows[0]]
    columns = {key: np.array([_number(row[key + DISAGREEMENT]) for row in rows]) for key in keys}
    return {key: loss_weights(values) for key, values in columns.items()}


def training_batches(
    data: Dataset, targets: Sequence[str], fit: FitConfig, rng: np.random.Generator, process: Process = SINGLE
) -> Iterator[Batch]:
    """Yield the batches of one epoch: random, of clips of similar length, with random level and augmentation.

    Every clip occurs once. With `fit.steps`, that many batches are drawn and each clip occurs equally often. With
    `fit.unlabelled_batch`, that many clips without S/N/G labels are added to each batch of labelled clips. Of
    several processes, each yields its part of every batch.
    """
    for indices in _drawn(data, fit, rng):
        own = indices[process.rank :: process.world]
        batch = collate(data, own if len(own) else indices[:1], targets)
        yield mixed(varied(batch, fit.level_db, fit.augment, rng), fit.mix, rng)


def steps_of(data: Dataset, fit: FitConfig) -> int:
    """Return the number of batches of one epoch."""
    return fit.steps or math.ceil(len(data.clips) / fit.batch)


def evaluation_indices(data: Dataset, size: int) -> Iterator[Indices]:
    """Yield the clip indices of batches that contain every clip once, sorted by length."""
    order = np.argsort([clip.samples for clip in data.clips], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def collate(data: Dataset, indices: Indices, targets: Sequence[str]) -> Batch:
    """Pad the clips at these indices into one batch."""
    clips = [data.clips[index] for index in indices]
    inputs: dict[str, Tensor] = {}
    for name in clips[0].features:
        rows, counts = pad([clip.features[name].astype(np.float32) for clip in clips], PADDED_ROWS[name])
        inputs[name] = torch.from_numpy(rows)
        if name in ("encoder", TEACHER_FEATURES):
            inputs[f"{name}_counts"] = torch.from_numpy(counts)
    labels = np.empty((len(indices), len(targets)), dtype=np.float32)
    for column, target in enumerate(named(list(targets))):
        labels[:, column] = target.to_training(data.labels[target.key][indices])
    samples = torch.tensor([clip.samples for clip in clips])
    known = torch.from_numpy(labels)
    speech = None if data.speech is None else torch.from_numpy(data.speech[indices])
    weights, parts = _weights(data, indices, targets), _parts(data, indices, known, inputs)
    return Batch(inputs, samples, known, weights, parts, speech)


def varied(batch: Batch, level_db: float, augment_probability: float, rng: np.random.Generator) -> Batch:
    """Change level and microphone response of each clip at random, on log-mel.

    Args:
        batch: The batch.
        level_db: Largest change of the level in dB. The encoder's frames do not depend on the level.
        augment_probability: Probability of a random microphone response.
        rng: Source of the random numbers.

    Raises:
        UsageError: For augmentation of clips that have views other than log-mel, which would not change.
    """
    if level_db > 0 and "logmel" in batch.inputs:
        batch = _with_logmel(batch, augment.random_level(batch.inputs["logmel"], level_db, rng))
    if augment_probability <= 0:
        return batch
    own = {"logmel", TEACHER_FEATURES, f"{TEACHER_FEATURES}_counts"}
    if others := sorted(set(batch.inputs) - own):
        raise UsageError(
            f"augment works for clips whose only view is 'logmel', found also {', '.join(others)}: set augment = 0"
        )
    logmel = augment.random_response(batch.inputs["logmel"], batch.samples, augment_probability, rng)
    return _with_logmel(batch, logmel)


def mixed(batch: Batch, probability: float, rng: np.random.Generator) -> Batch:
    """Replace a piece of some clips by a piece of another (parts.with_pieces).

    Raises:
        UsageError: If the clips have views other than log-mel, or no recipes that tell their causes.
    """
    if probability <= 0:
        return batch
    counts = f"{TEACHER_FEATURES}_counts"
    views = {name: view for name, view in batch.inputs.items() if name != counts}
    if batch.parts is None or set(views) - {"logmel", TEACHER_FEATURES}:
        raise UsageError("mix works for clips of a corpus whose only view is 'logmel': set mix = 0")
    views, labels, parts = with_pieces(views, batch.samples, batch.labels, batch.parts, probability, rng)
    return replace(batch, inputs={**batch.inputs, **views}, labels=labels, parts=parts)


def _parts(data: Dataset, indices: Indices, labels: Tensor, inputs: Mapping[str, Tensor]) -> PartLabels | None:
    """Labels of the frames; unknown for clips with a splice, whose parts were not labelled."""
    if data.parts is None or "logmel" not in inputs:
        return None
    part = data.parts.take(indices)
    spliced = torch.from_numpy(part.span_s[:, 1:] > 0)
    frames = torch.where(spliced, torch.full_like(labels, torch.nan), labels)
    span, outside, inside = (
        torch.from_numpy(values.astype(np.float32)) for values in (part.span_s, part.outside, part.inside)
    )
    padded_s = inputs["logmel"].shape[1] * MEL_HOP / SAMPLE_RATE
    return PartLabels(span, frames, frames, outside, inside, padded_s)


def _with_logmel(batch: Batch, logmel: Tensor) -> Batch:
    return replace(batch, inputs={**batch.inputs, "logmel": logmel})


def _number(cell: float | str | None) -> float:
    return float("nan") if cell is None or cell == "" else float(cell)


def _weights(data: Dataset, indices: Indices, targets: Sequence[str]) -> Tensor | None:
    """(clips, targets), or None if no target has weights."""
    if not set(targets) & set(data.weights):
        return None
    ones = np.ones(len(indices))
    columns = [data.weights[key][indices] if key in data.weights else ones for key in targets]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def _drawn(data: Dataset, fit: FitConfig, rng: np.random.Generator) -> list[Indices]:
    """Draw the clip indices of each batch of an epoch."""
    lengths = np.array([clip.samples for clip in data.clips])
    everything, labelled = np.arange(len(lengths)), np.flatnonzero(data.labelled)
    others = np.setdiff1d(everything, labelled)
    if not fit.unlabelled_batch or not len(labelled) or not len(others):
        speech = data.speech if fit.pairs else None
        return _by_length(everything, lengths, fit.batch, fit.steps, rng, speech)
    first = _by_length(labelled, lengths, fit.batch, fit.steps, rng)
    second = _by_length(others, lengths, fit.unlabelled_batch, fit.steps, rng)
    first.sort(key=lambda indices: int(lengths[indices].max()))  # combine batches of similar length
    second.sort(key=lambda indices: int(lengths[indices].max()))
    together = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    return [together[number] for number in rng.permutation(len(together))]


def _by_length(
    indices: Indices,
    lengths: Indices,
    size: int,
    steps: int,
    rng: np.random.Generator,
    speech: Indices | None = None,
) -> list[Indices]:
    """Draw batches of `size` clips of similar length in random order: all clips once, or `steps` batches.

    With `speech`, the recording of each clip, two clips of the same recording are neighbours where possible, and
    are sorted by the length of the longer one.
    """
    rounds = math.ceil(steps * size / len(indices)) if steps else 1
    shuffled = [rng.permutation(indices) for _ in range(rounds)]
    if speech is None:
        order = np.concatenate(shuffled)[: steps * size or None]
        key = lengths
    else:
        pairs = [pair for each in shuffled for pair in _pairs(each, speech, rng)]
        order = np.concatenate(pairs)[: steps * size or None]
        key = lengths.copy()
        for pair in pairs:
            key[pair] = lengths[pair].max()
    groups = [order[i : i + size * BUCKET] for i in range(0, len(order), size * BUCKET)]
    ordered = [group[np.argsort(key[group], kind="stable")] for group in groups]
    batches = [group[i : i + size] for group in ordered for i in range(0, len(group), size)]
    return [batches[number] for number in rng.permutation(len(batches))]


def _pairs(order: Indices, speech: Indices, rng: np.random.Generator) -> list[Indices]:
    """Divide clips into pairs of the same recording, and single clips where their number is odd, in random
    order."""
    by_speech = order[np.argsort(speech[order], kind="stable")]
    ends = np.flatnonzero(np.diff(speech[by_speech])) + 1
    pairs = [clips[i : i + 2] for clips in np.split(by_speech, ends) for i in range(0, len(clips), 2)]
    return [pairs[number] for number in rng.permutation(len(pairs))]
