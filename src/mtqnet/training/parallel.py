"""Training in several processes, started by torchrun: DistributedDataParallel. Without torchrun there is one
process.

    torchrun --nproc-per-node 2 -m mtqnet train configs/base.toml --data ../shared/data --out runs/base

All processes draw the same batches; each computes the gradients of its part of every batch, and DDP averages them.
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
from torch import distributed

TIMEOUT = timedelta(days=7)
"""How long the other processes wait while the first builds a corpus"""


@dataclass(frozen=True)
class Process:
    """Position of this process among all processes."""

    rank: int = 0
    world: int = 1
    """Number of processes"""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0


SINGLE = Process()


def current() -> Process:
    """Return the position of this process; the only one unless `started` joined several."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return SINGLE
    return Process(distributed.get_rank(), distributed.get_world_size())


def device() -> torch.device:
    """Return the GPU of this process, or the CPU without a GPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def started() -> Iterator[Process]:
    """Join the processes that torchrun started, according to its environment variables."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield current()
        return
    distributed.init_process_group("nccl" if device().type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield current()
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[Process]:
    """Run the block in the first process, then in all others, which find its results on disk.

    If the first process fails, torchrun ends the others.
    """
    process = current()
    if not process.first:
        distributed.barrier()
    yield process
    if process.first and process.world > 1:
        distributed.barrier()


def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of an array over all processes, in each of them."""
    if current().world == 1:
        return values
    total = torch.from_numpy(values).to(device())
    distributed.all_reduce(total)
    return np.asarray(total.cpu().numpy())
