"""Distillation: the teacher's scores are stored and mixed with labels, and a small network learns them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny

from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.corpus.ensemble import PREDICTORS
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, TARGETS
from mtqnet.training import distill
from mtqnet.training.config import DistillConfig, ExistingModelsConfig


@pytest.fixture
def clips(tmp_path: Path, voice: Callable[..., Samples]) -> list[Excerpt]:
    """Five parts of one file, each louder than the one before."""
    sound = np.concatenate([voice(1.0, level_db=-40.0 + 5 * number, seed=number) for number in range(5)])
    sf.write(tmp_path / "shard.flac", sound, SAMPLE_RATE, subtype="PCM_24")
    return [Excerpt(tmp_path / "shard.flac", number * SAMPLE_RATE, SAMPLE_RATE) for number in range(5)]


def scored(model: Path, clips: list[Excerpt], folder: Path) -> tuple[dict[str, np.ndarray], list[tuple[int, int]]]:
    """Scores of the teacher, and the reported progress."""
    seen: list[tuple[int, int]] = []
    scores = distill.teacher_scores(models.find(model), clips, folder, 1, lambda *done: seen.append(done))
    return dict(scores), seen


def test_teachers_scores_are_those_of_scoring(toy_model: Path, clips: list[Excerpt], tmp_path: Path) -> None:
    scores, seen = scored(toy_model, clips, tmp_path / "teacher")
    assert seen[-1] == (5, 5)
    predictor = Predictor(toy_model)
    sound, _ = sf.read(tmp_path / "shard.flac", dtype="float32")
    for index, clip in enumerate(clips):
        served = predictor.score(sound[clip.start : clip.start + SAMPLE_RATE], SAMPLE_RATE)
        assert [scores[key][index] for key in KEYS] == pytest.approx([served.value(key) for key in KEYS], rel=1e-5)


def test_scores_are_stored(toy_model: Path, clips: list[Excerpt], tmp_path: Path) -> None:
    first, _ = scored(toy_model, clips, tmp_path / "teacher")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "teacher").rglob("*")}
    again, seen = scored(toy_model, clips, tmp_path / "teacher")
    assert seen == [(5, 5)]
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "teacher").rglob("*")}
    for key in KEYS:
        np.testing.assert_array_equal(first[key], again[key])


def test_clip_refused_by_the_teacher_keeps_its_labels(
    toy_model: Path, clips: list[Excerpt], tmp_path: Path
) -> None:
    sf.write(tmp_path / "silent.flac", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    scores, _ = scored(toy_model, [*clips, Excerpt(tmp_path / "silent.flac")], tmp_path / "teacher")
    own = {target.key: target.from_training(np.linspace(-1, 1, 6)) for target in TARGETS}
    mixed = distill.mixed_labels(own, scores, 0.75)
    for target in TARGETS:
        assert np.isnan(scores[target.key]).tolist() == [False] * 5 + [True]
        assert mixed[target.key][5] == pytest.approx(own[target.key][5])
        assert mixed[target.key][0] != pytest.approx(own[target.key][0])


def test_teacher_that_refuses_every_clip_is_an_error(toy_model: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "silent.flac", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(ModelError, match="none of the 1 training clips"):
        scored(toy_model, [Excerpt(tmp_path / "silent.flac")], tmp_path / "teacher")


def test_labels_are_mixed_on_the_training_scale_and_missing_ones_filled() -> None:
    own = {target.key: target.from_training(np.array([-1.0, np.nan])) for target in TARGETS}
    scores = {target.key: target.from_training(np.array([1.0, 0.5])) for target in TARGETS}
    mixed = distill.mixed_labels(own, scores, 0.75)
    for target in TARGETS:
        np.testing.assert_allclose(target.to_training(mixed[target.key]), [0.5, 0.5], atol=1e-9)


def test_small_network_learns_the_labels(tmp_path: Path) -> None:
    train, validation = tiny.dataset(tiny.PLAIN, 48, seed=1), tiny.dataset(tiny.PLAIN, 16, seed=2)
    config = tiny.config(tiny.PLAIN)
    config = replace(config, student=replace(config.student, epochs=12, learning_rate=2e-2))
    network, history = distill.train_student(config, train, validation, tmp_path, lambda *_: None)
    assert network.targets == KEYS
    assert min(epoch.validation_error for epoch in history) < 0.5 * history[0].validation_error


def test_teacher_weight_above_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"distill\.teacher_weight"):
        DistillConfig(teacher_weight=1.5)


def test_clips_without_predictor_scores_have_no_ensemble_label() -> None:
    train = tiny.dataset(tiny.PLAIN, 8, seed=1)
    scores = {key: np.where(np.arange(len(train.clips)) < 4, 3.0, np.nan) for key in PREDICTORS}
    data = replace(train.with_labels(scores), kinds=[("codec",)] * len(train.clips))
    config = tiny.config(tiny.PLAIN)
    assert distill.ensemble_or_unknown(config, data) is data
    config = replace(config, existing_models=ExistingModelsConfig(heads=("distillmos",), ensemble=True))
    found = distill.ensemble_or_unknown(config, data).labels
    for key in ("s_mos", "n_mos", "g_mos"):
        assert np.isfinite(found[key][:4]).all() and np.isnan(found[key][4:]).all()
    np.testing.assert_array_equal(found["pesq_est"], train.labels["pesq_est"])
