"""Feature distillation: the teacher's features are stored and learned through a layer that is removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch

from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.targets import KEYS
from mtqnet.training import distill, features, losses, trainer
from mtqnet.training.batches import TEACHER_FEATURES, Dataset, collate, training_batches
from mtqnet.training.config import DistillConfig, FitConfig, LossConfig
from mtqnet.training.export import export, load_weights
from mtqnet.training.model import Network, Output

WIDTH = 5


@pytest.fixture
def clips(tmp_path: Path, voice: Callable[..., Samples]) -> list[Excerpt]:
    """Four parts of one file."""
    sound = np.concatenate([voice(1.0, level_db=-40.0 + 5 * number, seed=number) for number in range(4)])
    sf.write(tmp_path / "shard.flac", sound, SAMPLE_RATE, subtype="PCM_24")
    return [Excerpt(tmp_path / "shard.flac", number * SAMPLE_RATE, SAMPLE_RATE) for number in range(4)]


@pytest.fixture
def teacher(tmp_path: Path) -> models.ModelRecord:
    """A network with log-mel alone, as a model with its weights."""
    about = {
        "licence": "MIT", "version": "0", "labels": "none",
        "config": {"network": vars(tiny.PLAIN), "encoder": {"name": "whisper-tiny.en"}},
    }  # fmt: skip
    return models.find(str(export(tiny.network(tiny.PLAIN, seed=3), None, "teacher", tmp_path, about).model))


def made_up(data: Dataset, seed: int = 0) -> list[distill.Frames]:
    """Features that depend on the clip: each column is its mean log-mel per frame with another gain."""
    gains = np.random.default_rng(seed).uniform(0.5, 1, WIDTH)
    return [
        (gains * (clip.features["logmel"][::4].astype(float).mean(axis=1, keepdims=True) + 4)).astype(np.float16)
        for clip in data.clips
    ]


def distances(net: distill.FeatureDistillation, data: Dataset) -> np.ndarray:
    batch = collate(data, np.arange(len(data.clips)), ())
    with torch.inference_mode():
        output: Output = net(batch.inputs, batch.samples)
    assert output.feature_distance is not None
    return output.feature_distance.numpy()


def test_features_are_those_of_the_teachers_trunk(
    teacher: models.ModelRecord, clips: list[Excerpt], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    frames_of_clips = distill.teacher_features(
        teacher, clips, tmp_path / "teacher", 1, lambda *done: seen.append(done)
    )
    assert seen == [(0, 4), (4, 4)]
    network = tiny.network(tiny.PLAIN, seed=3)
    opened = load_weights(teacher.path)
    for clip, frames in zip(clips, frames_of_clips, strict=True):
        view = features.of_clip(opened.front_end, clip, None).features["logmel"]
        with torch.inference_mode():
            expected, _ = network.trunk(
                {"logmel": torch.from_numpy(view.astype(np.float32))[None]}, torch.tensor([SAMPLE_RATE])
            )
        np.testing.assert_allclose(frames, expected[0].numpy(), atol=2e-3)


def test_features_are_stored(teacher: models.ModelRecord, clips: list[Excerpt], tmp_path: Path) -> None:
    first = distill.teacher_features(teacher, clips, tmp_path / "teacher", 1, lambda *_: None)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "teacher").rglob("*")}
    again = distill.teacher_features(teacher, clips, tmp_path / "teacher", 1, lambda *_: None)
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "teacher").rglob("*")}
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_teacher_without_weights_is_refused(teacher: models.ModelRecord) -> None:
    teacher.path.with_suffix(".safetensors").unlink()
    with pytest.raises(ModelError, match="no weights for training"):
        distill.check_teacher(teacher, tiny.PLAIN)


def test_frame_rates_must_be_equal(teacher: models.ModelRecord) -> None:
    distill.check_teacher(teacher, tiny.PLAIN)
    with pytest.raises(UsageError, match=r"25 frames per second, the network 12\.5"):
        distill.check_teacher(teacher, replace(tiny.PLAIN, time_strides=(2, 4)))
    with pytest.raises(UsageError, match="needs 'logmel'"):
        distill.check_teacher(teacher, replace(tiny.PLAIN, front_ends=("spectrum",)))


def test_constant_prediction_has_distance_one() -> None:
    data = tiny.dataset(tiny.PLAIN, 12, seed=1)
    targets = made_up(data)
    net = distill.FeatureDistillation(tiny.network(tiny.PLAIN), WIDTH, distill.variance(targets)).eval()
    with torch.no_grad():
        net.projection.weight.zero_()
        net.projection.bias.copy_(torch.from_numpy(np.concatenate(targets).astype(float).mean(axis=0)))
    distance = distances(net, distill.with_features(data, targets))
    frames = np.array([len(target) for target in targets])
    assert np.average(distance, weights=frames) == pytest.approx(1, abs=0.01)


def test_padding_has_no_influence() -> None:
    data = tiny.dataset(tiny.PLAIN, 6, seed=2)
    with_targets = distill.with_features(data, made_up(data))
    net = distill.FeatureDistillation(tiny.network(tiny.PLAIN), WIDTH, 0.5).eval()
    alone = [distances(net, with_targets.take(np.array([index])))[0] for index in range(6)]
    np.testing.assert_allclose(distances(net, with_targets), alone, rtol=1e-4)


def test_scores_do_not_depend_on_the_teachers_features() -> None:
    data = tiny.dataset(tiny.PLAIN, 5, seed=2)
    network = tiny.network(tiny.PLAIN)
    net = distill.FeatureDistillation(network, WIDTH, 0.5).eval()
    for key, scores in trainer.predict(net, distill.with_features(data, made_up(data))).items():
        np.testing.assert_array_equal(scores, trainer.predict(network, data)[key])


def test_features_stay_with_their_clip_when_it_is_augmented() -> None:
    data = tiny.dataset(tiny.PLAIN, 8, seed=2)
    with_targets = distill.with_features(data, made_up(data))
    fit = FitConfig(batch=3, level_db=5.0, augment=1.0)
    for batch in training_batches(with_targets, KEYS, fit, np.random.default_rng(0)):
        for index, samples in enumerate(batch.samples.tolist()):
            target = next(c.features[TEACHER_FEATURES] for c in with_targets.clips if c.samples == samples)
            assert batch.inputs[f"{TEACHER_FEATURES}_counts"][index] == len(target)
            np.testing.assert_array_equal(batch.inputs[TEACHER_FEATURES][index, : len(target)].numpy(), target)


def test_loss_adds_the_weighted_distance_of_labelled_clips() -> None:
    data = tiny.dataset(tiny.PLAIN, 6, seed=2)
    data = data.with_labels({key: np.where(np.arange(6) == 4, np.nan, v) for key, v in data.labels.items()})
    net = distill.FeatureDistillation(tiny.network(tiny.PLAIN), WIDTH, 0.5).eval()
    batch = collate(distill.with_features(data, made_up(data)), np.arange(6), KEYS)
    with torch.inference_mode():
        output: Output = net(batch.inputs, batch.samples)
    assert output.feature_distance is not None
    scores = losses.supervised(KEYS, LossConfig())
    for weight in (0.0, 2.0):
        value = replace(scores, feature_weight=weight)(output, batch.labels)
        expected = scores(output, batch.labels) + weight * output.feature_distance[torch.arange(6) != 4].mean()
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_small_network_learns_the_teachers_features(tmp_path: Path) -> None:
    train, validation = tiny.dataset(tiny.PLAIN, 48, seed=1), tiny.dataset(tiny.PLAIN, 16, seed=2)
    config = tiny.config(tiny.PLAIN)
    student = replace(config.student, epochs=6, learning_rate=2e-2)
    config = replace(config, student=student, distill=DistillConfig(feature_distillation=2.0))
    train = distill.with_features(train, made_up(train))
    network, history = distill.train_student(config, train, validation, tmp_path, lambda *_: None)
    assert type(network) is Network
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    assert min(epoch.validation_error for epoch in history) < history[0].validation_error


def test_negative_weight_is_refused() -> None:
    with pytest.raises(UsageError, match=r"distill\.feature_distillation"):
        DistillConfig(feature_distillation=-1.0)
