"""Training of encoder and network together after MPL, on true labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from mtqnet.errors import UsageError
from mtqnet.targets import BY_KEY, KEYS
from mtqnet.training import mpl, trainer
from mtqnet.training.batches import Dataset, collate
from mtqnet.training.config import Config, ExistingModelsConfig, FitConfig
from mtqnet.training.encoder import WhisperEncoder
from mtqnet.training.model import Network

WIDTH = 8
"""Of the little encoder's frames"""
TUNE = FitConfig(epochs=2, batch=4, learning_rate=1e-2)
CONFIG = replace(tiny.config(epochs=1), tune_encoder=True, tune=TUNE)


def with_frames(clips: int, seed: int) -> Dataset:
    """Clips with the frames of the little encoder."""
    return tiny.with_frames(tiny.dataset(tiny.CHANNEL, clips, seed))


@pytest.fixture(scope="module")
def train() -> Dataset:
    return with_frames(12, seed=1)


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return with_frames(8, seed=2)


@pytest.fixture(scope="module")
def trained(train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory) -> mpl.Trained:
    return mpl.MPL(CONFIG, train, validation, tmp_path_factory.mktemp("mpl")).run()


def tuned(
    config: Config, trained: mpl.Trained, train: Dataset, validation: Dataset, out: Path,
    report: mpl.Report | None = None,
) -> tuple[Network, WhisperEncoder]:  # fmt: skip
    encoder = tiny.little_encoder()
    stage = mpl.MPL(config, train, validation, out, report)
    return stage.tune(trained, encoder)[0], encoder


def weights(*modules: torch.nn.Module) -> list[torch.Tensor]:
    return [weight for module in modules for weight in module.state_dict().values()]


def same(ones: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def test_encoder_and_network_both_change(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    network, encoder = tuned(CONFIG, trained, train, validation, tmp_path)
    assert encoder.tuned and not encoder.training and network.targets == KEYS
    before = tiny.little_encoder()
    assert all(
        not torch.equal(one, other.half().float())
        for one, other in zip(weights(encoder), weights(before), strict=True)
    )
    assert not same(weights(network), weights(trained.student))
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_encoder_is_rounded_to_sixteen_bits(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    encoder = tuned(CONFIG, trained, train, validation, tmp_path)[1]
    assert same(weights(encoder), [weight.half().float() for weight in weights(encoder)])


def test_encoder_does_not_change_with_rate_zero(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    encoder = tuned(replace(CONFIG, encoder_rate=0.0), trained, train, validation, tmp_path)[1]
    assert same(weights(encoder), [weight.half().float() for weight in weights(tiny.little_encoder())])


def test_result_is_an_average_of_the_weights(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    kept = {
        share: weights(*tuned(replace(CONFIG, tuned_weight=share), trained, train, validation, tmp_path))
        for share in (0.0, 0.7, 1.0)
    }
    assert same(kept[0.0][: len(weights(trained.student))], weights(trained.student))
    for before, between, after in zip(kept[0.0], kept[0.7], kept[1.0], strict=True):
        torch.testing.assert_close(between, 0.3 * before + 0.7 * after, atol=2e-3, rtol=1e-3)


def test_scale_is_corrected_on_labels(trained: mpl.Trained) -> None:
    clips = with_frames(mpl.LEAST_CLIPS, seed=3)
    data = Dataset([replace(c, features={"logmel": c.features["logmel"]}) for c in clips.clips], {})
    whole = mpl.EndToEnd(copy.deepcopy(trained.student), tiny.little_encoder(), 0.2, False)
    before = trainer.predict(whole, data)
    truth = {
        key: target.from_training(1.2 * target.to_training(before[key]) - 0.1) for key, target in BY_KEY.items()
    }
    few = np.where(np.arange(len(data.clips)) < mpl.LEAST_CLIPS - 1, truth["n_mos"], np.nan)
    mpl.rescale(whole, data.with_labels({**{key: truth[key] for key in KEYS}, "n_mos": few}))
    after = trainer.predict(whole, data)
    np.testing.assert_allclose(after["s_mos"], truth["s_mos"], atol=1e-4)
    np.testing.assert_allclose(np.log10(after["sdi_est"]), np.log10(truth["sdi_est"]), atol=1e-4)
    np.testing.assert_array_equal(after["n_mos"], before["n_mos"])


def test_only_heads_change_in_frozen_epochs(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    frozen = replace(CONFIG, tune=replace(TUNE, frozen_epochs=2))
    network, encoder = tuned(frozen, trained, train, validation, tmp_path)
    assert same(weights(encoder), [weight.half().float() for weight in weights(tiny.little_encoder())])
    assert same(weights(network.dense, network.lstm), weights(trained.student.dense, trained.student.lstm))
    assert not same(weights(network.heads), weights(trained.student.heads))


def test_stage_starts_with_the_result_of_mpl(trained: mpl.Trained, validation: Dataset) -> None:
    """Frames computed by the encoder are the stored ones except for rounding to 16 bits."""
    whole = mpl.EndToEnd(trained.student, tiny.little_encoder(), 0.2, bf16=False).eval()
    batch = collate(validation, np.arange(8), ())
    with torch.inference_mode():
        stored = trained.student(batch.inputs, batch.samples)
        heard = whole({"logmel": batch.inputs["logmel"]}, batch.samples)
    assert torch.equal(heard.counts, stored.counts)
    torch.testing.assert_close(heard.values, stored.values, atol=5e-3, rtol=0)


@pytest.mark.parametrize("key", ["pesq_est", "s_mos"])
def test_result_depends_on_true_labels_of_all_six(
    key: str, trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    other = train.with_labels({key: train.labels[key][::-1].copy()})
    one = tuned(CONFIG, trained, train, validation, tmp_path / "one")
    two = tuned(CONFIG, trained, other, validation, tmp_path / "two")
    assert not same(weights(*one), weights(*two))


def test_interrupted_stage_gives_the_same_result(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(_network: str, _epoch: trainer.Epoch, _epochs: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        tuned(CONFIG, trained, train, validation, tmp_path / "killed", kill)
    resumed = tuned(CONFIG, trained, train, validation, tmp_path / "killed")
    unbroken = tuned(CONFIG, trained, train, validation, tmp_path / "unbroken")
    assert same(weights(*resumed), weights(*unbroken))


def test_existing_models_are_used_but_not_in_the_result(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    config = replace(CONFIG, existing_models=ExistingModelsConfig(heads=("distillmos",)))
    scores = {"distillmos": 2.0 + 0.4 * train.labels["g_mos"]}
    scores["distillmos"][7:] = np.nan
    train = train.with_labels(scores)
    validation = validation.with_labels({"distillmos": 2.0 + 0.4 * validation.labels["g_mos"]})
    trained = mpl.MPL(config, train, validation, tmp_path).run()
    seen: list[set[str]] = []
    network, _ = tuned(
        config, trained, train, validation, tmp_path / "tune", lambda _, epoch, __: seen.append(set(epoch.lcc))
    )
    assert seen == [{*KEYS, "distillmos"}] * 2
    assert network.targets == KEYS and set(network.heads) == set(KEYS)


def test_encoder_with_another_input_is_refused(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    encoder = tiny.little_encoder()
    encoder.feature = "wave"
    with pytest.raises(UsageError, match="is 'wave', which must be one of network"):
        mpl.MPL(CONFIG, train, validation, tmp_path).tune(trained, encoder)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_weight_outside_zero_to_one_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match="tuned_weight"):
        replace(CONFIG, tuned_weight=weight)


def test_tuning_needs_an_encoder() -> None:
    with pytest.raises(UsageError, match="needs 'encoder'"):
        replace(tiny.config(tiny.PLAIN), tune_encoder=True)
