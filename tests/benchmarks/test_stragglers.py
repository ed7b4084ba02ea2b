"""The simulation agrees with what can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stragglers import Fleet, Work, simulate

EVEN = Fleet(nodes=10, workers_a_node=2, spread=0.0, slow_share=0.0, hours_between_losses=1e9)
WORK = Work(20_000, 0.1, 50, shard_s=0.0, hand_out_s=0.0, start_s=0.0, variation=0.0, killers=0.0)


def test_even_machines_take_what_division_says() -> None:
    """400 shards of 5 s on 20 workers: 20 rounds."""
    run = simulate(WORK, EVEN, 1)
    assert run.took_s == pytest.approx(100.0) == run.ideal_s
    assert run.efficiency == pytest.approx(1.0) and run.lost_s == 0.0 and run.tail_s == pytest.approx(0.0)


def test_starts_and_shards_add_what_they_cost() -> None:
    run = simulate(replace(WORK, shard_s=0.5, start_s=7.0), EVEN, 1)
    assert run.took_s == pytest.approx(7.0 + 20 * 5.5)


def test_driver_that_hands_out_slowly_is_what_all_wait_for() -> None:
    """400 shards, one each second: the last begins after the 400th and takes 5 s."""
    assert simulate(replace(WORK, hand_out_s=1.0), EVEN, 1).took_s == pytest.approx(405.0)


def test_slow_machine_contains_the_end_up_by_its_last_shard_at_most() -> None:
    fleet = replace(EVEN, slow_share=0.2, slow_factor=10.0)
    runs = [simulate(WORK, fleet, seed) for seed in range(20)]
    assert max(run.tail_s for run in runs) <= 50.0 + 1e-6
    large = [simulate(replace(WORK, shard_size=1000), fleet, seed) for seed in range(20)]
    assert sum(run.took_s for run in large) > 3 * sum(run.took_s for run in runs)


def test_lost_machines_cost_at_most_a_shard_of_each_worker() -> None:
    fleet = replace(EVEN, hours_between_losses=0.05, back_after_s=10.0)
    run = simulate(WORK, fleet, 3)
    assert run.lost_nodes > 2
    assert 0 < run.lost_s <= run.lost_nodes * fleet.workers_a_node * 5.0 + 1e-6
    assert run.took_s > 100.0


def test_killers_cost_what_they_take() -> None:
    assert simulate(replace(WORK, killers=1.0, killer_s=0.1), EVEN, 1).took_s == pytest.approx(200.0)


def test_seed_alone_decides() -> None:
    messy = Work(20_000, 0.1, 50)
    assert simulate(messy, Fleet(20, 2), 5) == simulate(messy, Fleet(20, 2), 5)
    assert simulate(messy, Fleet(20, 2), 5) != simulate(messy, Fleet(20, 2), 6)
