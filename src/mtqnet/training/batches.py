"""Clips with labels, and padded batches of them; those of the training are changed at random.

A handset, or a treble control, changes the spectrum of a source without degrading the speech: compared with a
reference of the same spectrum, PESQ, STOI and SDI do not change, and P.835 listeners rate clean speech through a
handset's filter like any clean speech (SIG 4.3 to 4.4 in the rated narrowband conditions). A network whose
training corpus has few such sources predicts too low scores for them. So clips are filtered at random and keep
their labels (`random_response`). On log-mel a filter is one offset per band.

A clip has at most one part whose processing differs from the rest: a splice of the corpus
(corpus/degradations/network.py), or a piece of another clip that is inserted during training (`with_pieces`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.audio.features import MEL_HOP, SILENT, mel_matrix
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.audio.windows import pad
from mtqnet.corpus.degradations.device import handset_db, tone_db
from mtqnet.errors import UsageError
from mtqnet.labels.speech import EDGE_HZ, NOTHING_DB
from mtqnet.targets import QUEST, named
from mtqnet.training.config import FitConfig
from mtqnet.training.features import Clip
from mtqnet.training.model import masked_mean

BUCKET = 20
"""Number of batches whose clips are sorted by length together: little padding, in a random order"""
TEACHER_FEATURES = "teacher_features"
"""View with the teacher's intermediate features (distill.py); no front end computes it"""
PADDED_ROWS = {"logmel": 64, "spectrum": 40, "encoder": 8, TEACHER_FEATURES: 8}
"""The rows of a batch are a multiple of this (0.64 s in each view): torch prepares each layer for each new shape,
which took a sixth of the training time when every batch had its own length"""

HANDSETS = ((True, False), (False, False), (False, True))
"""Arguments of handset_db: modified, receiving. Only the first passes wideband speech"""
WIDE_STRENGTH, NARROW_STRENGTH = 0.6, 1.2
"""Largest fraction of a handset's response in dB. A larger one would limit the band of a wideband clip, which is a
degradation"""
SLOPE_DB, RESONANCE_DB, MOST_DB = 4.0, 8.0, 12.0
"""Tone control: tilt in dB per octave about 1 kHz, resonance in dB, and the largest sum of both"""
LOWEST_EDGE_HZ, HIGHEST_EDGE_HZ, BEYOND_DB = 3200.0, 3900.0, -80.0
"""Upper edge of narrowband systems and the level above it; in most clips of the corpus the edge is above 3.8
kHz"""
SHORTEST_S, LONGEST_S = 0.6, 4.0
"""Length of the piece that `with_pieces` inserts"""
FRAME_ROWS = 8
"""Rows of log-mel, 80 ms: the piece begins and ends at multiples of it"""

Array = NDArray[np.float64]
Labels = Mapping[str, Array]
"""Values (clips,) by target key in the target's unit; NaN where unknown"""
Indices = NDArray[np.int64]
Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """Causes of clips, and the part of each that differs from the rest."""

    span_s: Array
    """(clips, 2): begin and end of the part in seconds; both 0 without one"""
    outside: Array
    """(clips, causes): 1 present, 0 absent, NaN unknown"""
    inside: Array
    """The same for the part; equal to `outside` without one"""

    def take(self, indices: Indices) -> Parts:
        """Return those of the clips at these indices."""
        return Parts(self.span_s[indices], self.outside[indices], self.inside[indices])


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
    """Kinds of processing of each clip (corpus/ensemble.py); empty if unknown"""
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
class PartLabels:
    """Labels of the frames of a batch."""

    span_s: Tensor
    """(batch, 2)"""
    outside: Tensor
    """(batch, targets): labels on the training scale; NaN where unknown"""
    inside: Tensor
    causes_outside: Tensor
    """(batch, causes)"""
    causes_inside: Tensor
    padded_s: float
    """Duration of the padded batch in seconds"""

    def within(self, frames: int) -> Tensor:
        """(batch, frames): whether the centre of a frame is in the part."""
        centre = (torch.arange(frames, device=self.span_s.device) + 0.5) * (self.padded_s / frames)
        return (centre >= self.span_s[:, :1]) & (centre < self.span_s[:, 1:])

    def to(self, device: torch.device) -> PartLabels:
        """Return these labels on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Batch:
    """Padded features, sample counts (batch,), and labels (batch, targets) on the training scale."""

    inputs: dict[str, Tensor]
    samples: Tensor
    labels: Tensor
    weights: Tensor
    """(batch, targets): weights of the labels in the loss"""
    parts: PartLabels | None
    """Labels of the frames; None: those of the clips"""
    speech: Tensor | None
    """(batch,): number of the recording of speech that each clip was made from; None if unknown"""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        inputs = {name: view.to(device) for name, view in self.inputs.items()}
        parts = None if self.parts is None else self.parts.to(device)
        speech = None if self.speech is None else self.speech.to(device)
        return Batch(
            inputs, self.samples.to(device), self.labels.to(device), self.weights.to(device), parts, speech
        )


def training_batches(
    data: Dataset, targets: Sequence[str], fit: FitConfig, rng: np.random.Generator, pairs: bool = False,
    rank: int = 0, world: int = 1,
) -> Iterator[Batch]:  # fmt: skip
    """Yield the batches of one epoch: random, of clips of similar length, with random level and augmentation.

    Every clip occurs once. With `fit.steps`, that many batches are drawn and each clip occurs equally often. With
    `fit.unlabelled_batch`, that many clips without S/N/G labels are added to each batch of labelled clips. With
    `pairs`, two clips of the same recording of speech are in the same batch where possible. The process `rank` of
    `world` processes yields its part of every batch.
    """
    for indices in _drawn(data, fit, rng, pairs):
        own = indices[rank::world]
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
    labels, weights = torch.empty(len(indices), len(targets)), torch.ones(len(indices), len(targets))
    for column, target in enumerate(named(list(targets))):
        labels[:, column] = torch.from_numpy(target.to_training(data.labels[target.key][indices]))
        if target.key in data.weights:
            weights[:, column] = torch.from_numpy(data.weights[target.key][indices])
    samples = torch.tensor([clip.samples for clip in clips])
    speech = None if data.speech is None else torch.from_numpy(data.speech[indices])
    return Batch(inputs, samples, labels, weights, _parts(data, indices, labels, inputs), speech)


def _parts(data: Dataset, indices: Indices, labels: Tensor, inputs: Mapping[str, Tensor]) -> PartLabels | None:
    """Labels of the frames; unknown for clips with a splice, whose parts were not labelled."""
    if data.parts is None or "logmel" not in inputs:
        return None
    span, outside, inside = (
        torch.from_numpy(values.astype(np.float32)) for values in vars(data.parts.take(indices)).values()
    )
    frames = torch.where(span[:, 1:] > 0, torch.full_like(labels, torch.nan), labels)
    return PartLabels(span, frames, frames, outside, inside, inputs["logmel"].shape[1] * MEL_HOP / SAMPLE_RATE)


def _drawn(data: Dataset, fit: FitConfig, rng: np.random.Generator, pairs: bool) -> list[Indices]:
    """Draw the clip indices of each batch of an epoch."""
    lengths = np.array([clip.samples for clip in data.clips])
    everything, labelled = np.arange(len(lengths)), np.flatnonzero(data.labelled)
    others = np.setdiff1d(everything, labelled)
    if not fit.unlabelled_batch or not len(labelled) or not len(others):
        return _by_length(everything, lengths, fit.batch, fit.steps, rng, data.speech if pairs else None)
    first = _by_length(labelled, lengths, fit.batch, fit.steps, rng)
    second = _by_length(others, lengths, fit.unlabelled_batch, fit.steps, rng)
    for batches in (first, second):  # combine batches of similar length
        batches.sort(key=lambda indices: int(lengths[indices].max()))
    together = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    return [together[number] for number in rng.permutation(len(together))]


def _by_length(
    indices: Indices, lengths: Indices, size: int, steps: int, rng: np.random.Generator,
    speech: Indices | None = None,
) -> list[Indices]:  # fmt: skip
    """Draw batches of `size` clips of similar length in random order: all clips once, or `steps` batches.

    With `speech`, the recording of each clip, two clips of the same recording are neighbours where possible, and
    are sorted by the length of the longer one.
    """
    rounds = math.ceil(steps * size / len(indices)) if steps else 1
    parts, key = [rng.permutation(indices) for _ in range(rounds)], lengths.copy()
    if speech is not None:
        parts = [pair for each in parts for pair in _pairs(each, speech, rng)]
        for pair in parts:
            key[pair] = lengths[pair].max()
    order = np.concatenate(parts)[: steps * size or None]
    groups = [order[i : i + size * BUCKET] for i in range(0, len(order), size * BUCKET)]
    ordered = [group[np.argsort(key[group], kind="stable")] for group in groups]
    batches = [group[i : i + size] for group in ordered for i in range(0, len(group), size)]
    return [batches[number] for number in rng.permutation(len(batches))]


def _pairs(order: Indices, speech: Indices, rng: np.random.Generator) -> list[Indices]:
    """Divide clips into pairs of the same recording, and single clips where their number is odd, in random order."""
    by_speech = order[np.argsort(speech[order], kind="stable")]
    ends = np.flatnonzero(np.diff(speech[by_speech])) + 1
    pairs = [clips[i : i + 2] for clips in np.split(by_speech, ends) for i in range(0, len(clips), 2)]
    return [pairs[number] for number in rng.permutation(len(pairs))]


def varied(batch: Batch, level_db: float, probability: float, rng: np.random.Generator) -> Batch:
    """Change the level of each clip by up to `level_db`, and its microphone response with this probability.

    This is done on log-mel; the encoder's frames do not depend on the level.

    Raises:
        UsageError: For a response of clips that have views other than log-mel, which would not change.
    """
    if level_db > 0 and "logmel" in batch.inputs:
        level = rng.uniform(-level_db, level_db, len(batch.samples)).astype(np.float32) / 10
        logmel = (batch.inputs["logmel"] + torch.from_numpy(level)[:, None, None]).clamp(min=SILENT)
        batch = replace(batch, inputs={**batch.inputs, "logmel": logmel})
    if probability <= 0:
        return batch
    if others := sorted(set(batch.inputs) - {"logmel", TEACHER_FEATURES, f"{TEACHER_FEATURES}_counts"}):
        raise UsageError(
            f"augment works for clips whose only view is 'logmel', found also {', '.join(others)}: set augment = 0"
        )
    logmel = random_response(batch.inputs["logmel"], batch.samples, probability, rng)
    return replace(batch, inputs={**batch.inputs, "logmel": logmel})


def mixed(batch: Batch, probability: float, rng: np.random.Generator) -> Batch:
    """Replace a piece of some clips by a piece of another (`with_pieces`).

    Raises:
        UsageError: If the clips have views other than log-mel, or no recipes that tell their causes.
    """
    if probability <= 0:
        return batch
    views = {name: view for name, view in batch.inputs.items() if not name.endswith("_counts")}
    if batch.parts is None or set(views) - {"logmel", "encoder", TEACHER_FEATURES}:
        raise UsageError("mix works for clips of a corpus whose views are 'logmel' and 'encoder': set mix = 0")
    views, labels, parts = with_pieces(views, batch.samples, batch.labels, batch.parts, probability, rng)
    return replace(batch, inputs={**batch.inputs, **views}, labels=labels, parts=parts)


def random_response(logmel: Tensor, samples: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """Apply a random microphone response to each clip, (batch, frames, 80), with this probability."""
    wide, narrow = random_offsets(len(logmel), probability, rng)
    levels = np.where(is_narrow(logmel, samples)[:, None], narrow, wide) / 10
    return (logmel + torch.from_numpy(levels)[:, None, :]).clamp(min=SILENT)


def random_offsets(clips: int, probability: float, rng: np.random.Generator) -> tuple[Levels, Levels]:
    """Draw offsets in dB per band, (clips, 80): for wideband clips, and for narrowband clips; 0 if not applied."""
    hertz = band_hz()
    used, handset, cut = (rng.random(clips)[:, None] < chance for chance in (probability, 0.5, 0.5))
    kind, strength = rng.integers(len(HANDSETS), size=clips), rng.random(clips)[:, None]
    slope, resonance = (rng.uniform(-most, most, clips)[:, None] for most in (SLOPE_DB, RESONANCE_DB))
    centre, q = 200 * 30 ** rng.random(clips)[:, None], rng.uniform(0.7, 4, clips)[:, None]
    tone = tone_db(hertz, slope, resonance, centre, q, MOST_DB)
    edge = rng.uniform(LOWEST_EDGE_HZ, HIGHEST_EDGE_HZ, clips)[:, None]
    curves = np.stack([handset_db(hertz, *ends) for ends in HANDSETS])
    wide = np.where(handset, WIDE_STRENGTH * strength * curves[0], tone)
    narrow = np.where(handset, NARROW_STRENGTH * strength * curves[kind], tone)
    narrow = np.where(cut & (hertz > edge), BEYOND_DB, narrow)
    return (wide * used).astype(np.float32), (narrow * used).astype(np.float32)


def is_narrow(logmel: Tensor, samples: Tensor) -> NDArray[np.bool_]:
    """(batch,): whether a clip has no power above EDGE_HZ, by the criterion of labels/speech.py."""
    width = torch.from_numpy(1 / mel_matrix().max(axis=0))  # triangles of unit area: mel power is a density
    power = masked_mean(10**logmel, samples // MEL_HOP) * width
    upper = power[:, torch.from_numpy(band_hz() > EDGE_HZ)].sum(dim=1)
    return np.asarray((upper < power.sum(dim=1) * 10 ** (-NOTHING_DB / 10)).numpy())


@lru_cache(maxsize=1)
def band_hz() -> Array:
    """(80,): centre frequencies of the mel bands in Hz."""
    weights = mel_matrix().astype(np.float64)
    return np.asarray(np.linspace(0, SAMPLE_RATE / 2, len(weights)) @ weights / weights.sum(axis=0))


def with_pieces(
    views: Mapping[str, Tensor], samples: Tensor, labels: Tensor, parts: PartLabels, probability: float,
    rng: np.random.Generator,
) -> tuple[dict[str, Tensor], Tensor, PartLabels]:  # fmt: skip
    """Replace a piece of some clips by a piece of another clip of the batch, at the same level (partial mix-up).

    Args:
        views: `logmel` (batch, rows, 80), and further views with one row per 80 ms.
        samples: Lengths of the clips, (batch,).
        labels: (batch, targets)
        parts: Labels of the frames.
        probability: Fraction of the clips that get a piece. Clips with a splice do not.
        rng: Source of the random numbers.

    Returns:
        The views, the labels of the whole clips (NaN for a clip with a piece) and the labels of the frames.
    """
    frames = (samples // (MEL_HOP * FRAME_ROWS)).tolist()
    level = mean_level(views["logmel"], samples)
    plain = (parts.span_s[:, 1] == 0).tolist()
    new = {name: view.clone() for name, view in views.items()}
    labels, spans = labels.clone(), parts.span_s.clone()
    inside, causes = parts.inside.clone(), parts.causes_inside.clone()
    second = FRAME_ROWS * MEL_HOP / SAMPLE_RATE
    least = round(SHORTEST_S / second)
    for host, donor in enumerate(rng.permutation(len(samples)).tolist()):
        use, part, place, source = rng.random(4)
        most = min(round(LONGEST_S / second), int(0.7 * frames[host]), frames[donor])
        if use > probability or host == donor or not (plain[host] and plain[donor]) or most <= least:
            continue
        length = least + int(part * (most - least))
        to, at = int(place * (frames[host] - length)), int(source * (frames[donor] - length))
        for name, view in views.items():
            rows, gain = (FRAME_ROWS, level[host] - level[donor]) if name == "logmel" else (1, 0.0)
            piece = view[donor, at * rows : (at + length) * rows] + gain
            new[name][host, to * rows : (to + length) * rows] = piece
        spans[host] = torch.tensor([to * second, (to + length) * second])
        inside[host], causes[host] = parts.outside[donor], parts.causes_outside[donor]
        labels[host] = torch.nan
    return new, labels, replace(parts, span_s=spans, inside=inside, causes_inside=causes)


def mean_level(logmel: Tensor, samples: Tensor) -> Tensor:
    """Return the level of each clip as log10 of its mean power over bands and rows, (batch,)."""
    return torch.log10(masked_mean((10**logmel).mean(dim=2, keepdim=True), samples // MEL_HOP)[:, 0] + 1e-10)
