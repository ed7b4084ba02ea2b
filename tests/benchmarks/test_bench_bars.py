"""Verdicts of the benchmark limits: met, missed or not measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from bars import BASE, DISTILLMOS, DNSMOS, FLOOR, SMALL, bars, cells
from measures import Row

LENGTHS = (6, 8, 10)


def speed(scorer: str, *ms: float) -> list[Row]:
    return [Row("clips", scorer, 1, f"{length} s", each, "ms/s") for length, each in zip(LENGTHS, ms, strict=True)]


def verdicts(rows: list[Row]) -> dict[str, tuple[str, str]]:
    return {name: (figure, verdict) for name, figure, _, verdict in map(cells, bars(rows))}


def test_limits_that_were_not_measured() -> None:
    assert {verdict for _, verdict in verdicts([]).values()} == {"not measured"}
    assert (
        verdicts(speed(SMALL, 1, 1, 1))["small: speed relative to DNSMOS, clips of 6 to 10 s"][1] == "not measured"
    )


def test_short_clips_are_weighted_by_their_duration() -> None:
    rows = [*speed(DNSMOS, 100, 75, 25), *speed(SMALL, 1, 1, 1), *speed(FLOOR, 0.19, 0.19, 0.19)]
    found = verdicts(rows)
    mean = (6 * 100 + 8 * 75 + 10 * 25) / 24
    assert float(found["small: speed relative to DNSMOS, clips of 6 to 10 s"][0]) == pytest.approx(mean, rel=0.01)
    assert found["small: speed relative to DNSMOS, clips of 6 to 10 s"][1] == "met"
    assert found["small: time relative to decoding and log-mel features, 6 to 10 s"][1] == "MISSED"


def test_each_limit_can_be_met_and_missed() -> None:
    for good in (True, False):
        worse = 1 if good else 100
        rows = [*speed(DNSMOS, 90, 90, 90), *speed(SMALL, worse, worse, worse), *speed(BASE, worse, worse, worse)]
        rows += [*speed(FLOOR, 0.3, 0.3, 0.3), Row("clips", DISTILLMOS, 1, "60 s", 400, "ms/s")]
        rows += [Row("clips", BASE, 1, "60 s", 4 * worse, "ms/s")]
        rows += [Row("first", DNSMOS, 1, "10 s", 3, "s"), Row("installed", DNSMOS, 0, "", 500, "MB")]
        for ours in (SMALL, BASE):
            rows += [
                Row("first", ours, 1, "10 s", 0.5 * worse, "s"),
                Row("installed", ours, 0, "", 150 * worse, "MB"),
            ]
            rows += [
                Row("memory", ours, 1, "3600 s", 120, "MB"),
                Row("memory", ours, 1, "36000 s", 125 * worse, "MB"),
            ]
            rows += [
                Row("folder", ours, 1, "9 files", 100, "s/s"),
                Row("folder", ours, 2, "9 files", 190 / worse, "s/s"),
            ]
            rows += [Row("same bytes", ours, 0, "any jobs", worse, "tables")]
        assert {verdict for _, verdict in verdicts(rows).values()} == {"met" if good else "MISSED"}
