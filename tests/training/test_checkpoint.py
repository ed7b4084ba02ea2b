"""Checkpoints: whole or not at all, of one run alone; and the average of weights that they carry."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tiny
import torch

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS
from mtqnet.training import checkpoint, loop
from mtqnet.training.checkpoint import State, averaged
from mtqnet.training.config import FitConfig
from mtqnet.training.dataset import Dataset
from mtqnet.training.losses import multi_task
from mtqnet.training.network import Network

FIT = FitConfig(epochs=3, batch=4, learning_rate=1e-2, average=0.8)
LOSS = partial(multi_task, targets=KEYS, config=tiny.config().loss)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def train() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 12, seed=1)


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 8, seed=2)


def state(share: float = 0.0, seed: int = 0) -> State:
    net = tiny.network(tiny.CHANNEL, seed=seed)
    return State(net, torch.optim.AdamW(net.parameters()), averaged(net, share))


def weight(net: torch.nn.Module) -> torch.Tensor:
    return next(net.parameters()).detach().clone()


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run" / "net.safetensors"
    checkpoint.save(file, "identity", state(), [{"epoch": 1}])
    assert [entry.name for entry in file.parent.iterdir()] == ["net.safetensors"]
    before = file.read_bytes()

    def half(_tensors: object, path: Path, _metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise KilledError

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(KilledError):
        checkpoint.save(file, "identity", state(), [])
    assert file.read_bytes() == before


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    one, other = state(0.5, seed=1), state(0.5, seed=2)
    one.average_step()
    checkpoint.save(file, "identity", one, [{"epoch": 1}])
    assert checkpoint.restore(file, "identity", other) == [{"epoch": 1}]
    for left, right in ((one.network, other.network), (one.judged, other.judged)):
        for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    assert all(torch.equal(value, other.best[name]) for name, value in one.best.items())


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    checkpoint.save(file, "identity", state(), [])
    with pytest.raises(UsageError, match="other clips or other options"):
        checkpoint.restore(file, "another", state())


def test_the_average_keeps_its_share_at_each_step() -> None:
    run = state(0.75)
    run.average_step()  # the first step is taken as it is
    first = weight(run.network)
    assert torch.equal(weight(run.judged), first)
    with torch.no_grad():
        next(run.network.parameters()).add_(1.0)
    run.average_step()
    torch.testing.assert_close(weight(run.judged), first + 0.25)
    assert state(0.0).judged is not None and averaged(run.network, 0.0) is None


def fitted(train: Dataset, validation: Dataset, file: Path, config: FitConfig) -> tuple[Network, list[loop.Epoch]]:
    net = tiny.network(tiny.CHANNEL)
    return net, loop.fit(net, train, validation, LOSS, config, 7, file)


def test_the_average_is_what_is_judged_and_left(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    one, history = fitted(train, validation, tmp_path / "one", FIT)
    error = loop.judge(one, validation)[0]
    assert error == pytest.approx(min(epoch.validation_error for epoch in history), rel=1e-4)
    plain, _ = fitted(train, validation, tmp_path / "plain", replace(FIT, average=0.0))
    assert not torch.equal(weight(one), weight(plain))


def test_a_killed_run_with_an_average_goes_on_as_if_nothing_had_been(
    train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    whole, history = fitted(train, validation, tmp_path / "whole", FIT)

    def kill(epoch: loop.Epoch, _epochs: int) -> None:
        if epoch.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        loop.fit(tiny.network(tiny.CHANNEL), train, validation, LOSS, FIT, 7, tmp_path / "broken", kill)
    resumed, again = fitted(train, validation, tmp_path / "broken", FIT)
    assert again == history
    for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)
