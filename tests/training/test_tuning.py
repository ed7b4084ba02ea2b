"""Fine-tuning: frozen epochs, weights, the anchor, and the number of epochs by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tiny_model
from mtqnet.audio.features import log_mel
from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, named
from mtqnet.training import tuning as fit
from mtqnet.training.export import load_weights
from mtqnet.training.features import Clip
from mtqnet.training.model import Network
from mtqnet.training.tuning import Array, Sound, TuneConfig, TuningData, scores, tuning_data

Samples = NDArray[np.float32]

TUNE = TuneConfig(epochs=10, frozen_epochs=3, batch=4, head_rate=2e-2, rate=1e-2)
RECORDINGS = 24
SEGMENTS = np.arange(25)
EVERYTHING = np.arange(RECORDINGS)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_weights(tiny_model.write(tmp_path_factory.mktemp("fit") / "tiny")).network


@pytest.fixture(scope="module")
def sound(voice: Callable[..., Samples]) -> Sound:
    """Voices from -50 to -13 dBov; the first recording comes in two pieces of unlike weight."""
    clips = [_clip(voice(0.6, level_db=-50.0 + 1.6 * number, seed=number)) for number in range(RECORDINGS)]
    clips.insert(1, _clip(voice(0.8, level_db=-20.0, seed=99)))
    of = np.array([0, 0, *range(1, RECORDINGS)])
    return Sound(clips, of, np.array([0.3, 0.7, *[1.0] * (RECORDINGS - 1)]), RECORDINGS)


def _clip(samples: Samples) -> Clip:
    return Clip(len(samples), {"logmel": log_mel(samples).astype(np.float16)})


LEVEL = np.linspace(1.0, 5.0, RECORDINGS)
"""A G-MOS that rises with the level"""
ALIKE = np.ones(RECORDINGS)


def made(
    network: Network, sound: Sound, truth: Array = LEVEL, trust: Array = ALIKE, unlabelled: Sequence[Clip] = ()
) -> TuningData:
    return tuning_data(network, sound, {"g_mos": truth}, {"g_mos": trust}, ("g_mos",), unlabelled)


def test_targets_without_ratings_are_labelled_by_the_original_network(network: Network, sound: Sound) -> None:
    extra = sound.clips[5:8]
    data = made(network, sound, unlabelled=extra)
    alone = scores(network, Sound(sound.clips, SEGMENTS, np.ones(len(SEGMENTS)), len(SEGMENTS)), SEGMENTS)
    for key in KEYS:
        if key != "g_mos":
            np.testing.assert_allclose(data.data.labels[key][:25], alone[key], rtol=1e-4)
            np.testing.assert_allclose(data.data.labels[key][25:], alone[key][5:8], rtol=1e-4)
    assert np.isnan(data.data.labels["g_mos"][25:]).all() and not data.data.weights["g_mos"][25:].any()
    assert data.data.labels["g_mos"][:3].tolist() == [LEVEL[0], LEVEL[0], LEVEL[1]]
    assert data.data.weights["g_mos"][:3].tolist() == [0.3, 0.7, 1.0]
    assert data.unlabelled.tolist() == [25, 26, 27]


def test_score_of_a_recording_is_the_mean_of_its_segments(network: Network, sound: Sound) -> None:
    whole = scores(network, sound, EVERYTHING)
    some = scores(network, sound, np.array([7, 0]))
    pieces = scores(network, Sound(sound.clips, SEGMENTS, np.ones(len(SEGMENTS)), len(SEGMENTS)), SEGMENTS)
    for target in named(KEYS):
        both = 0.3 * pieces[target.key][0] + 0.7 * pieces[target.key][1]
        assert some[target.key][1] == pytest.approx(both, rel=1e-4)
        assert some[target.key].tolist() == pytest.approx(whole[target.key][[7, 0]].tolist(), rel=1e-4)


def test_while_the_trunk_is_frozen_other_heads_do_not_change(network: Network, sound: Sound) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tuned = fit.tune(network, made(network, sound), EVERYTHING, 3, replace(TUNE, anchor=0.0))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "the start stays"
    changed = {name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("heads.g_mos.") for name in changed)
    later = fit.tune(network, made(network, sound), EVERYTHING, 4, TUNE).state_dict()
    assert not torch.equal(later["dense.weight"], before["dense.weight"])


def test_error_on_unseen_ratings_decreases(network: Network, sound: Sound) -> None:
    data, talkers = made(network, sound), [f"t{n % 5}" for n in range(RECORDINGS)]
    learning, left_out = EVERYTHING[EVERYTHING % 5 != 0], EVERYTHING[EVERYTHING % 5 == 0]
    epochs, errors = fit.search(network, data, learning, talkers, TUNE, lambda *_: None)
    assert epochs > 0 and len(errors) == TUNE.epochs + 1
    tuned = fit.tune(network, data, learning, epochs, TUNE)
    before, after = (fit.error(scores(n, sound, left_out), data, left_out) for n in (network, tuned))
    assert after < 0.7 * before


def test_anchor_limits_the_change_of_other_scores(network: Network, sound: Sound) -> None:
    before = scores(network, sound, EVERYTHING)

    def movement(anchor: float) -> float:
        config = replace(TUNE, frozen_epochs=0, anchor=anchor)
        after = scores(fit.tune(network, made(network, sound), EVERYTHING, 10, config), sound, EVERYTHING)
        others = [t for t in named(KEYS) if t.key != "g_mos"]
        return float(np.mean([np.abs(t.to_training(after[t.key]) - t.to_training(before[t.key])) for t in others]))

    assert movement(1.0) < 0.5 * movement(0.0)


def test_ratings_with_weight_zero_have_no_influence(network: Network, sound: Sound) -> None:
    trust = np.where(EVERYTHING < 12, 1.0, 0.0)
    wrong = np.where(EVERYTHING < 12, LEVEL, 1.0)
    config = replace(TUNE, frozen_epochs=2)
    one, other = (
        fit.tune(network, made(network, sound, truth, trust), EVERYTHING, 3, config) for truth in (LEVEL, wrong)
    )
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_accurate_model_is_hardly_changed(network: Network, sound: Sound) -> None:
    own = scores(network, sound, EVERYTHING)["g_mos"]
    noise = np.random.default_rng(0).normal(0, 0.5, RECORDINGS)
    data = made(network, sound, np.clip(own + noise, 1, 5))
    epochs, errors = fit.search(network, data, EVERYTHING, [str(n) for n in EVERYTHING], TUNE, lambda *_: None)
    if epochs:  # a little better by chance is allowed, much better is not there to be had
        assert min(errors) > 0.8 * errors[0]
    assert errors[-1] >= min(errors)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Epochs after which a search looked at what it leaves out."""
    seen: list[int] = []
    original = fit.tune

    def counting(start: Network, *rest: object) -> Network:
        judge = rest[-1]
        assert callable(judge)

        def count(net: Network, epochs: int) -> bool:
            seen.append(epochs)
            return bool(judge(net, epochs))

        return original(start, *rest[:-1], count)  # type: ignore[arg-type, call-arg]

    monkeypatch.setattr(fit, "tune", counting)
    return seen


def contradicted(network: Network, sound: Sound) -> TuningData:
    """Ratings that contradict what is left out: after the first epochs it only gets worse."""
    return made(network, sound, np.where(EVERYTHING % 2 == 0, LEVEL, 6 - LEVEL))


HALVES = [str(n % 2) for n in EVERYTHING]


def test_patience_ends_the_search(network: Network, sound: Sound, searched: list[int]) -> None:
    data = contradicted(network, sound)
    steps = {}
    for patience in (2, 99):
        searched.clear()
        config = replace(TUNE, patience=patience, frozen_epochs=0)
        _, errors = fit.search(network, data, EVERYTHING, HALVES, config, lambda *_: None)
        assert len(errors) == TUNE.epochs + 1
        steps[patience] = len(searched)
    assert steps[2] < steps[99] == 2 * (TUNE.epochs + 1)


def test_trunk_is_trained_before_patience_ends_the_search(
    network: Network, sound: Sound, searched: list[int]
) -> None:
    """Neither training the heads nor the network helps: each part ends after `patience` epochs."""
    config = replace(TUNE, patience=2, frozen_epochs=4)
    fit.search(network, contradicted(network, sound), EVERYTHING, HALVES, config, lambda *_: None)
    assert max(searched) >= 4 + 2


def test_result_is_between_the_weights_before_and_after(network: Network, sound: Sound) -> None:
    data, before = made(network, sound), network.state_dict()
    half, whole = (fit.tune(network, data, EVERYTHING, 5, replace(TUNE, share=s)).state_dict() for s in (0.5, 1.0))
    assert any(not torch.equal(whole[name], before[name]) for name in before)
    for name, weight in half.items():
        torch.testing.assert_close(weight, (before[name] + whole[name]) / 2)


def test_validated_network_is_the_result(network: Network, sound: Sound) -> None:
    judged: dict[int, dict[str, torch.Tensor]] = {}

    def judge(net: Network, epochs: int) -> bool:
        judged[epochs] = {name: weight.clone() for name, weight in net.state_dict().items()}
        return True

    data = made(network, sound)
    kept = fit.tune(network, data, EVERYTHING, 3, TUNE, judge).state_dict()
    assert list(judged) == [0, 1, 2, 3]
    for name, weight in network.state_dict().items():
        assert torch.equal(judged[0][name], weight) and torch.equal(judged[3][name], kept[name])


def test_share_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="share"):
        TuneConfig(share=0.0)


def test_same_seed_gives_the_same_weights(network: Network, sound: Sound) -> None:
    data = made(network, sound, unlabelled=sound.clips[3:9])
    states = [fit.tune(network, data, EVERYTHING, 6, TUNE).state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    other = fit.tune(network, data, EVERYTHING, 6, replace(TUNE, seed=2)).state_dict()
    assert not torch.equal(other["dense.weight"], states[0]["dense.weight"])


def test_error_is_weighted_and_on_the_training_scale(network: Network, sound: Sound) -> None:
    trust = np.where(EVERYTHING == 1, 3.0, 1.0)
    truth = np.where(EVERYTHING > 1, np.nan, LEVEL)
    data = made(network, sound, truth, trust)
    said = {"g_mos": truth + np.array([1.0, 2.0, *[0.0] * (RECORDINGS - 2)])}
    assert fit.error(said, data, EVERYTHING) == pytest.approx((1 * 1 + 3 * 4) / 4)
    assert np.isnan(fit.error({"g_mos": said["g_mos"][2:]}, data, EVERYTHING[2:]))
