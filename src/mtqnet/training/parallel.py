"""Several processes that train one network, started by torchrun: who does what. Without it, one does all.

    torchrun --nproc-per-node 2 -m mtqnet train configs/base.toml --data ../shared/data --out runs/base

All processes draw the same batches. Of each, a process takes every n-th clip; the sums that a loss divides by are
those of the whole batch, and so are dropout's draws. So the gradients, and with them the run, are those of one
process, whatever the number: a run goes on with another number of processes as if nothing had been.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

PATIENCE = timedelta(days=7)
"""How long the others wait while the first process builds a corpus"""


@dataclass(frozen=True)
class Share:
    """Which part of the work this process does."""

    rank: int = 0
    world: int = 1
    """Processes in all"""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def rows(self, count: int) -> NDArray[np.int64]:
        """This process's rows of a batch of `count`: sorted by length, it gives each as many long ones."""
        return np.arange(self.rank, count, self.world)


ALONE = Share()


def here() -> Share:
    """The share of this process: all of the work, unless `started` made it one of several."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Share(distributed.get_rank(), distributed.get_world_size())


def device() -> torch.device:
    """The GPU of this process, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def started() -> Iterator[Share]:
    """Joins the processes that torchrun started, as its environment says; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield here()
        return
    distributed.init_process_group("nccl" if device().type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield here()
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[Share]:
    """The first process goes through the block, then all others do, who find what it made.

    Where the first fails, torchrun ends the others.
    """
    share = here()
    if not share.first:
        distributed.barrier()
    yield share
    if share.first and share.world > 1:
        distributed.barrier()


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, in each of them; `values` itself where there is one."""
    if here().world > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def summed_array(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same for an array."""
    total: NDArray[np.float64] = summed(torch.from_numpy(values).to(device())).cpu().numpy()
    return total
