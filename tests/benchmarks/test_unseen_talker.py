"""The demonstration of tuning: its bars, its SDI, and one short run from end to end on the rated set."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import tiny_model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = BENCHMARKS.parent / "docs/results"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("unseen_talker")


def test_bars_are_those_of_the_page(script: ModuleType) -> None:
    def row(score: str, lcc: float, rmse: float) -> bool:
        return bool(script.Row("G", "f1", 3, score, 26, 0.9, lcc, 0.5, rmse).holds)

    assert row("g_mos", 0.5, 0.49) and not row("g_mos", 0.99, 0.5)
    assert row("s_mos", 0.891, 0.9) and not row("s_mos", 0.889, 0.1)


def test_sdi_of_a_condition_adds_both_kinds_of_noise(script: ModuleType) -> None:
    assert script.sdi_made("clean", "clean") == 1e-4
    assert script.sdi_made("10", "20") == pytest.approx(0.11)


@pytest.mark.shared
def test_two_speakers_teach_and_each_third_judges(
    script: ModuleType, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "LESSONS", {"G": ("g_mos",)})
    model = tiny_model.write(tmp_path / "tiny")
    with pytest.raises(SystemExit) as ended:
        script.main(str(model), shared_data, tmp_path, tmp_path / "work", 1, 2)
    rows = list(csv.DictReader((tmp_path / "tuning.csv").read_text().splitlines()))
    assert [(row["unseen"], row["recordings"]) for row in rows[::6]] == [("f1", "26"), ("f2", "26"), ("m1", "26")]
    told = (tmp_path / "tuning.md").read_text()
    assert ended.value.code == ("is missed in these rows" in told)
    assert told.count("\n| G | ") == len(rows) == 18
    assert str(tmp_path) not in told


def test_the_committed_page_states_what_the_committed_rows_say() -> None:
    rows = list(csv.DictReader((RESULTS / "tuning.csv").read_text().splitlines()))
    told = (RESULTS / "tuning.md").read_text()
    for row in rows:
        figures = (row[key] for key in ("lcc_before", "lcc_after", "rmse_before", "rmse_after"))
        assert " | ".join(f"{float(figure):.3f}" for figure in figures) in told
