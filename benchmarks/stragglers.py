"""A run on a thousand workers, simulated: slow machines, lost machines, files that kill, and what shards cost.

What a recording, a shard and a start cost was measured (scale_cost.py, scale_cluster.py); how often machines are
slow or lost is an assumption in Fleet. Shards are distributed as by Ray Data for this engine: one at a time
to a free worker, from the beginning again if a machine was lost, and never twice to save time.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Fleet:
    """Machines, and how they are assumed to behave."""

    nodes: int = 125
    workers_a_node: int = 8
    spread: float = 0.1
    """Standard deviation of the logarithm of a node's speed"""
    slow_share: float = 0.02
    """Of nodes: neighbours, throttled disks"""
    slow_factor: float = 3.0
    """So many times longer takes what a slow node does"""
    hours_between_losses: float = 200.0
    """Of one node: spot machines are taken back, disks fill, kernels panic"""
    back_after_s: float = 300.0
    """Seconds until another node replaces it"""


@dataclass(frozen=True)
class Work:
    """What is to be done, and what each part of it was measured to take."""

    recordings: int
    recording_s: float
    """Of processor, for one"""
    shard_size: int
    shard_s: float = 0.1
    """For each shard in addition to its recordings: list, mark, table, transfer through Ray"""
    hand_out_s: float = 0.01
    """Of the one process that hands out all shards, for each: workers wait for it"""
    start_s: float = 10.0
    """Of a worker: Python, Ray, the model"""
    variation: float = 0.8
    """Standard deviation of the logarithm of a recording's time: lengths differ"""
    killers: float = 1e-5
    """Share of recordings that kill their reader"""
    killer_s: float = 4.0
    """That each takes: two starts of a process that scores"""

    @property
    def shards(self) -> int:
        return -(-self.recordings // self.shard_size)


@dataclass(frozen=True)
class Run:
    """What came of it."""

    took_s: float
    ideal_s: float
    """All the recordings' time, shared by all workers of speed 1"""
    lost_s: float
    """Of workers, on shards that were begun again"""
    lost_nodes: int
    tail_s: float
    """From the time when a worker had no further work"""

    @property
    def efficiency(self) -> float:
        return self.ideal_s / self.took_s


def simulate(work: Work, fleet: Fleet, seed: int) -> Run:
    """One run, event by event: a worker is free, or a node is lost."""
    rng = np.random.default_rng(seed)
    pace = np.exp(rng.normal(0.0, fleet.spread, fleet.nodes))
    pace[rng.random(fleet.nodes) < fleet.slow_share] *= fleet.slow_factor
    times = _shard_times(work, rng)
    left = list(range(work.shards))[::-1]
    workers = fleet.nodes * fleet.workers_a_node
    at: list[int | None] = [None] * workers
    since = np.zeros(workers)
    generation = np.zeros(workers, dtype=int)  # what a lost worker had in the queue counts no more
    events = [(work.start_s * pace[n // fleet.workers_a_node], 0, n, 0) for n in range(workers)]
    between_s = fleet.hours_between_losses * 3600
    events += [(rng.exponential(between_s), 1, node, 0) for node in range(fleet.nodes)]
    heapq.heapify(events)
    done, took_s, lost_s, lost_nodes, idle_from, driver_free = 0, 0.0, 0.0, 0, None, 0.0
    while done < work.shards:
        now, kind, who, born = heapq.heappop(events)
        if kind == 1:
            lost_nodes += 1
            for worker in range(who * fleet.workers_a_node, (who + 1) * fleet.workers_a_node):
                shard = at[worker]
                if shard is not None:
                    lost_s += max(now - since[worker], 0.0)
                    left.append(shard)
                at[worker] = None
                generation[worker] += 1
                back = now + fleet.back_after_s + work.start_s * pace[who]
                heapq.heappush(events, (back, 0, worker, int(generation[worker])))
            heapq.heappush(events, (now + fleet.back_after_s + rng.exponential(between_s), 1, who, 0))
            continue
        if born != generation[who]:
            continue
        if at[who] is not None:
            done, took_s, at[who] = done + 1, now, None
        if left:
            driver_free = max(now, driver_free) + work.hand_out_s
            at[who], since[who] = left.pop(), driver_free
            shard_s = times[at[who]] * pace[who // fleet.workers_a_node]
            heapq.heappush(events, (driver_free + shard_s, 0, who, born))
        else:
            idle_from = now if idle_from is None else idle_from
            if lost_nodes or done < work.shards:  # it may be needed: a node may be lost yet
                heapq.heappush(events, (now + fleet.back_after_s / 10, 0, who, born))
    ideal_s = float(work.recordings * work.recording_s / workers)
    return Run(took_s, ideal_s, lost_s, lost_nodes, took_s - (took_s if idle_from is None else idle_from))


def _shard_times(work: Work, rng: np.random.Generator) -> Times:
    """Seconds of each shard on a node of pace 1. A shard's sum of many times is taken as normal."""
    sizes = np.full(work.shards, work.shard_size)
    sizes[-1] = work.recordings - work.shard_size * (work.shards - 1)
    relative = np.sqrt(np.exp(work.variation**2) - 1)
    sums = work.recording_s * (sizes + np.sqrt(sizes) * relative * rng.standard_normal(work.shards))
    killers = rng.binomial(sizes, work.killers)
    times: Times = np.maximum(sums, 0.1 * work.recording_s) + work.shard_s + killers * work.killer_s
    return times
