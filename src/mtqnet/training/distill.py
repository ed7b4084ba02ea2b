"""`mtqnet train` with a [distill] section: a small network learns the scores of a large model as pseudo labels.

    corpus -> the model's scores of every clip -> small network -> ONNX -> evaluation, intervals

If a clip has labels, they are averaged with the model's scores on the training scale; clips without labels can be
used too. Feature distillation (FitNets: Romero et al., ICLR 2015) adds the teacher's intermediate features: a
linear layer, which is removed in the end, predicts the input of the teacher's heads from that of the student's,
and its squared error is added to the loss. These are thousands of values per clip, where the scores are six.

As in pipeline.py, every stage stores its result in the run's folder, and an interrupted run resumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtqnet.audio.features import MEL_HOP
from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.ensemble import PREDICTORS
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.models import ModelRecord
from mtqnet.targets import KEYS, named
from mtqnet.training import encoder as encoders
from mtqnet.training import features, losses, mpl, trainer
from mtqnet.training.batches import TEACHER_FEATURES, Dataset, Labels
from mtqnet.training.config import Config, NetworkConfig
from mtqnet.training.data import Clock, RunPaths, corpus_rows, dataset, excerpts, model_scores
from mtqnet.training.export import Opened, load_weights
from mtqnet.training.features import FrontEnd, Progress
from mtqnet.training.model import Network, Output, Trainable, masked_mean
from mtqnet.training.pipeline import SILENT, FinishedRun, Listener, TrainedModel, best_epoch, finish, timed

LABELS_ARE = (
    "scores of {teacher}, mixed ({weight:.0%}) with its own kind of labels: S-, N- and G-MOS: 3QUEST-style, "
    "anchored on public P.835 ratings; PESQ, STOI and SDI: computed"
)

Frames = NDArray[np.float16]
"""Intermediate features of one clip, (frames, width)"""


def learn(config: Config, paths: RunPaths, listener: Listener) -> Callable[[], FinishedRun]:
    """Run all stages up to the trained network. Several processes (trainer.py) call this together.

    Returns:
        A function that does the rest, for one process.

    Raises:
        UsageError: If the teacher does not predict all targets or does not fit the network.
    """
    teacher = models.find(config.distill.teacher)
    if missing := [key for key in KEYS if key not in teacher.targets]:
        raise UsageError(
            f"distill.teacher: the model {teacher.name!r} does not predict {', '.join(missing)}: choose another"
        )
    if config.distill.feature_distillation:
        check_teacher(teacher, config.network)  # before hours of work
    clock = Clock(paths.out / "time.json")
    with trainer.first_alone() as process:
        listener = timed(listener, clock) if process.first else SILENT
        rows = corpus_rows(config, paths, listener.stage)
        front_end = FrontEnd.of_config(config)
        train, validation = (
            dataset(front_end, rows, split, paths, listener.stage) for split in ("train", "validation")
        )
        clips, folder = excerpts(rows, "train", paths), paths.out / "teacher"
        scores = teacher_scores(teacher, clips, folder, paths.jobs, partial(listener.stage, "teacher"))
        if config.distill.feature_distillation:
            stage = partial(listener.stage, "features of the teacher")
            train = with_features(train, teacher_features(teacher, clips, folder, paths.jobs, stage))
    train = ensemble_or_unknown(config, train)
    train = train.with_labels(mixed_labels(train.labels, scores, config.distill.teacher_weight))
    network, history = train_student(config, train, validation, paths.out, listener.epoch)
    if network.distance is not None:
        network.distance.fit(trainer.embeddings(network, train.without(TEACHER_FEATURES)))
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    about = {
        "labels": LABELS_ARE.format(teacher=teacher.name, weight=config.distill.teacher_weight),
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "best_epochs": {"student": best_epoch(history).epoch},
    }
    return partial(finish, TrainedModel(config, network, encoder, about), rows, paths, listener, clock)


def train_student(
    config: Config, train: Dataset, validation: Dataset, folder: Path, report: mpl.Report
) -> tuple[Network, list[trainer.Epoch]]:
    """Train the small network on the labels of `train` and, if its clips have them, on the teacher's features."""
    network = mpl.new_network(config, KEYS, train.encoder_width, config.seed)
    if config.initial:
        network.start_from(load_weights(config.initial).network)
    trained: Trainable = network
    loss = losses.supervised(KEYS, config.loss)
    if TEACHER_FEATURES in train.clips[0].features:
        targets = [clip.features[TEACHER_FEATURES] for clip in train.clips]
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)  # the linear layer begins with the same weights in every call
            trained = FeatureDistillation(network, targets[0].shape[1], variance(targets))
        loss = replace(loss, feature_weight=config.distill.feature_distillation)
    history = trainer.fit(
        trained, train, validation, loss, config.student, config.seed, folder / "small.safetensors",
        partial(report, "small"), config.machine,
    )  # fmt: skip
    return network, history


def ensemble_or_unknown(config: Config, train: Dataset) -> Dataset:
    """Replace S-, N- and G-MOS labels by the label ensemble, if the configuration asks for it.

    Clips that the existing models did not score have no label then: the scores of the teacher, which was trained on
    the ensemble, stand for it.
    """
    if not config.existing_models.ensemble:
        return train
    agreed = mpl.ensemble_labels(config, train)
    unknown = np.any([np.isnan(train.labels[key]) for key in PREDICTORS], axis=0)
    known = {key: np.where(unknown, np.nan, agreed.labels[key]) for key in mpl.QUEST_KEYS}
    return agreed.with_labels(known)


def mixed_labels(labels: Labels, scores: Labels, teacher_weight: float) -> Labels:
    """Average the teacher's scores (with this weight) and the labels; if one of both is NaN, return the other."""
    mixed = {}
    for target in named(list(KEYS)):
        own, teacher = target.to_training(labels[target.key]), target.to_training(scores[target.key])
        both = teacher_weight * teacher + (1 - teacher_weight) * own
        mixed[target.key] = target.from_training(
            np.where(np.isnan(own), teacher, np.where(np.isnan(teacher), own, both))
        )
    return mixed


def teacher_scores(
    teacher: ModelRecord, clips: Sequence[Excerpt], folder: Path, jobs: int, progress: Progress
) -> Labels:
    """Return the teacher's scores of these clips, (clips,) by target, NaN for a refused clip; stored in `folder`.

    Raises:
        ModelError: If the teacher refuses all clips.
    """
    scores = model_scores(teacher, clips, folder, "scores", jobs, progress)
    if all(np.isnan(values).all() for values in scores.values()):
        raise ModelError(
            f"the teacher {teacher.name!r} scores none of the {len(clips)} training clips: check that they "
            "contain speech"
        )
    return scores


class FeatureDistillation(Trainable):
    """A network that also predicts its teacher's features; if the inputs contain none, the network alone."""

    scale: Tensor

    def __init__(self, network: Network, width: int, scale: float) -> None:
        """Add the linear layer for `width` features of the teacher, whose variance is `scale`."""
        super().__init__()
        self.network = network
        self.projection = nn.Linear(network.config.dense, width)
        self.register_buffer("scale", torch.tensor(scale))
        self.config, self.targets = (network.config, width), network.targets

    @property
    def heads(self) -> nn.ModuleDict:  # type: ignore[override]  # those of the network
        return self.network.heads

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """As Network.forward; with TEACHER_FEATURES (batch, frames, width) the output has `feature_distance`."""
        x, counts = self.network.trunk(inputs, samples)
        output = self.network.predict(x, counts)
        if TEACHER_FEATURES not in inputs:
            return output
        features = inputs[TEACHER_FEATURES]
        frames = min(x.shape[1], features.shape[1])
        distance = (self.projection(x[:, :frames]) - features[:, :frames]).square().mean(dim=2, keepdim=True)
        both = torch.minimum(counts, inputs[f"{TEACHER_FEATURES}_counts"])
        return output._replace(feature_distance=masked_mean(distance, both)[:, 0] / self.scale)


def check_teacher(teacher: ModelRecord, network: NetworkConfig) -> None:
    """Raise UsageError if the frames of teacher and student are at other times; ModelError without its weights."""
    if "logmel" not in network.front_ends:
        raise UsageError(
            "distill.feature_distillation needs 'logmel' in network.front_ends: add it, or set it to 0"
        )
    rate = SAMPLE_RATE / MEL_HOP / math.prod(network.time_strides)
    if rate != teacher.frame_rate_hz:
        raise UsageError(
            f"distill.feature_distillation: the teacher {teacher.name!r} has {teacher.frame_rate_hz:g} frames per "
            f"second, the network {rate:g}: change network.time_strides, or set distill.feature_distillation = 0"
        )
    load_weights(teacher.path)  # raises ModelError


def with_features(data: Dataset, targets: Sequence[Frames]) -> Dataset:
    """Add the teacher's features of each clip as a view."""
    clips = [
        replace(clip, features={**clip.features, TEACHER_FEATURES: target})
        for clip, target in zip(data.clips, targets, strict=True)
    ]
    return replace(data, clips=clips)


def variance(targets: Sequence[Frames]) -> float:
    """Return the variance of all frames about the mean of each column, over all columns."""
    count = sum(len(target) for target in targets)
    mean = sum(target.sum(axis=0, dtype=np.float64) for target in targets) / count
    return float(sum(np.square(target - mean).sum() for target in targets) / (count * targets[0].shape[1]))


def teacher_features(
    teacher: ModelRecord, clips: Sequence[Excerpt], folder: Path, jobs: int, progress: Progress
) -> list[Frames]:
    """Return the input of the teacher's heads for each clip, by its 32-bit weights; stored in `folder`."""
    name = f"features-{teacher.sha256[:12]}"
    work = partial(_features, str(teacher.path))
    return [clip["frames"] for clip in features.stored(clips, folder, name, work, jobs, progress)]


def _features(model: str, clips: Sequence[Excerpt]) -> list[features.Views]:
    teacher, found = _opened(model), list[features.Views]()
    for clip in clips:
        own = features.of_clip(teacher.front_end, clip, teacher.encoder)
        inputs = {name: torch.from_numpy(view.astype(np.float32))[None] for name, view in own.features.items()}
        if "encoder" in inputs:
            inputs["encoder_counts"] = torch.tensor([inputs["encoder"].shape[1]])
        with torch.inference_mode():
            x, counts = teacher.network.trunk(inputs, torch.tensor([own.samples]))
        found.append({"frames": x[0, : int(counts[0])].numpy().astype(np.float16)})
    return found


@lru_cache(maxsize=1)
def _opened(model: str) -> Opened:
    """Load the teacher's weights once per process."""
    return load_weights(model)
