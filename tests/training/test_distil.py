"""A small network learns what a model says: each clip once, kept on disk, mixed with labels if there are any."""

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
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, TARGETS
from mtqnet.training import distil, pieces
from mtqnet.training.config import DistilConfig
from mtqnet.training.finish import Listener

SILENT = Listener(lambda *_: None, lambda *_: None)


@pytest.fixture
def clips(tmp_path: Path, voice: Callable[..., Samples]) -> list[Excerpt]:
    """Five stretches of one file, each louder than the one before."""
    sound = np.concatenate([voice(1.0, level_db=-40.0 + 5 * number, seed=number) for number in range(5)])
    sf.write(tmp_path / "shard.flac", sound, SAMPLE_RATE, subtype="PCM_24")
    return [Excerpt(tmp_path / "shard.flac", number * SAMPLE_RATE, SAMPLE_RATE) for number in range(5)]


def taught(model: Path, clips: list[Excerpt], store: Path) -> tuple[dict[str, np.ndarray], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    said = distil.teach(models.find(model), clips, store, 2, lambda done, total: told.append((done, total)))
    return dict(said), told


def test_the_teachers_scores_are_those_that_it_serves(
    toy_model: Path, clips: list[Excerpt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 2)
    said, told = taught(toy_model, clips, tmp_path / "taught")
    assert told[-1] == (5, 5)
    predictor = Predictor(toy_model)
    sound, _ = sf.read(tmp_path / "shard.flac", dtype="float32")
    for place, clip in enumerate(clips):
        scores = predictor.score(sound[clip.start : clip.start + SAMPLE_RATE], SAMPLE_RATE)
        assert [said[key][place] for key in KEYS] == pytest.approx([scores.value(key) for key in KEYS], rel=1e-5)


def test_what_was_said_is_kept(toy_model: Path, clips: list[Excerpt], tmp_path: Path) -> None:
    first, _ = taught(toy_model, clips, tmp_path / "taught")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "taught").iterdir()}
    again, told = taught(toy_model, clips, tmp_path / "taught")
    assert told == [(5, 5)]
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "taught").iterdir()}
    for key in KEYS:
        np.testing.assert_array_equal(first[key], again[key])


def test_a_clip_that_the_teacher_refuses_has_its_own_labels_alone(
    toy_model: Path, clips: list[Excerpt], tmp_path: Path
) -> None:
    sf.write(tmp_path / "silent.flac", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    said, _ = taught(toy_model, [*clips, Excerpt(tmp_path / "silent.flac")], tmp_path / "taught")
    own = {target.key: target.from_training(np.linspace(-1, 1, 6)) for target in TARGETS}
    made = distil.mixed(own, said, 0.75)
    for target in TARGETS:
        assert np.isnan(said[target.key]).tolist() == [False] * 5 + [True]
        assert made[target.key][5] == pytest.approx(own[target.key][5])
        assert made[target.key][0] != pytest.approx(own[target.key][0])


def test_a_teacher_that_refuses_every_clip_teaches_nothing(toy_model: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "silent.flac", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(ModelError, match="none of these 1 clips"):
        taught(toy_model, [Excerpt(tmp_path / "silent.flac")], tmp_path / "taught")


def test_labels_are_mixed_on_the_training_scale_and_missing_ones_are_the_teachers() -> None:
    own = {target.key: target.from_training(np.array([-1.0, np.nan])) for target in TARGETS}
    said = {target.key: target.from_training(np.array([1.0, 0.5])) for target in TARGETS}
    made = distil.mixed(own, said, 0.75)
    for target in TARGETS:
        np.testing.assert_allclose(target.to_training(made[target.key]), [0.5, 0.5], atol=1e-9)


def test_the_small_network_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    train, validation = tiny.dataset(tiny.PLAIN, 48, seed=1), tiny.dataset(tiny.PLAIN, 16, seed=2)
    config = tiny.config(tiny.PLAIN)
    config = replace(config, student=replace(config.student, epochs=12, learning_rate=2e-2))
    network, history = distil.learn(config, train, validation, 0, tmp_path, SILENT)
    assert network.targets == KEYS
    assert min(epoch.validation_error for epoch in history) < 0.5 * history[0].validation_error


def test_a_share_is_a_share() -> None:
    with pytest.raises(UsageError, match=r"distil\.share"):
        DistilConfig(share=1.5)
