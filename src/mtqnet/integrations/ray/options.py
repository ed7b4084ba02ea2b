"""How a run on a cluster is done."""

from __future__ import annotations

from dataclasses import dataclass

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
