"""What a teacher hears in a clip, beside what it says of it: hints for a small network.

A score is one number for a clip. The frames that all heads of the teacher make their scores of are thousands of
numbers for the same clip, and say when and how it is damaged. As in FitNets (Romero et al., ICLR 2015) a linear
layer, dropped in the end, guesses them from the small network's own frames, and its squared error joins the loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtqnet.audio.features import MEL_HOP
from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import UsageError
from mtqnet.scoring.models import ModelRecord
from mtqnet.training import frontend, losses, mapped, pieces, weights
from mtqnet.training.config import LossConfig, NetworkConfig
from mtqnet.training.dataset import HINT, Dataset
from mtqnet.training.frontend import Clip
from mtqnet.training.masks import masked_mean
from mtqnet.training.network import Network, Output, Trainable

Frames = NDArray[np.float16]


class Hinted(Trainable):
    """A network that also guesses what its teacher hears; where the inputs have no hint, the network alone."""

    scale: Tensor

    def __init__(self, network: Network, width: int, scale: float) -> None:
        """`width` of the teacher's frames; `scale`: their variance, so that to guess nothing is an error of 1."""
        super().__init__()
        self.network = network
        self.guess = nn.Linear(network.config.dense, width)
        self.register_buffer("scale", torch.tensor(scale))
        self.config, self.targets = (network.config, width), network.targets

    @property
    def heads(self) -> nn.ModuleDict:  # type: ignore[override]  # the network's own
        return self.network.heads

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """As Network; `hint` among the inputs, (batch, frames, width), gives the output's `apart`."""
        x, counts = self.network.trunk(inputs, samples)
        said = self.network.scored(x, counts)
        if HINT not in inputs:
            return said
        frames = min(x.shape[1], inputs[HINT].shape[1])
        distance = (self.guess(x[:, :frames]) - inputs[HINT][:, :frames]).square().mean(dim=2, keepdim=True)
        both = torch.minimum(counts, inputs[f"{HINT}_counts"])
        return said._replace(apart=masked_mean(distance, both)[:, 0] / self.scale)


def loss(
    output: Output,
    labels: Tensor,
    targets: Sequence[str],
    config: LossConfig,
    weight: float,
    progress: float = 0.0,
    counts: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """losses.supervised, and `weight` times the mean distance from the hints over the clips with a label."""
    said = losses.supervised(output, labels, targets, config, progress, counts, weights)
    if output.apart is None:
        return said
    known = (~torch.isnan(labels)).any(dim=1)
    clips = known.sum() if counts is None else counts.max()
    return said + weight * (output.apart * known).sum() / clips.clamp(min=1)


def need(teacher: ModelRecord, network: NetworkConfig) -> None:
    """Raises UsageError where the frames of both do not lie at the same moments, and ModelError where the teacher
    has no weights beside its graph."""
    if "logmel" not in network.front_ends or network.merge != "channel":
        raise UsageError("distil.hint is for networks of log-mel, merged by channel: set hint = 0")
    rate = SAMPLE_RATE / MEL_HOP / math.prod(network.time_strides)
    if rate != teacher.frame_rate_hz:
        raise UsageError(
            f"distil.hint: the teacher {teacher.name!r} has {teacher.frame_rate_hz:g} frames a second, the "
            f"network {rate:g}: change network.time_strides, or set hint = 0"
        )
    weights.load(teacher.path)  # what is wrong with it is told here, in words


def hinted(data: Dataset, hints: Sequence[Frames]) -> Dataset:
    """The same clips with what the teacher hears in each as a further view."""
    clips = [
        Clip(clip.samples, {**clip.features, HINT: hint}) for clip, hint in zip(data.clips, hints, strict=True)
    ]
    return Dataset(clips, data.labels)


def variance(hints: Sequence[Frames]) -> float:
    """Of all frames about the mean of each column, over all columns."""
    count = sum(len(hint) for hint in hints)
    mean = sum(hint.sum(axis=0, dtype=np.float64) for hint in hints) / count
    return float(sum(np.square(hint - mean).sum() for hint in hints) / (count * hints[0].shape[1]))


def hear(
    teacher: ModelRecord, clips: Sequence[Excerpt], store: Path, jobs: int, progress: pieces.Progress
) -> list[Frames]:
    """What the teacher hears in each clip, (frames, width), by its weights in 32 bits; kept in `store`."""
    name = f"{teacher.sha256[:12]}-{{}}-hints.npz"
    files = pieces.fill(clips, store, name, partial(_keep, str(teacher.path)), jobs, progress)
    return [frames for file in files for frames in mapped.arrays(file).values()]


def _keep(model: str, piece: pieces.Piece) -> None:
    """Write the hints of these clips into their file, in order."""
    file, clips = piece
    teacher = _teacher(model)
    np.savez(pieces.unfinished(file), *(frames_of(teacher, clip) for clip in clips))
    pieces.unfinished(file).replace(file)


def frames_of(teacher: weights.Opened, clip: Excerpt) -> Frames:
    """(frames, width)"""
    heard = frontend.of_clip(teacher.front_end, clip, teacher.encoder)
    inputs = {name: torch.from_numpy(view.astype(np.float32))[None] for name, view in heard.features.items()}
    if "encoder" in inputs:
        inputs["encoder_counts"] = torch.tensor([inputs["encoder"].shape[1]])
    with torch.inference_mode():
        x, counts = teacher.network.trunk(inputs, torch.tensor([heard.samples]))
    return np.asarray(x[0, : int(counts[0])].numpy().astype(np.float16))


@lru_cache(maxsize=1)
def _teacher(model: str) -> weights.Opened:
    """One a worker process, with one thread."""
    torch.set_num_threads(1)
    return weights.load(model)
