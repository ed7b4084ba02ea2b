"""The plain rivals: mean pooling is a linear layer on the mean, and ridge regression finds what is linear."""

from __future__ import annotations

import numpy as np
import tiny_data
import torch

from mtqnet.targets import QUEST
from mtqnet.training.config import Config, CorpusConfig, EncoderConfig
from mtqnet.training.encoder import load
from research.experiments.pooled import MeanPooled, Ridge

QUEST_KEYS = tuple(target.key for target in QUEST)
CONFIG = Config("tiny", CorpusConfig((), ()), encoder=EncoderConfig(layers=(1,), pool=4))


def test_score_is_the_linear_layer_of_the_mean_frame() -> None:
    torch.manual_seed(0)
    network = MeanPooled(CONFIG, QUEST_KEYS, 7)
    frames, counts = torch.randn(2, 5, 7), torch.tensor([5, 3])
    said = network({"encoder": frames, "encoder_counts": counts}, torch.tensor([1, 1]))
    means = torch.stack([frames[0].mean(dim=0), frames[1, :3].mean(dim=0)])
    torch.testing.assert_close(said.values, network.heads["score"](means))
    assert bool((said.frames[1, 3:] == 0).all())


def test_fine_tuning_moves_the_encoder_and_frozen_trunk_does_not() -> None:
    network = MeanPooled(CONFIG, QUEST_KEYS, load(CONFIG.encoder))
    assert network.encoder is not None
    logmel = torch.randn(1, 100, 80)
    for frozen in (True, False):
        network.freeze_trunk(frozen)
        network.zero_grad()
        network({"logmel": logmel}, torch.tensor([16_000])).values.sum().backward()
        assert (network.encoder.conv1.weight.grad is None) == frozen  # type: ignore[union-attr]
        assert network.heads["score"].weight.grad is not None


def test_ridge_finds_what_is_linear_in_level_and_spread() -> None:
    train, validation, test = (tiny_data.linear(80, seed) for seed in (1, 2, 3))
    ridge = Ridge(train, validation)
    said = ridge.predict(test)
    for key in QUEST_KEYS:
        assert np.corrcoef(said[key], test.labels[key])[0, 1] > 0.97


def test_ridge_learns_from_labelled_clips_alone() -> None:
    train, validation = tiny_data.linear(60, 1), tiny_data.linear(40, 2)
    hidden = {key: np.where(np.arange(60) < 30, train.labels[key], np.nan) for key in QUEST_KEYS}
    half = Ridge(train.with_labels(hidden), validation)
    alone = Ridge(train.take(np.arange(30)), validation)
    np.testing.assert_allclose(half.weights, alone.weights)


def test_penalty_is_larger_where_there_is_little_to_learn_from() -> None:
    validation = tiny_data.linear(60, 2)
    rng = np.random.default_rng(1)
    noise = tiny_data.linear(60, 3)
    drawn = noise.with_labels({key: rng.uniform(1, 5, 60) for key in QUEST_KEYS})
    assert Ridge(drawn, validation).penalty > Ridge(tiny_data.linear(60, 4), validation).penalty
