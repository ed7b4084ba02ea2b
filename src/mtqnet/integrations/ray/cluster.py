"""A Ray cluster: one that runs already, or one on this machine for as long as the work takes; how a run is done."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mtqnet.errors import MtqnetError, missing_extra
from mtqnet.scoring.batch import cores

SHARD_SIZE = 64
"""Recordings of a shard: some seconds of work, lost if a worker dies. docs/scale.md explains when to use more"""
MEMORY_GB = 4.0
"""That a process which scores may have: with base it has 0.4, and a file of any length adds little"""
GIGA = 1 << 30


@dataclass(frozen=True)
class ScaleOptions:
    """How a run is done; what does not change its rows, but for the model and `windows`."""

    model: str = "base"
    address: str | None = None
    """Of a Ray cluster; None: RAY_ADDRESS, or this machine"""
    workers: int = 0
    """0: as many as the cluster has processors for"""
    threads: int = 1
    """Math threads of a worker, and number of processors that it reserves"""
    shard_size: int = SHARD_SIZE
    windows: bool = False
    again: bool = False
    """Score shards again in which some recordings could not be scored"""
    memory_gb: float = MEMORY_GB
    """That a process which scores may have; 0: no limit"""


LOCAL = "local"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
"""Ray reports its use over the network unless this is set; this package opens no connections of its own"""


def need_ray() -> None:
    """Raise MissingExtraError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("--engine ray", "ray")


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster at this address (or RAY_ADDRESS), or to one of this machine that is started
    for the block. One that the process is connected to already is taken as it is.
    """
    need_ray()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    started: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if where == LOCAL else {}
    try:
        ray.init(address=where, logging_level=logging.ERROR, log_to_driver=False, **started)
    except Exception as error:  # Ray's own has no kind where a machine is too busy to start it
        raise MtqnetError(f"no Ray cluster at {where} ({error}): start one with `ray start --head`") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def cluster_errors(ray: Any) -> Iterator[None]:
    """What ends the work of a cluster for good -> MtqnetError, its reason first."""
    try:
        yield
    except MtqnetError:
        raise
    except ray.exceptions.RayError as error:
        reason = _reason(error)
        raise MtqnetError(
            f"the cluster failed ({reason}); completed shards are kept, run the command again to resume"
        ) from error


def _reason(error: BaseException) -> str:
    """Return the first line of the original error in the chain that Ray wraps."""
    while inner := getattr(error, "cause", None) or error.__cause__:
        error = inner
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def processors(ray: Any) -> int:
    """Of all nodes that live."""
    return int(ray.cluster_resources().get("CPU", 1))


def quiet_data() -> Any:
    """Ray Data without its bars; its module."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own settings
        import ray.data

        context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data
