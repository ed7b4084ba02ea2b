"""Time of each stage, summed over all calls of a resumed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtqnet.training.pipeline import Clock


def test_time_of_two_calls_is_summed_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0, 90.0, 1000.0, 1030.0])
    monkeypatch.setattr("mtqnet.training.pipeline.time.monotonic", lambda: next(now))
    first = Clock(tmp_path / "run/time.json", last=next(now))
    first.tick("corpus")
    first.tick("features")
    again = Clock(tmp_path / "run/time.json", last=next(now))
    again.tick("features")
    assert again.seconds() == {"corpus": 60.0, "features": 60.0}
    assert again.minutes() == {"corpus": 1.0, "features": 1.0}


def test_repeated_stage_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 60.0, 90.0, 100.0])
    monkeypatch.setattr("mtqnet.training.pipeline.time.monotonic", lambda: next(now))
    clock = Clock(tmp_path / "time.json", last=next(now))
    clock.tick("training")
    for _ in range(2):
        clock.reset("evaluation")
        clock.tick("evaluation")
    assert clock.seconds() == {"training": 60.0, "evaluation": 10.0}
