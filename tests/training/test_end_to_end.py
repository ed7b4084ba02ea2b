"""After MPL the encoder learns with the network, on true labels; what comes out is the same after a break."""

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
from mtqnet.training import end_to_end, loop, mpl
from mtqnet.training.config import Config, FitConfig, PeersConfig
from mtqnet.training.dataset import Dataset, collate
from mtqnet.training.encoder import WhisperEncoder
from mtqnet.training.network import Network

WIDTH = 8
"""Of the little encoder's frames"""
TUNE = FitConfig(epochs=2, batch=4, learning_rate=1e-2)
CONFIG = replace(tiny.config(epochs=1), tune_encoder=True, tune=TUNE)


def heard(clips: int, seed: int) -> Dataset:
    """Clips with the frames that the little encoder gives."""
    data, encoder = tiny.dataset(tiny.CHANNEL, clips, seed), tiny.little_encoder().eval()
    made = []
    for clip in data.clips:
        logmel = torch.from_numpy(clip.features["logmel"].astype(np.float32))[None]
        with torch.inference_mode():
            frames = encoder(logmel, torch.tensor([clip.samples]))[0][0]
        made.append(replace(clip, features={**clip.features, "encoder": frames.numpy().astype(np.float16)}))
    return Dataset(made, data.labels)


@pytest.fixture(scope="module")
def train() -> Dataset:
    return heard(12, seed=1)


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return heard(8, seed=2)


@pytest.fixture(scope="module")
def trained(train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory) -> mpl.Trained:
    return mpl.run(CONFIG, train, validation, WIDTH, tmp_path_factory.mktemp("mpl"))


def learnt(
    config: Config, trained: mpl.Trained, train: Dataset, validation: Dataset, out: Path,
    report: mpl.Report | None = None,
) -> tuple[Network, WhisperEncoder]:  # fmt: skip
    encoder = tiny.little_encoder()
    network, _ = end_to_end.learn(config, trained, encoder, train, validation, out, report)
    return network, encoder


def weights(*modules: torch.nn.Module) -> list[torch.Tensor]:
    return [weight for module in modules for weight in module.state_dict().values()]


def same(ones: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def test_encoder_and_network_both_move(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    network, encoder = learnt(CONFIG, trained, train, validation, tmp_path)
    assert encoder.tuned and not encoder.training and network.targets == KEYS
    before = tiny.little_encoder()
    assert all(
        not torch.equal(one, other.half().float())
        for one, other in zip(weights(encoder), weights(before), strict=True)
    )
    assert not same(weights(network), weights(trained.student))
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_encoder_is_what_sixteen_bits_keep(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    encoder = learnt(CONFIG, trained, train, validation, tmp_path)[1]
    assert same(weights(encoder), [weight.half().float() for weight in weights(encoder)])


def test_a_share_of_nothing_leaves_the_encoder_as_it_was(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    encoder = learnt(replace(CONFIG, encoder_share=0.0), trained, train, validation, tmp_path)[1]
    assert same(weights(encoder), [weight.half().float() for weight in weights(tiny.little_encoder())])


def test_a_share_of_the_weights_is_kept_from_before(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    kept = {
        share: weights(*learnt(replace(CONFIG, tuned_share=share), trained, train, validation, tmp_path))
        for share in (0.0, 0.7, 1.0)
    }
    assert same(kept[0.0][: len(weights(trained.student))], weights(trained.student))
    for before, between, after in zip(kept[0.0], kept[0.7], kept[1.0], strict=True):
        torch.testing.assert_close(between, 0.3 * before + 0.7 * after, atol=2e-3, rtol=1e-3)


def test_scale_is_set_right_on_labels_and_ranks_stay(trained: mpl.Trained) -> None:
    clips = heard(end_to_end.LEAST_CLIPS, seed=3)
    data = Dataset([replace(c, features={"logmel": c.features["logmel"]}) for c in clips.clips], {})
    whole = end_to_end.EndToEnd(copy.deepcopy(trained.student), tiny.little_encoder(), 0.2, False)
    before = loop.predict(whole, data)
    truth = {
        key: target.from_training(1.2 * target.to_training(before[key]) - 0.1) for key, target in BY_KEY.items()
    }
    few = np.where(np.arange(len(data.clips)) < end_to_end.LEAST_CLIPS - 1, truth["n_mos"], np.nan)
    end_to_end.rescale(whole, data.with_labels({**{key: truth[key] for key in KEYS}, "n_mos": few}))
    after = loop.predict(whole, data)
    np.testing.assert_allclose(after["s_mos"], truth["s_mos"], atol=1e-4)
    np.testing.assert_allclose(np.log10(after["sdi_est"]), np.log10(truth["sdi_est"]), atol=1e-4)
    np.testing.assert_array_equal(after["n_mos"], before["n_mos"])


def test_heads_can_learn_alone_at_first(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    frozen = replace(CONFIG, tune=replace(TUNE, frozen_epochs=2))
    network, encoder = learnt(frozen, trained, train, validation, tmp_path)
    assert same(weights(encoder), [weight.half().float() for weight in weights(tiny.little_encoder())])
    assert same(weights(network.dense, network.lstm), weights(trained.student.dense, trained.student.lstm))
    assert not same(weights(network.heads), weights(trained.student.heads))


def test_the_stage_begins_with_what_mpl_left(trained: mpl.Trained, validation: Dataset) -> None:
    """Frames computed on the way are those that were stored, but for their 16 bits."""
    whole = end_to_end.EndToEnd(trained.student, tiny.little_encoder(), 0.2, bf16=False).eval()
    batch = collate(validation, np.arange(8), ())
    with torch.inference_mode():
        stored = trained.student(batch.inputs, batch.samples)
        heard = whole({"logmel": batch.inputs["logmel"]}, batch.samples)
    assert torch.equal(heard.counts, stored.counts)
    torch.testing.assert_close(heard.values, stored.values, atol=5e-3, rtol=0)


@pytest.mark.parametrize("key", ["pesq_est", "s_mos"])
def test_true_labels_of_all_six_count(
    key: str, trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    other = train.with_labels({key: train.labels[key][::-1].copy()})
    one = learnt(CONFIG, trained, train, validation, tmp_path / "one")
    two = learnt(CONFIG, trained, other, validation, tmp_path / "two")
    assert not same(weights(*one), weights(*two))


def test_stage_that_was_interrupted_comes_to_the_same_end(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(_network: str, _epoch: loop.Epoch, _epochs: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        learnt(CONFIG, trained, train, validation, tmp_path / "killed", kill)
    resumed = learnt(CONFIG, trained, train, validation, tmp_path / "killed")
    unbroken = learnt(CONFIG, trained, train, validation, tmp_path / "unbroken")
    assert same(weights(*resumed), weights(*unbroken))


def test_peers_are_heard_and_leave_no_head(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, peers=PeersConfig(heads=("distillmos",), consensus=("distillmos",)))
    said = {"distillmos": 2.0 + 0.4 * train.labels["g_mos"]}
    said["distillmos"][7:] = np.nan
    train = train.with_labels(said)
    validation = validation.with_labels({"distillmos": 2.0 + 0.4 * validation.labels["g_mos"]})
    trained = mpl.run(config, train, validation, WIDTH, tmp_path)
    seen: list[set[str]] = []
    network, _ = learnt(
        config, trained, train, validation, tmp_path / "tune", lambda _, epoch, __: seen.append(set(epoch.lcc))
    )
    assert seen == [{*KEYS, "distillmos"}] * 2
    assert network.targets == KEYS and set(network.heads) == set(KEYS)


def test_an_encoder_that_hears_something_else_is_refused(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    encoder = tiny.little_encoder()
    encoder.feature = "wave"
    with pytest.raises(UsageError, match="hears 'wave', and so must the network"):
        end_to_end.learn(CONFIG, trained, encoder, train, validation, tmp_path)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_more_than_all_of_the_weights_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="tuned_share"):
        replace(CONFIG, tuned_share=share)


def test_without_an_encoder_there_is_nothing_to_tune() -> None:
    with pytest.raises(UsageError, match="needs 'encoder'"):
        replace(tiny.config(tiny.PLAIN), tune_encoder=True)
