"""Time adds up over the calls that a run was resumed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtqnet.training.clock import Clock


def test_ticks_of_two_calls_add_up_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0, 90.0, 1000.0, 1030.0])
    monkeypatch.setattr("mtqnet.training.clock.time.monotonic", lambda: next(now))
    first = Clock(tmp_path / "run/time.json", last=next(now))
    first.tick("corpus")
    first.tick("features")
    again = Clock(tmp_path / "run/time.json", last=next(now))
    again.tick("features")
    assert again.seconds() == {"corpus": 60.0, "features": 60.0}
    assert again.minutes() == {"corpus": 1.0, "features": 1.0}


def test_a_stage_that_begins_anew_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0, 90.0, 100.0])
    monkeypatch.setattr("mtqnet.training.clock.time.monotonic", lambda: next(now))
    clock = Clock(tmp_path / "time.json", last=next(now))
    clock.tick("training")
    for _ in range(2):
        clock.begin("evaluation")
        clock.tick("evaluation")
    assert clock.seconds() == {"training": 60.0, "evaluation": 10.0}
