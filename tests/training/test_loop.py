"""The loop: a killed run goes on as if nothing had been, and the best epoch is what is left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors import safe_open

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, named
from mtqnet.training import loop
from mtqnet.training.config import FitConfig
from mtqnet.training.dataset import Dataset
from mtqnet.training.losses import multi_task
from mtqnet.training.network import Network

FIT = FitConfig(epochs=4, batch=4, learning_rate=1e-2, level_db=3.0)
LOSS = partial(multi_task, targets=KEYS, config=tiny.config().loss)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def train() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 24, seed=1)


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 12, seed=2)


def fit(train: Dataset, validation: Dataset, file: Path, kill_after: int = 99) -> tuple[Network, list[loop.Epoch]]:
    net = tiny.network(tiny.CHANNEL)

    def report(epoch: loop.Epoch, epochs: int) -> None:
        assert epochs == FIT.epochs
        if epoch.epoch == kill_after:
            raise KilledError

    return net, loop.fit(net, train, validation, LOSS, FIT, 7, file, report)


def assert_same(one: Network, other: Network) -> None:
    for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(left, right), name


@pytest.fixture(scope="module")
def unbroken(
    train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, list[loop.Epoch]]:
    return fit(train, validation, tmp_path_factory.mktemp("unbroken") / "net.safetensors")


@pytest.mark.parametrize("kill_after", [1, 2, 3])
def test_killed_run_goes_on_bit_for_bit(
    kill_after: int,
    unbroken: tuple[Network, list[loop.Epoch]],
    train: Dataset,
    validation: Dataset,
    tmp_path: Path,
) -> None:
    file = tmp_path / "net.safetensors"
    with pytest.raises(KilledError):
        fit(train, validation, file, kill_after)
    torch.manual_seed(99)  # another process has another state
    resumed, history = fit(train, validation, file)
    assert history == unbroken[1]
    assert_same(resumed, unbroken[0])


def test_finished_run_trains_no_more(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    net, history = fit(train, validation, file)
    before = file.read_bytes()
    again, same = fit(train, validation, file, kill_after=1)
    assert same == history and file.read_bytes() == before
    assert_same(net, again)


def test_what_another_front_end_heard_is_not_gone_on_with(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    """Other layers of an encoder: same clips, labels, dimensions and first weights."""
    file = tmp_path / "net.safetensors"
    fit(train, validation, file)
    clips = [
        replace(clip, features={name: view + np.float16(0.5) for name, view in clip.features.items()})
        for clip in train.clips
    ]
    with pytest.raises(UsageError, match="other clips or other options"):
        fit(Dataset(clips, train.labels), validation, file)


def test_network_learns(unbroken: tuple[Network, list[loop.Epoch]]) -> None:
    history = unbroken[1]
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4]
    assert history[-1].train_loss < 0.9 * history[0].train_loss
    assert history[-1].lcc["n_mos"] > 0.5


def test_best_epoch_is_what_is_left(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    """Training labels that contradict the validation labels: the first epoch is the best."""
    wrong = train.with_labels({t.key: t.from_training(-t.to_training(train.labels[t.key])) for t in named(KEYS)})
    net, history = fit(wrong, validation, tmp_path / "net.safetensors")
    assert min(history, key=lambda epoch: epoch.validation_error).epoch < FIT.epochs
    found = loop.judge(net, validation)[0]
    assert found == pytest.approx(min(epoch.validation_error for epoch in history), rel=1e-6)
    assert not net.training


def test_best_epoch_survives_a_kill(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    net, _ = fit(train, validation, file)
    with safe_open(file, "pt") as stored:
        best = {name.removeprefix("best/"): stored.get_tensor(name)
                for name in stored.keys() if name.startswith("best/")}  # noqa: SIM118  # fmt: skip
    assert best.keys() == net.state_dict().keys()
    assert all(torch.equal(best[name], value) for name, value in net.state_dict().items())


def test_evaluation_does_not_depend_on_the_batches(validation: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny.network(tiny.CHANNEL)
    whole = loop.judge(net, validation)[0], loop.predict(net, validation)
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 5)
    assert loop.judge(net, validation)[0] == pytest.approx(whole[0], rel=1e-5)
    for key, scores in loop.predict(net, validation).items():
        np.testing.assert_allclose(scores, whole[1][key], rtol=1e-3)


def test_correlation_leaves_out_clips_without_label(validation: Dataset) -> None:
    net = tiny.network(tiny.CHANNEL)
    values = validation.labels["s_mos"].copy()
    kept = Dataset(validation.clips[3:], {key: labels[3:] for key, labels in validation.labels.items()})
    values[:3] = np.nan
    found = loop.judge(net, validation.with_labels({"s_mos": values}))[1]
    assert found["s_mos"] == pytest.approx(loop.judge(net, kept)[1]["s_mos"], abs=1e-6)


def test_target_without_labels_has_no_correlation(validation: Dataset) -> None:
    net = tiny.network(tiny.CHANNEL)
    unknown = validation.with_labels({"s_mos": np.full(len(validation.clips), np.nan)})
    assert np.isnan(loop.judge(net, unknown)[1]["s_mos"])


def test_run_is_judged_by_the_quest_labels_where_there_are_any(validation: Dataset) -> None:
    net = tiny.network(tiny.CHANNEL)
    whole = loop.judge(net, validation)[0]
    flat = {key: np.full(len(validation.clips), np.nan) for key in ("pesq_est", "stoi_est", "sdi_est")}
    assert loop.judge(net, validation.with_labels(flat))[0] == whole
    teacher = tiny.network(tiny.CHANNEL, ("pesq_est", "sdi_est"))
    errors = []
    for target in named(("pesq_est", "sdi_est")):
        said = target.to_training(loop.predict(teacher, validation)[target.key])
        errors.append(np.mean((said - target.to_training(validation.labels[target.key])) ** 2))
    assert loop.judge(teacher, validation)[0] == pytest.approx(np.mean(errors), rel=1e-6)


def test_without_labels_to_judge_by_the_last_epoch_is_left(train: Dataset, tmp_path: Path) -> None:
    blind = Dataset(train.clips[:3], {})
    net = tiny.network(tiny.CHANNEL)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    history = loop.fit(net, train, blind, LOSS, FIT, 7, tmp_path / "net.safetensors")
    assert all(np.isnan(epoch.validation_error) for epoch in history)
    assert any(not torch.equal(before[name], weight) for name, weight in net.state_dict().items())


def test_heads_learn_alone_while_the_trunk_is_frozen(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    def trunk_moves(frozen: int) -> tuple[bool, bool]:
        net = tiny.network(tiny.CHANNEL)
        before = {name: weight.clone() for name, weight in net.state_dict().items()}
        config = replace(FIT, frozen_epochs=frozen)
        loop.fit(net, train, validation, LOSS, config, 7, tmp_path / f"{frozen}.safetensors")
        moved = [name for name, weight in net.state_dict().items() if not torch.equal(before[name], weight)]
        assert all(weight.requires_grad for weight in net.parameters())
        heads = {name.startswith("heads.") for name in moved}
        return False in heads, True in heads

    assert trunk_moves(FIT.epochs) == (False, True)
    assert trunk_moves(1) == (True, True)


def test_run_with_a_frozen_beginning_is_resumed_bit_for_bit(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    config = replace(FIT, frozen_epochs=2)

    def run(file: Path, kill_after: int = 99) -> Network:
        def report(epoch: loop.Epoch, _epochs: int) -> None:
            if epoch.epoch == kill_after:
                raise KilledError

        net = tiny.network(tiny.CHANNEL)
        loop.fit(net, train, validation, LOSS, config, 7, file, report)
        return net

    with pytest.raises(KilledError):
        run(tmp_path / "killed.safetensors", 1)
    assert_same(run(tmp_path / "killed.safetensors"), run(tmp_path / "whole.safetensors"))


def test_learning_rate_follows_the_steps_of_all_epochs(
    train: Dataset, validation: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def schedule(progress: float) -> float:
        seen.append(progress)
        return 0.1

    monkeypatch.setattr(loop, "schedule", schedule)
    fit(train, validation, tmp_path / "net.safetensors")
    np.testing.assert_allclose(seen, np.arange(24) / 24)  # 4 epochs of 6 batches


def test_learning_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    rates = [loop.schedule(step / 1000) for step in range(1001)]
    assert np.argmax(rates) == pytest.approx(1000 * loop.WARM_UP, abs=1)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert np.all(np.diff(rates[:100]) > 0) and np.all(np.diff(rates[101:]) <= 0)
    assert rates[0] > 0 and rates[-1] == pytest.approx(0.0, abs=1e-6)


def test_checkpoint_of_other_options_or_labels_is_refused(tmp_path: Path) -> None:
    train, validation = tiny.dataset(tiny.CHANNEL, 8), tiny.dataset(tiny.CHANNEL, 4, seed=1)
    file = tmp_path / "net.safetensors"
    fit(train, validation, file)
    other = tiny.dataset(tiny.CHANNEL, 8, seed=2)
    with pytest.raises(UsageError, match="name another folder"):
        fit(other, validation, file)
    with pytest.raises(UsageError, match="name another folder"):
        loop.fit(tiny.network(tiny.CHANNEL), train, validation, LOSS, FIT, 8, file)
    with pytest.raises(UsageError, match="name another folder"):
        loop.fit(tiny.network(tiny.CHANNEL, seed=1), train, validation, LOSS, FIT, 7, file)
