"""The training loop: an interrupted run resumes exactly, and the result has the weights of the best epoch."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from rich.console import Console
from safetensors import safe_open

from mtqnet.cli.train import epoch_lines
from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, named
from mtqnet.training import trainer
from mtqnet.training.batches import Dataset
from mtqnet.training.config import FitConfig, MachineConfig
from mtqnet.training.losses import MultiTaskLoss
from mtqnet.training.model import Network
from mtqnet.training.trainer import Epoch, State, moving_average

FIT = FitConfig(epochs=4, batch=4, learning_rate=1e-2, level_db=3.0)
LOSS = MultiTaskLoss(KEYS, tiny.config().loss)


EPOCH = Epoch(1, 0.5, 0.25, {"s_mos": 0.5})


class KilledError(Exception):
    """Raised instead of killing the process."""


@pytest.fixture(scope="module")
def train() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 24, seed=1)


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 12, seed=2)


def fit(
    train: Dataset, validation: Dataset, file: Path, kill_after: int = 99
) -> tuple[Network, list[trainer.Epoch]]:
    net = tiny.network(tiny.CHANNEL)

    def report(epoch: trainer.Epoch, epochs: int) -> None:
        assert epochs == FIT.epochs
        if epoch.epoch == kill_after:
            raise KilledError

    return net, trainer.fit(net, train, validation, LOSS, FIT, 7, file, report)


def assert_same(one: Network, other: Network) -> None:
    for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(left, right), name


@pytest.fixture(scope="module")
def unbroken(
    train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, list[trainer.Epoch]]:
    return fit(train, validation, tmp_path_factory.mktemp("unbroken") / "net.safetensors")


@pytest.mark.parametrize("kill_after", [1, 2, 3])
def test_interrupted_run_resumes_exactly(
    kill_after: int,
    unbroken: tuple[Network, list[trainer.Epoch]],
    train: Dataset,
    validation: Dataset,
    tmp_path: Path,
) -> None:
    file = tmp_path / "net.safetensors"
    with pytest.raises(KilledError):
        fit(train, validation, file, kill_after)
    torch.manual_seed(99)  # another process has another state of the random numbers
    resumed, history = fit(train, validation, file)
    assert history == unbroken[1]
    assert_same(resumed, unbroken[0])


def test_finished_run_is_not_trained_again(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    net, history = fit(train, validation, file)
    before = file.read_bytes()
    again, same = fit(train, validation, file, kill_after=1)
    assert same == history and file.read_bytes() == before
    assert_same(net, again)


def test_checkpoint_with_features_of_another_front_end_is_refused(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    """Other encoder layers with the same clips, labels, dimensions and initial weights."""
    file = tmp_path / "net.safetensors"
    fit(train, validation, file)
    clips = [
        replace(clip, features={name: view + np.float16(0.5) for name, view in clip.features.items()})
        for clip in train.clips
    ]
    with pytest.raises(UsageError, match="other clips or other options"):
        fit(Dataset(clips, train.labels), validation, file)


def test_network_learns(unbroken: tuple[Network, list[trainer.Epoch]]) -> None:
    history = unbroken[1]
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4]
    assert history[-1].train_loss < 0.9 * history[0].train_loss
    assert history[-1].lcc["n_mos"] > 0.5


def test_result_has_the_weights_of_the_best_epoch(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    """With training labels that contradict the validation labels, an early epoch is the best."""
    wrong = train.with_labels({t.key: t.from_training(-t.to_training(train.labels[t.key])) for t in named(KEYS)})
    net, history = fit(wrong, validation, tmp_path / "net.safetensors")
    assert min(history, key=lambda epoch: epoch.validation_error).epoch < FIT.epochs
    error = trainer.validate(net, validation)[0]
    assert error == pytest.approx(min(epoch.validation_error for epoch in history), rel=1e-6)
    assert not net.training


def test_checkpoint_contains_the_best_weights(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    net, _ = fit(train, validation, file)
    with safe_open(file, "pt") as stored:
        best = {name.removeprefix("best/"): stored.get_tensor(name)
                for name in stored.keys() if name.startswith("best/")}  # noqa: SIM118  # fmt: skip
    assert best.keys() == net.state_dict().keys()
    assert all(torch.equal(best[name], value) for name, value in net.state_dict().items())


def test_evaluation_does_not_depend_on_the_batches(validation: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny.network(tiny.CHANNEL)
    whole = trainer.validate(net, validation)[0], trainer.predict(net, validation)
    monkeypatch.setattr(trainer, "EVALUATION_BATCH", 5)
    assert trainer.validate(net, validation)[0] == pytest.approx(whole[0], rel=1e-5)
    for key, scores in trainer.predict(net, validation).items():
        np.testing.assert_allclose(scores, whole[1][key], rtol=1e-3)


def test_correlation_ignores_clips_without_label(validation: Dataset) -> None:
    net = tiny.network(tiny.CHANNEL)
    values = validation.labels["s_mos"].copy()
    kept = Dataset(validation.clips[3:], {key: labels[3:] for key, labels in validation.labels.items()})
    values[:3] = np.nan
    found = trainer.validate(net, validation.with_labels({"s_mos": values}))[1]
    assert found["s_mos"] == pytest.approx(trainer.validate(net, kept)[1]["s_mos"], abs=1e-6)


def test_target_without_labels_has_no_correlation(validation: Dataset) -> None:
    net = tiny.network(tiny.CHANNEL)
    unknown = validation.with_labels({"s_mos": np.full(len(validation.clips), np.nan)})
    assert np.isnan(trainer.validate(net, unknown)[1]["s_mos"])


def test_validation_error_is_of_s_n_and_g_mos_if_there_are_labels(validation: Dataset) -> None:
    net = tiny.network(tiny.CHANNEL)
    whole = trainer.validate(net, validation)[0]
    flat = {key: np.full(len(validation.clips), np.nan) for key in ("pesq_est", "stoi_est", "sdi_est")}
    assert trainer.validate(net, validation.with_labels(flat))[0] == whole
    teacher = tiny.network(tiny.CHANNEL, ("pesq_est", "sdi_est"))
    errors = []
    for target in named(("pesq_est", "sdi_est")):
        predicted = target.to_training(trainer.predict(teacher, validation)[target.key])
        errors.append(np.mean((predicted - target.to_training(validation.labels[target.key])) ** 2))
    assert trainer.validate(teacher, validation)[0] == pytest.approx(np.mean(errors), rel=1e-6)


def test_without_validation_labels_the_last_epoch_is_kept(train: Dataset, tmp_path: Path) -> None:
    blind = Dataset(train.clips[:3], {})
    net = tiny.network(tiny.CHANNEL)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    history = trainer.fit(net, train, blind, LOSS, FIT, 7, tmp_path / "net.safetensors")
    assert all(np.isnan(epoch.validation_error) for epoch in history)
    assert any(not torch.equal(before[name], weight) for name, weight in net.state_dict().items())


def test_only_heads_are_trained_while_the_trunk_is_frozen(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    def trunk_moves(frozen: int) -> tuple[bool, bool]:
        net = tiny.network(tiny.CHANNEL)
        before = {name: weight.clone() for name, weight in net.state_dict().items()}
        config = replace(FIT, frozen_epochs=frozen)
        trainer.fit(net, train, validation, LOSS, config, 7, tmp_path / f"{frozen}.safetensors")
        moved = [name for name, weight in net.state_dict().items() if not torch.equal(before[name], weight)]
        assert all(weight.requires_grad for weight in net.parameters())
        heads = {name.startswith("heads.") for name in moved}
        return False in heads, True in heads

    assert trunk_moves(FIT.epochs) == (False, True)
    assert trunk_moves(1) == (True, True)


def test_interrupted_run_with_frozen_epochs_resumes_exactly(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    config = replace(FIT, frozen_epochs=2)

    def run(file: Path, kill_after: int = 99) -> Network:
        def report(epoch: trainer.Epoch, _epochs: int) -> None:
            if epoch.epoch == kill_after:
                raise KilledError

        net = tiny.network(tiny.CHANNEL)
        trainer.fit(net, train, validation, LOSS, config, 7, file, report)
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

    monkeypatch.setattr(trainer, "warm_up_and_cosine", schedule)
    fit(train, validation, tmp_path / "net.safetensors")
    np.testing.assert_allclose(seen, np.arange(25) / 24)  # 4 epochs of 6 batches, and the step after the last


def test_learning_rate_increases_linearly_and_decreases_to_zero() -> None:
    rates = [trainer.warm_up_and_cosine(step / 1000) for step in range(1001)]
    assert np.argmax(rates) == pytest.approx(1000 * trainer.WARM_UP, abs=1)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert np.all(np.diff(rates[:100]) > 0) and np.all(np.diff(rates[101:]) <= 0)
    assert rates[0] > 0 and rates[-1] == pytest.approx(0.0, abs=1e-6)


def test_checkpoint_of_other_options_or_labels_is_refused(tmp_path: Path) -> None:
    train, validation = tiny.dataset(tiny.CHANNEL, 8), tiny.dataset(tiny.CHANNEL, 4, seed=1)
    file = tmp_path / "net.safetensors"
    fit(train, validation, file)
    other = tiny.dataset(tiny.CHANNEL, 8, seed=2)
    with pytest.raises(UsageError, match="use another --out"):
        fit(other, validation, file)
    with pytest.raises(UsageError, match="use another --out"):
        trainer.fit(tiny.network(tiny.CHANNEL), train, validation, LOSS, FIT, 8, file)
    with pytest.raises(UsageError, match="use another --out"):
        trainer.fit(tiny.network(tiny.CHANNEL, seed=1), train, validation, LOSS, FIT, 7, file)


AVERAGED = FitConfig(epochs=3, batch=4, learning_rate=1e-2, ema_decay=0.8)


def state(decay: float = 0.0, seed: int = 0) -> State:
    net = tiny.network(tiny.CHANNEL, seed=seed)
    return State(net, torch.optim.AdamW(net.parameters()), moving_average(net, decay))


def weight(net: torch.nn.Module) -> torch.Tensor:
    return next(net.parameters()).detach().clone()


def test_checkpoint_is_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run" / "net.safetensors"
    trainer.save(file, "identity", state(), [EPOCH])
    assert [entry.name for entry in file.parent.iterdir()] == ["net.safetensors"]
    before = file.read_bytes()

    def half(_tensors: object, path: Path, _metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise KilledError

    monkeypatch.setattr(trainer, "save_file", half)
    with pytest.raises(KilledError):
        trainer.save(file, "identity", state(), [])
    assert file.read_bytes() == before


def test_saved_state_is_restored(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    one, other = state(0.5, seed=1), state(0.5, seed=2)
    average_step(one)
    trainer.save(file, "identity", one, [EPOCH])
    assert trainer.restore(file, "identity", other) == [EPOCH]
    for left, right in ((one.network, other.network), (one.validated, other.validated)):
        for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    assert all(torch.equal(value, other.best[name]) for name, value in one.best.items())


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    trainer.save(file, "identity", state(), [])
    with pytest.raises(UsageError, match="other clips or other options"):
        trainer.restore(file, "another", state())


def test_moving_average_decays_at_each_step() -> None:
    run = state(0.75)
    average_step(run)  # the first step copies the weights
    first = weight(run.network)
    assert torch.equal(weight(run.validated), first)
    with torch.no_grad():
        next(run.network.parameters()).add_(1.0)
    average_step(run)
    torch.testing.assert_close(weight(run.validated), first + 0.25)
    assert state(0.0).validated is not None and moving_average(run.network, 0.0) is None


def average_step(run: State) -> None:
    assert run.average is not None
    run.average.update_parameters(run.network)


def fitted(
    train: Dataset, validation: Dataset, file: Path, config: FitConfig
) -> tuple[Network, list[trainer.Epoch]]:
    net = tiny.network(tiny.CHANNEL)
    return net, trainer.fit(net, train, validation, LOSS, config, 7, file)


def test_moving_average_is_validated_and_kept(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    one, history = fitted(train, validation, tmp_path / "one", AVERAGED)
    error = trainer.validate(one, validation)[0]
    assert error == pytest.approx(min(epoch.validation_error for epoch in history), rel=1e-4)
    plain, _ = fitted(train, validation, tmp_path / "plain", replace(AVERAGED, ema_decay=0.0))
    assert not torch.equal(weight(one), weight(plain))


def test_interrupted_run_with_a_moving_average_resumes_exactly(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    whole, history = fitted(train, validation, tmp_path / "whole", AVERAGED)

    def kill(epoch: trainer.Epoch, _epochs: int) -> None:
        if epoch.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        trainer.fit(tiny.network(tiny.CHANNEL), train, validation, LOSS, AVERAGED, 7, tmp_path / "broken", kill)
    resumed, again = fitted(train, validation, tmp_path / "broken", AVERAGED)
    assert again == history
    for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_bfloat16_trains_nearly_the_same(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    losses = []
    for bf16 in (False, True):
        net, file = tiny.network(tiny.CHANNEL), tmp_path / f"{bf16}.safetensors"
        history = trainer.fit(net, train, validation, LOSS, FIT, 7, file, machine=MachineConfig(bf16=bf16))
        losses.append([epoch.train_loss for epoch in history])
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


def test_line_of_an_epoch_omits_targets_without_validation_labels() -> None:
    console = Console(width=200, record=True, quiet=False, file=io.StringIO())
    found = trainer.Epoch(2, 0.5, 0.25, {"s_mos": 0.875, "pesq_est": float("nan")})
    epoch_lines(console, lambda *_: None)("MTQ-Net", found, 3)
    assert console.export_text().strip() == "MTQ-Net   2/3  loss 0.500, validation error 0.250, LCC S-MOS 0.875"
