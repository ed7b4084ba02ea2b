"""What a teacher hears is kept, guessed from the small network's frames, and dropped in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
from mtqnet.training import distil, frontend, hints, loop, losses, pieces, weights
from mtqnet.training.config import DistilConfig, FitConfig, LossConfig
from mtqnet.training.dataset import HINT, Dataset, collate, training_batches
from mtqnet.training.export import export
from mtqnet.training.finish import Listener
from mtqnet.training.network import Network, Output

SILENT = Listener(lambda *_: None, lambda *_: None)
WIDTH = 5


@pytest.fixture
def clips(tmp_path: Path, voice: Callable[..., Samples]) -> list[Excerpt]:
    """Four stretches of one file."""
    sound = np.concatenate([voice(1.0, level_db=-40.0 + 5 * number, seed=number) for number in range(4)])
    sf.write(tmp_path / "shard.flac", sound, SAMPLE_RATE, subtype="PCM_24")
    return [Excerpt(tmp_path / "shard.flac", number * SAMPLE_RATE, SAMPLE_RATE) for number in range(4)]


@pytest.fixture
def teacher(tmp_path: Path) -> models.ModelRecord:
    """A network of log-mel alone, as a model with its weights."""
    about = {
        "licence": "MIT", "version": "0", "labels": "none",
        "config": {"network": vars(tiny.PLAIN), "encoder": {"name": "whisper-tiny.en"}},
    }  # fmt: skip
    return models.find(str(export(tiny.network(tiny.PLAIN, seed=3), None, "teacher", tmp_path, about).model))


def hearing(data: Dataset, seed: int = 0) -> list[hints.Frames]:
    """Hints that follow from the clip: each column is its mean log-mel in a frame, at a gain of its own."""
    gains = np.random.default_rng(seed).uniform(0.5, 1, WIDTH)
    return [
        (gains * (clip.features["logmel"][::4].astype(float).mean(axis=1, keepdims=True) + 4)).astype(np.float16)
        for clip in data.clips
    ]


def apart(net: hints.Hinted, data: Dataset) -> np.ndarray:
    batch = collate(data, np.arange(len(data.clips)), ())
    with torch.inference_mode():
        said: Output = net(batch.inputs, batch.samples)
    assert said.apart is not None
    return said.apart.numpy()


def test_what_is_heard_is_the_trunk_of_the_teacher(
    teacher: models.ModelRecord, clips: list[Excerpt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 3)
    told: list[tuple[int, int]] = []
    heard = hints.hear(teacher, clips, tmp_path / "taught", 1, lambda *done: told.append(done))
    assert told == [(0, 4), (3, 4), (4, 4)]
    network = tiny.network(tiny.PLAIN, seed=3)
    opened = weights.load(teacher.path)
    for clip, frames in zip(clips, heard, strict=True):
        view = frontend.of_clip(opened.front_end, clip, None).features["logmel"]
        with torch.inference_mode():
            meant, _ = network.trunk(
                {"logmel": torch.from_numpy(view.astype(np.float32))[None]}, torch.tensor([SAMPLE_RATE])
            )
        np.testing.assert_allclose(frames, meant[0].numpy(), atol=2e-3)


def test_what_was_heard_is_kept(teacher: models.ModelRecord, clips: list[Excerpt], tmp_path: Path) -> None:
    first = hints.hear(teacher, clips, tmp_path / "taught", 1, lambda *_: None)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "taught").iterdir()}
    again = hints.hear(teacher, clips, tmp_path / "taught", 1, lambda *_: None)
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "taught").iterdir()}
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_teacher_without_weights_cannot_say_what_it_hears(teacher: models.ModelRecord) -> None:
    teacher.path.with_suffix(".safetensors").unlink()
    with pytest.raises(ModelError, match="no weights to train on"):
        hints.need(teacher, tiny.PLAIN)


def test_frames_of_both_must_lie_at_the_same_moments(teacher: models.ModelRecord) -> None:
    hints.need(teacher, tiny.PLAIN)
    with pytest.raises(UsageError, match=r"25 frames a second, the network 12\.5"):
        hints.need(teacher, replace(tiny.PLAIN, time_strides=(2, 4)))
    with pytest.raises(UsageError, match="networks of log-mel"):  # rows of the spectrum are 8 ms apart
        hints.need(teacher, replace(tiny.PLAIN, front_ends=("spectrum",)))


def test_to_guess_the_mean_throughout_is_an_error_of_one() -> None:
    data = tiny.dataset(tiny.PLAIN, 12, seed=1)
    heard = hearing(data)
    net = hints.Hinted(tiny.network(tiny.PLAIN), WIDTH, hints.variance(heard)).eval()
    with torch.no_grad():
        net.guess.weight.zero_()
        net.guess.bias.copy_(torch.from_numpy(np.concatenate(heard).astype(float).mean(axis=0)))
    found = apart(net, hints.hinted(data, heard))
    frames = np.array([len(hint) for hint in heard])
    assert np.average(found, weights=frames) == pytest.approx(1, abs=0.01)


def test_padding_does_not_count() -> None:
    data = tiny.dataset(tiny.PLAIN, 6, seed=2)
    hinted = hints.hinted(data, hearing(data))
    net = hints.Hinted(tiny.network(tiny.PLAIN), WIDTH, 0.5).eval()
    alone = [apart(net, hinted.take(np.array([place])))[0] for place in range(6)]
    np.testing.assert_allclose(apart(net, hinted), alone, rtol=1e-4)


def test_scores_do_not_depend_on_hints() -> None:
    data = tiny.dataset(tiny.PLAIN, 5, seed=2)
    network = tiny.network(tiny.PLAIN)
    net = hints.Hinted(network, WIDTH, 0.5).eval()
    for key, said in loop.predict(net, hints.hinted(data, hearing(data))).items():
        np.testing.assert_array_equal(said, loop.predict(network, data)[key])


def test_a_hint_stays_beside_its_clip_when_level_and_colour_move() -> None:
    data = tiny.dataset(tiny.PLAIN, 8, seed=2)
    hinted = hints.hinted(data, hearing(data))
    fit = FitConfig(batch=3, level_db=5.0, colour=1.0)
    for batch in training_batches(hinted, KEYS, fit, np.random.default_rng(0)):
        for place, samples in enumerate(batch.samples.tolist()):
            hint = next(c.features[HINT] for c in hinted.clips if c.samples == samples)
            assert batch.inputs[f"{HINT}_counts"][place] == len(hint)
            np.testing.assert_array_equal(batch.inputs[HINT][place, : len(hint)].numpy(), hint)


def test_the_loss_adds_the_distance_at_its_weight_and_parts_of_a_batch_add_up() -> None:
    data = tiny.dataset(tiny.PLAIN, 6, seed=2)
    data = data.with_labels({key: np.where(np.arange(6) == 4, np.nan, v) for key, v in data.labels.items()})
    net = hints.Hinted(tiny.network(tiny.PLAIN), WIDTH, 0.5).eval()
    batch = collate(hints.hinted(data, hearing(data)), np.arange(6), KEYS)
    with torch.inference_mode():
        said: Output = net(batch.inputs, batch.samples)
    assert said.apart is not None
    known, config = torch.arange(6) != 4, LossConfig()
    for weight in (0.0, 2.0):
        of = partial(hints.loss, targets=KEYS, config=config, weight=weight)
        whole = of(said, batch.labels)
        meant = losses.supervised(said, batch.labels, KEYS, config) + weight * said.apart[known].mean()
        assert whole.item() == pytest.approx(meant.item(), rel=1e-5)
        counts = (~torch.isnan(batch.labels)).sum(dim=0)
        parts = [slice(0, 2), slice(2, 6)]
        shares = [
            of(Output(*(each[p] for each in said if each is not None)), batch.labels[p], counts=counts).item()
            for p in parts
        ]
        assert sum(shares) == pytest.approx(whole.item(), rel=1e-5)


def test_the_small_network_comes_to_guess_what_its_teacher_hears(tmp_path: Path) -> None:
    train, validation = tiny.dataset(tiny.PLAIN, 48, seed=1), tiny.dataset(tiny.PLAIN, 16, seed=2)
    config = tiny.config(tiny.PLAIN)
    config = replace(
        config, student=replace(config.student, epochs=6, learning_rate=2e-2), distil=DistilConfig(hint=2.0)
    )
    heard = hearing(train)
    network, history = distil.learn(config, train, validation, 0, tmp_path, SILENT, heard)
    assert type(network) is Network
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    assert min(epoch.validation_error for epoch in history) < history[0].validation_error


def test_a_hint_has_a_weight_of_nothing_or_more() -> None:
    with pytest.raises(UsageError, match=r"distil\.hint"):
        DistilConfig(hint=-1.0)
