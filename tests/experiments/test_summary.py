"""Tables of figures, their page and their pictures: whole, without an empty cell, and true to the results."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from laboratory import SEEDS, TABLE

from mtqnet.evaluation import seeds
from mtqnet.targets import G_MOS, QUEST, TARGETS
from research.experiments import arms, pages, plots, summary
from research.experiments.arms import SPLITS, Lab, Result
from research.experiments.material import Test as Truth
from research.experiments.pages import Facts
from research.experiments.study import Arm, Table
from research.experiments.summary import MEAN, Summary

CLIPS = 60
NOISE = {"good": 0.3, "bad": 1.2, "peer": 0.8, "teacher": 0.5}
FAKE = Table(
    "fake", "Fake", "Which is better?", "bad",
    {
        "teacher": Arm("the teacher", kind="teacher"),
        "bad": Arm("a bad one", labelled=10),
        "good": Arm("a good one", labelled=100),
        "peer": Arm("a peer", kind="distillmos"),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def tests() -> dict[str, Truth]:
    """Truths of every split, without recordings."""
    rng = np.random.default_rng(1)

    def truth(split: str) -> Truth:
        if split == "mushra":
            return Truth((), {"g_mos": rng.uniform(5, 95, CLIPS)})
        targets = QUEST if split in ("csp835", "noizeus") else TARGETS
        return Truth((), {t.key: t.from_training(rng.uniform(-1.8, 1.8, CLIPS)) for t in targets})

    return {split: truth(split) for split in SPLITS}


@pytest.fixture(scope="module")
def results(tests: dict[str, Truth]) -> dict[str, list[Result]]:
    def said(arm: str, seed: int) -> Result:
        rng = np.random.default_rng([seed, len(arm)])
        keys = {"peer": ["g_mos"], "teacher": [t.key for t in TARGETS[3:]]}.get(arm, [t.key for t in QUEST])
        scores: dict[str, dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]] = {}
        for split, test in tests.items():
            if arm == "peer" and split == "validation":
                continue
            scores[split] = {}
            for t in (t for t in TARGETS if t.key in keys):
                y = tests["test"].truth[t.key] if t.key not in test.truth else test.truth[t.key]
                y = y / 20 if split == "mushra" and t.key == "g_mos" else y
                noisy = t.to_training(y) + NOISE[arm] * rng.standard_normal(CLIPS)
                scores[split][t.key] = t.from_training(np.clip(noisy, -2, 2))
        return Result(scores, 60.0, [])

    return {arm: [said(arm, seed) for seed in range(1, 2 if arm == "peer" else 6)] for arm in FAKE.arms}


@pytest.fixture(scope="module")
def made(tests: dict[str, Truth], results: dict[str, list[Result]]) -> Summary:
    return summary.summarise(FAKE, results, tests)


def test_better_arm_is_better_beyond_doubt(made: Summary) -> None:
    row = made.arm("good", "unseen", MEAN)
    assert row is not None and list(row.less) == ["bad"]
    assert row.less["bad"].low > 0 and row.less["bad"].p < 0.001
    reference = made.arm("bad", "unseen", MEAN)
    assert reference is not None and not reference.less
    assert row.less["bad"].mean == pytest.approx(row.lcc.mean - reference.lcc.mean)


def test_an_arm_may_be_compared_with_several(tests: dict[str, Truth], results: dict[str, list[Result]]) -> None:
    several = replace(FAKE, arms={**FAKE.arms, "good": replace(FAKE.arms["good"], against=("bad", "peer"))})
    row = summary.summarise(several, results, tests).arm("good", "unseen", "g_mos")
    assert row is not None and list(row.less) == ["bad", "peer"]
    assert row.less["bad"].mean > row.less["peer"].mean > 0


def test_arms_are_compared_with_each_other_on_the_clips_that_both_score(
    tests: dict[str, Truth], results: dict[str, list[Result]]
) -> None:
    """If an existing model scores a part of the test clips, differences are computed on this part only."""
    part, half = results["peer"][0].scores["test"]["g_mos"].copy(), CLIPS // 2
    part[half:] = np.nan
    few = Result({"test": {"g_mos": part}}, 60.0, [])
    row = summary.summarise(FAKE, {**results, "peer": [few]}, tests).arm("peer", "test", "g_mos")
    first = {"test": Truth((), {key: values[:half] for key, values in tests["test"].truth.items()})}
    cut = {
        arm: [Result({"test": {k: v[:half] for k, v in run.scores["test"].items()}}, 60.0, []) for run in runs]
        for arm, runs in {**results, "peer": [few]}.items()
    }
    alone = [seeds.mean_lcc((G_MOS,), first["test"].truth, [run.scores["test"] for run in cut[arm]])
             for arm in ("peer", "bad")]  # fmt: skip
    assert row is not None
    assert row.less["bad"].mean == pytest.approx(float(np.mean(alone[0].by_seed - alone[1].by_seed)))


def test_mean_is_over_the_three_quest_scores_and_their_seeds(made: Summary) -> None:
    row = made.arm("good", "test", MEAN)
    runs = [run.lcc for t in QUEST for run in made.over_seeds("good", "test", t.key)]
    assert row is not None and len(runs) == 15
    assert row.lcc.mean == pytest.approx(np.mean(runs))


def test_arms_have_rows_for_what_they_score_and_no_others(made: Summary) -> None:
    assert made.arm("peer", "test", "g_mos") is not None
    assert made.arm("peer", "test", "s_mos") is None and made.arm("peer", "test", MEAN) is None
    assert made.arm("peer", "validation", "g_mos") is None
    assert made.arm("teacher", "unseen", "sdi_est") is not None and made.arm("teacher", "unseen", MEAN) is None
    assert made.arm("good", "mushra", "g_mos") is not None and made.arm("good", "mushra", "s_mos") is None
    assert [run.seed for run in made.over_seeds("peer", "test", "g_mos")] == ["all"]


def test_files_have_no_empty_cell(made: Summary, tmp_path: Path) -> None:
    summary.write(made, tmp_path, "fake")
    for name in ("fake.csv", "fake.summary.csv"):
        with (tmp_path / name).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert rows and all(cell for row in rows for cell in row.values())
    with (tmp_path / "fake.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["arm", "split", "target", "seed", "clips", "lcc", "srcc", "mse"]
    assert {row["mse"] == "n/a" for row in rows if row["split"] == "mushra"} == {True}
    assert {row["mse"] == "n/a" for row in rows if row["split"] != "mushra"} == {False}


def test_committed_figures_are_compared_with_new_ones(made: Summary, tmp_path: Path) -> None:
    summary.write(made, tmp_path, "fake")
    compared, outside = summary.departures(made, tmp_path / "fake.summary.csv")
    assert compared == len(made.arms) and not outside
    shifted = [replace(row, lcc=replace(row.lcc, mean=row.lcc.low - 0.01)) for row in made.arms[:2]]
    compared, outside = summary.departures(Summary(made.runs, shifted), tmp_path / "fake.summary.csv")
    assert compared == 2
    assert [(found.arm, found.split, found.target) for found in outside] == [
        (row.arm, row.split, row.target) for row in shifted
    ]


COMMAND = "python -m research.experiments --table fake"
FACTS = Facts({"train": 8000, "test": CLIPS}, 5, 12.0, COMMAND, "2026-01-02", "0.1")


def test_page_states_what_was_asked_and_found(made: Summary) -> None:
    text = pages.page(FAKE, made, FACTS)
    assert text.startswith("# Fake\n\nWhich is better?")
    assert "`python -m research.experiments --table fake`" in text and "12 minutes of one core" in text
    assert all(arm.says in text for arm in FAKE.arms.values())
    row = made.arm("good", "unseen", MEAN)
    assert row is not None
    assert f"{row.lcc.mean:.3f} ± {row.lcc.half:.3f}" in text
    assert f"**{pages.signed(row.less['bad'].mean)} [" in text  # bold: the interval leaves out zero
    assert "3QUEST-style" in text and "nan" not in text


def test_every_row_of_the_page_is_as_long_as_its_head(made: Summary) -> None:
    width = 0
    for line in pages.page(FAKE, made, FACTS).splitlines():
        if line.startswith("|"):
            width = width or line.count("|")
            assert line.count("|") == width and "|  |" not in line
        else:
            width = 0


def test_pictures_are_drawn_as_bars_or_over_the_number_of_labels(
    made: Summary, tests: dict[str, Truth], results: dict[str, list[Result]], tmp_path: Path
) -> None:
    same, unlike = dict.fromkeys(FAKE.arms, 10), {name: arm.labelled for name, arm in FAKE.arms.items()}
    for labelled, folder in ((same, tmp_path / "bars"), (unlike, tmp_path / "lines")):
        folder.mkdir()
        plots.draw(FAKE, made, results, tests, labelled, folder)
        assert (folder / "fake_scatter.png").stat().st_size > 5_000
        assert "<svg" in (folder / "fake.svg").read_text()
    assert (tmp_path / "bars/fake.svg").read_text() != (tmp_path / "lines/fake.svg").read_text()


def test_real_results_make_a_whole_table(ran: Lab, tmp_path: Path) -> None:
    found = {
        name: [arms.read(ran.result(arm, seed)) for seed in range(1, SEEDS + 1)]
        for name, arm in TABLE.arms.items()
    }
    made = summary.summarise(TABLE, found, {split: ran.material.test(split) for split in SPLITS})
    summary.write(made, tmp_path, "tiny")
    rows = {(row.arm, row.split, row.target) for row in made.arms}
    for name in set(TABLE.arms) - {"teacher"}:
        assert {(name, split, MEAN) for split in ("validation", "test", "unseen", "csp835", "noizeus")} <= rows
