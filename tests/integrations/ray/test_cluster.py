"""Errors of a cluster and of shards are reported in one line, with the reason and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from mtqnet.errors import MtqnetError, UsageError
from mtqnet.integrations import ray as engine
from mtqnet.integrations.ray.shards import Outcome


class GoneError(Exception):
    """Replacement of an exception of Ray."""


RAY = SimpleNamespace(exceptions=SimpleNamespace(RayError=GoneError))


def test_reason_is_what_ray_wrapped() -> None:
    says = r"^the cluster failed \(no room on the disk\); .* run the command again"
    with pytest.raises(MtqnetError, match=says), engine.cluster_errors(RAY):
        raise GoneError("a trace\nof many\nlines") from OSError("no room on the disk\nof node 3")


def test_own_errors_stay_what_they_are() -> None:
    with pytest.raises(UsageError, match=r"^that is no folder$"), engine.cluster_errors(RAY):
        raise UsageError("that is no folder")


def test_failed_shards_are_tried_again_and_then_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shard 1 fails in both rounds, shard 2 in the first one."""
    rounds: list[list[int]] = []

    def score_shards(_scorer: object, numbers: Sequence[int], _workers: int) -> Iterator[dict[str, Any]]:
        rounds.append(list(numbers))
        for shard in numbers:
            if shard == 1 or (shard == 2 and len(rounds) == 1):
                yield {"shard": shard, "outcome": "", "problem": "disk full"}
            else:
                yield {"shard": shard, "outcome": json.dumps(asdict(outcome(shard))), "problem": ""}

    monkeypatch.setattr(engine, "score_shards", score_shards)
    scored = engine._rounds((), [0, 1, 2], 2)
    assert [next(scored), next(scored)] == [outcome(0), outcome(2)]
    with pytest.raises(MtqnetError, match=r"without a table: 1, such as part-000001.parquet \(disk full\)"):
        next(scored)
    assert rounds == [[0, 1, 2], [1, 2]]


def outcome(shard: int) -> Outcome:
    return Outcome(shard, 4, 0, 4.0, 0.4, 0.5, "node")
