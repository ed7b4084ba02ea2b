"""Several processes train as one does: the same loss curve, whatever their number, also when it changes."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import one_of_several
import pytest
import tiny
import torch

from mtqnet.targets import KEYS
from mtqnet.training import dropout, loop, mapped
from mtqnet.training.config import FitConfig, MachineConfig
from mtqnet.training.dataset import training_batches
from mtqnet.training.losses import multi_task
from mtqnet.training.parallel import Share

HERE = Path(__file__).parent
AS_ONE = 1e-4
"""Largest difference of a loss: sums of floats in another order"""


def torchrun(processes: int, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [*map(str, command), str(HERE / "one_of_several.py"), str(folder), *map(str, arguments)],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def curve(folder: Path) -> list[float]:
    return [epoch["train_loss"] for epoch in json.loads((folder / "history.json").read_text())]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[loop.Epoch]:
    return one_of_several.train(tmp_path_factory.mktemp("alone"))


def test_two_processes_give_the_loss_curve_of_one(alone: list[loop.Epoch], tmp_path: Path) -> None:
    done = torchrun(2, tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [epoch.train_loss for epoch in alone]
    np.testing.assert_allclose(curve(tmp_path), expected, rtol=0, atol=AS_ONE)
    assert len(expected) == one_of_several.STEPS and np.ptp(expected) > 100 * AS_ONE
    errors = [epoch["validation_error"] for epoch in json.loads((tmp_path / "history.json").read_text())]
    np.testing.assert_allclose(errors, [epoch.validation_error for epoch in alone], rtol=0, atol=AS_ONE)


def test_run_goes_on_with_another_number_of_processes(alone: list[loop.Epoch], tmp_path: Path) -> None:
    killed = torchrun(2, tmp_path, 20)
    assert killed.returncode != 0 and not (tmp_path / "history.json").exists()
    resumed = one_of_several.train(tmp_path)
    assert [epoch.epoch for epoch in resumed] == list(range(1, one_of_several.STEPS + 1))
    expected = [epoch.train_loss for epoch in alone]
    np.testing.assert_allclose([epoch.train_loss for epoch in resumed], expected, rtol=0, atol=AS_ONE)


@pytest.mark.parametrize("world", [2, 3, 9])
def test_gradients_of_the_shares_add_up_to_those_of_the_batch(world: int) -> None:
    """Nine processes for seven clips: some have none."""
    data = one_of_several.partly_labelled(7, 3)
    fit = FitConfig(batch=7, level_db=6.0)

    def gradients(share: Share) -> list[torch.Tensor]:
        network = tiny.network(one_of_several.NETWORK).train()
        (batch,) = training_batches(data, KEYS, fit, np.random.default_rng(4), share)
        torch.manual_seed(5)
        dropout.tell(network, batch.part.rows if batch.part else None)
        counts = batch.part.counts if batch.part else None
        output = network(batch.inputs, batch.samples)
        loss = multi_task(output, batch.labels, KEYS, tiny.config().loss, counts=counts)
        return list(torch.autograd.grad(loss, list(network.parameters())))

    whole = gradients(Share())
    shares = [gradients(Share(rank, world)) for rank in range(world)]
    for number, expected in enumerate(whole):
        added = torch.stack([share[number] for share in shares]).sum(dim=0)
        torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-6)


def test_shares_read_their_own_clips_alone() -> None:
    data = one_of_several.partly_labelled(12, 3)
    parts = [
        list(training_batches(data, KEYS, FitConfig(batch=5), np.random.default_rng(1), Share(rank, 2)))
        for rank in (0, 1)
    ]
    wholes = list(training_batches(data, KEYS, FitConfig(batch=5), np.random.default_rng(1)))
    for whole, first, second in zip(wholes, *parts, strict=True):
        assert len(first.samples) + len(second.samples) == len(whole.samples)
        for rank, part in enumerate((first, second)):
            assert torch.equal(part.samples, whole.samples[rank::2])
            for name, view in part.inputs.items():
                assert torch.equal(view, whole.inputs[name][rank::2]), name


def test_mapped_arrays_are_those_of_numpy(tmp_path: Path) -> None:
    made = {"0/samples": np.int64(70_000), "0/logmel": np.arange(12, dtype=np.float16).reshape(4, 3)}
    np.savez(tmp_path / "chunk.npz", **made)  # type: ignore[arg-type]
    found = mapped.arrays(tmp_path / "chunk.npz")
    assert found.keys() == made.keys() and found["0/samples"] == 70_000
    np.testing.assert_array_equal(found["0/logmel"], made["0/logmel"])
    assert not found["0/logmel"].flags.writeable


def test_a_file_is_mapped_once_whatever_the_number_of_its_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "chunk.npz", *(np.full((n, 2), n, np.float16) for n in range(1, 9)))
    roots = set()
    for number, array in enumerate(mapped.arrays(tmp_path / "chunk.npz").values(), start=1):
        np.testing.assert_array_equal(array, np.full((number, 2), number))
        root: object = array
        while isinstance(root, np.ndarray):
            root = root.base
        assert isinstance(root, mmap.mmap)
        roots.add(id(root))
    assert len(roots) == 1


def test_sixteen_bit_products_train_nearly_the_same(tmp_path: Path) -> None:
    short = replace(one_of_several.FIT, epochs=8)
    exact = one_of_several.train(tmp_path / "exact", fit=short)
    rough = one_of_several.train(tmp_path / "rough", machine=MachineConfig(bf16=True), fit=short)
    losses = np.array([[epoch.train_loss for epoch in history] for history in (exact, rough)])
    assert not np.array_equal(losses[0], losses[1])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
