"""Tiny trainings with a fixed seed give the recorded losses and scores: MPL, scratch, distillation, fine-tuning.

golden.json was recorded before the training package was restructured. A deliberate change of the training is recorded
by `python tests/training/test_golden.py`, and named in the changelog.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from mtqnet.targets import KEYS, QUEST
from mtqnet.training import distill, mpl, trainer, tuning
from mtqnet.training.batches import Dataset
from mtqnet.training.config import (
    Config,
    CorpusConfig,
    DistillConfig,
    ExistingModelsConfig,
    FitConfig,
    LossConfig,
    NetworkConfig,
)
from mtqnet.training.model import Network
from mtqnet.training.tuning import Sound, scores, tuning_data

GOLDEN = Path(__file__).with_name("golden.json")
NETWORK = NetworkConfig(
    front_ends=("logmel", "encoder"), conv_channels=(2, 3), time_strides=(2, 2), band_strides=(4, 4), adapter=8,
    lstm=6, dense=7, norm=True, input_dropout=0.1,
)  # fmt: skip
LOGMEL = replace(NETWORK, front_ends=("logmel",), norm=False)
FIT = FitConfig(epochs=3, batch=4, learning_rate=5e-3)
SCRATCH = Config(
    "tiny", CorpusConfig((), ()), seed=7, method="scratch", network=LOGMEL, student=replace(FIT, augment=0.5),
    loss=LossConfig("mse", frame_weight=0.5),
)  # fmt: skip

Result = dict[str, Any]


def history(epochs: list[trainer.Epoch]) -> list[list[float]]:
    return [[epoch.train_loss, epoch.validation_error] for epoch in epochs]


def predictions(network: Network, data: Dataset) -> dict[str, list[float]]:
    return {key: values.tolist() for key, values in trainer.predict(network, data).items()}


def mpl_with_all_options(folder: Path) -> Result:
    """Initialisation from the teacher, decreasing gamma, unlabelled clips, moving average, an existing model."""
    train, validation = tiny.dataset(NETWORK, 16, 1), tiny.dataset(NETWORK, 8, 2)
    fit = replace(FIT, level_db=3.0, ema_decay=0.8)
    config = Config(
        "tiny", CorpusConfig((), ()), seed=5, network=NETWORK, teacher=fit, teacher_loss=LossConfig(delta=0.5),
        student=replace(fit, steps=4, unlabelled_batch=2, frozen_epochs=1), transfer=True,
        loss=LossConfig(pseudo_weight=0.3, pseudo_fade=True),
        existing_models=ExistingModelsConfig(heads=("distillmos",)),
    )  # fmt: skip
    known = np.arange(16) < 10
    hidden = {target.key: np.where(known, train.labels[target.key], np.nan) for target in QUEST}
    existing = np.where(np.arange(16) < 7, 2 + 0.4 * train.labels["g_mos"], np.nan)
    train = train.with_labels({**hidden, "distillmos": existing})
    judged = validation.with_labels({"distillmos": 2 + 0.4 * validation.labels["g_mos"]})
    trained = mpl.MPL(config, train, judged, folder).run()
    return {
        "teacher": history(trained.teacher_history),
        "student": history(trained.student_history),
        "pseudo": {key: np.asarray(values).tolist() for key, values in trained.pseudo_labels.items()},
        "scores": predictions(trained.student, validation),
    }


def scratch(folder: Path) -> Result:
    """Squared error and spectral augmentation."""
    train, validation = tiny.dataset(LOGMEL, 14, 3), tiny.dataset(LOGMEL, 8, 4)
    network, epochs = mpl.MPL(SCRATCH, train, validation, folder).train_student({})
    return {"student": history(epochs), "scores": predictions(network, validation)}


def distillation(folder: Path) -> Result:
    """Absolute error and feature distillation."""
    train, validation = tiny.dataset(LOGMEL, 14, 3), tiny.dataset(LOGMEL, 8, 4)
    rng = np.random.default_rng(0)
    features = [
        rng.standard_normal((len(clip.features["logmel"]) // 4, 5)).astype(np.float16) for clip in train.clips
    ]
    config = replace(SCRATCH, student=FIT, loss=LossConfig("mae"), distill=DistillConfig(feature_distillation=0.5))
    train = distill.with_features(train, features)
    network, epochs = distill.train_student(config, train, validation, folder, lambda *_: None)
    return {"small": history(epochs), "scores": predictions(network, validation)}


def encoder_and_network(folder: Path) -> Result:
    """MPL, then both together with augmentation and averaged weights."""
    train, validation = (tiny.with_frames(tiny.dataset(NETWORK, clips, seed)) for clips, seed in ((12, 5), (8, 6)))
    tune = FitConfig(epochs=2, batch=4, learning_rate=1e-2, augment=0.5, ema_decay=0.5)
    config = replace(tiny.config(NETWORK, 1), tune_encoder=True, tune=tune, tuned_weight=0.6)
    stage = mpl.MPL(config, train, validation, folder)
    encoder = tiny.little_encoder()
    network, epochs = stage.tune(stage.run(), encoder)
    total = float(sum(weight.abs().sum() for weight in encoder.parameters()))
    return {"history": history(epochs), "scores": predictions(network, validation), "encoder": total}


def fine_tuning(_folder: Path) -> Result:
    """Search for the number of epochs, and tuning on ratings of G-MOS with weights and unlabelled segments."""
    torch.manual_seed(3)
    network = Network(LOGMEL, KEYS).eval()
    recording, shares = np.array([0, 0, *range(1, 24)]), np.array([0.3, 0.7, *[1.0] * 23])
    sound = Sound(tiny.dataset(LOGMEL, 25, 8).clips, recording, shares, 24)
    ratings = np.where(np.arange(24) == 5, np.nan, np.linspace(1.0, 5.0, 24))
    weights = {"g_mos": np.linspace(0.5, 1.5, 24)}
    unlabelled = tiny.dataset(LOGMEL, 3, 9).clips
    data = tuning_data(network, sound, {"g_mos": ratings}, weights, ("g_mos",), unlabelled)
    config = tuning.TuneConfig(epochs=6, frozen_epochs=2, batch=4, head_rate=2e-2, rate=1e-2)
    recordings = np.flatnonzero(np.arange(24) % 5)
    groups = [f"t{number % 5}" for number in range(24)]
    _, errors = tuning.search(network, data, recordings, groups, config, lambda *_: None)
    tuned = tuning.tune(network, data, recordings, 5, config)
    after = scores(tuned, sound, np.arange(24))
    return {"errors": errors, "scores": {key: values.tolist() for key, values in after.items()}}


RUNS: Mapping[str, Callable[[Path], Result]] = {
    "mpl": mpl_with_all_options,
    "scratch": scratch,
    "distill": distillation,
    "end_to_end": encoder_and_network,
    "finetune": fine_tuning,
}


def assert_close(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_losses_and_scores_are_the_recorded_ones(name: str, tmp_path: Path) -> None:
    assert_close(RUNS[name](tmp_path), json.loads(GOLDEN.read_text())[name])


def record() -> None:
    """Write golden.json."""
    with TemporaryDirectory() as folder:
        results = {name: run(Path(folder) / name) for name, run in RUNS.items()}
    rounded = json.loads(json.dumps(results), parse_float=lambda text: round(float(text), 6))
    GOLDEN.write_text(json.dumps(rounded) + "\n")


if __name__ == "__main__":
    record()
