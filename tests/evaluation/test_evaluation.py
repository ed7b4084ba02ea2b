"""`mtqnet evaluate` has the figures of the script of the rated sets, and reports what was omitted."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mtqnet.errors import UsageError
from mtqnet.evaluation import evaluate, ratings, recordings
from mtqnet.evaluation.evaluate import Evaluation, as_markdown, records
from mtqnet.evaluation.statistics import FIGURES

Write = Callable[[Path, Any], Path]
SETS = {
    "p835_csp835_refconditions": "labels.csv",
    "p835_noizeus_refconditions_8k": "labels_per_condition.csv",
    "mushra_neural_codec": "labels.csv",
}


@pytest.fixture(scope="module")
def rated_sets(shared_data: Path) -> ModuleType:
    """The script that the rated sets come with, written by others than this room."""
    spec = importlib.util.spec_from_file_location("rated_sets", shared_data.parent / "tools" / "rated_sets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected(rated_sets: ModuleType, root: Path, scores: Path) -> pd.DataFrame:
    found: pd.DataFrame = rated_sets.check(root, pd.read_csv(scores))
    return found


def made_up(shared_data: Path, path: Path) -> Path:
    """Scores that nobody measured: a rating-like number for each rated file, some of them missing."""
    rng = np.random.default_rng(3)
    rows = []
    for name, table in SETS.items():
        for file in pd.read_csv(shared_data / name / table)["file"]:
            rows.append({"file": str(shared_data / name / file)} | dict.fromkeys(("s_mos", "n_mos", "g_mos"), 0.0))
    frame = pd.DataFrame(rows)
    for key in ("s_mos", "n_mos", "g_mos"):
        frame[key] = rng.uniform(1, 5, len(frame)).round(4)
    frame.drop(index=[4, 100, 150]).to_csv(path, index=False)
    return path


def agree(evaluation: Evaluation, rows: pd.DataFrame) -> None:
    """To three decimals, per clip and per condition."""
    assert {one.target for one in evaluation.agreements} == set(rows["target"])
    for _, row in rows.iterrows():
        whole, grouped = (one for one in evaluation.agreements if one.target == row["target"])
        assert len(whole.pairs.names) == row["clips"]
        told = [whole.figures["lcc"], whole.figures["srcc"], grouped.figures["lcc"], grouped.figures["srcc"]]
        wanted = row[["lcc", "srcc", "lcc_cond", "srcc_cond"]].tolist()
        assert [one.value for one in told] == pytest.approx(wanted, abs=5e-4)
        assert whole.figures["rmse"].value == pytest.approx(row["rmse"], abs=5e-4, nan_ok=True)


@pytest.mark.parametrize("name", SETS)
def test_arithmetic_is_that_of_the_rated_sets(
    rated_sets: ModuleType, shared_data: Path, tmp_path: Path, name: str
) -> None:
    scores = made_up(shared_data, tmp_path / "scores.csv")
    labels = ratings.read(shared_data / name / SETS[name])
    evaluation = evaluate.evaluate(labels, recordings.read(scores), labels.condition)
    wanted = expected(rated_sets, shared_data, scores)
    agree(evaluation, wanted[wanted["set"] == name])
    assert len(evaluation.unscored) == wanted[wanted["set"] == name]["missing"].iloc[0]


def test_shipped_model_gets_the_figures_of_the_rated_sets(
    rated_sets: ModuleType, run: Callable[..., Any], shared_data: Path, tmp_path: Path, write: Write
) -> None:
    """Scores of the recordings of a table, compared with its ratings by the command and by the script."""
    name = "p835_csp835_refconditions"
    path = shared_data / name / "labels.csv"
    found = evaluate.score_labels(ratings.read(path), path.parent, recordings.Scorer())
    scores = write(tmp_path / "scores.csv", [row.scores.as_row() for row in found.rows])
    result, picture = tmp_path / "result.json", tmp_path / "scatter.png"
    done = run("evaluate", path, scores, "-o", result, "-p", picture)
    assert done.returncode == 0, done.stderr
    assert "RMSE*" in done.stdout
    alone = tmp_path / "root"
    alone.mkdir()
    (alone / name).symlink_to((shared_data / name).resolve())
    told = {(row["target"], row["level"]): row for row in json.loads(result.read_text())["agreement"]}
    for _, row in expected(rated_sets, alone, scores).iterrows():
        whole, grouped = told[row["target"], "file"], told[row["target"], "condition"]
        assert whole["items"] == 78
        assert whole["lcc"] == pytest.approx(row["lcc"], abs=5e-4)
        assert whole["srcc"] == pytest.approx(row["srcc"], abs=5e-4)
        assert whole["rmse"] == pytest.approx(row["rmse"], abs=5e-4)
        assert grouped["lcc"] == pytest.approx(row["lcc_cond"], abs=5e-4)
        assert whole["lcc_low"] < whole["lcc"] < whole["lcc_high"]
        assert whole["rmse_star"] < whole["rmse_mapped"] < whole["rmse"]
    assert picture.stat().st_size > 10_000


def test_another_scale_has_no_absolute_error(shared_data: Path, tmp_path: Path) -> None:
    labels = ratings.read(shared_data / "mushra_neural_codec" / "labels.csv")
    scores = recordings.read(made_up(shared_data, tmp_path / "scores.csv"))
    whole, _ = evaluate.evaluate(labels, scores, labels.condition).agreements
    assert not whole.same_scale
    known = {name for name in FIGURES if not np.isnan(whole.figures[name].value)}
    assert known == {"lcc", "srcc", "kendall", "rmse_mapped", "rmse_star_mapped"}


@pytest.fixture
def small(tmp_path: Path, write: Write) -> tuple[Path, Path]:
    """Ratings of eight recordings under two conditions, one without a rating; scores of seven."""
    ratings = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, None)
    labels = write(
        tmp_path / "labels.csv",
        [
            {"file": f"{n}.wav", "codec": "ab"[n % 2], "ovrl_mos": "" if r is None else r, "ovrl_std": 0.5, "n": 9}
            for n, r in enumerate(ratings)
        ],
    )
    scored = [{"file": f"{n}.wav", "g_mos": 1.2 + 0.4 * n} for n in range(8) if n != 2]
    return labels, write(tmp_path / "scores.csv", scored)


def test_what_lacks_one_of_both_is_left_out_and_named(small: tuple[Path, Path]) -> None:
    labels = ratings.read(small[0])
    evaluation = evaluate.evaluate(labels, recordings.read(small[1]), "codec")
    whole, grouped = evaluation.agreements
    assert whole.pairs.names == ("0.wav", "1.wav", "3.wav", "4.wav", "5.wav", "6.wav")
    assert evaluation.unscored == (("2.wav", "not in the table of scores"),)
    assert grouped.pairs.names == ("a", "b")
    assert grouped.pairs.rating.tolist() == pytest.approx([(1.5 + 3.5 + 4.5) / 3, (2 + 3 + 4) / 3])


def test_interval_of_a_condition_is_that_of_all_its_votes(tmp_path: Path, write: Write) -> None:
    """Two recordings whose votes are known one by one."""
    votes = ([1.0, 2, 2, 3], [4.0, 5, 5])
    rows = [
        {"file": f"{n}.wav", "condition": "c", "mos": np.mean(v), "mos_std": np.std(v, ddof=1), "votes": len(v)}
        for n, v in enumerate(votes)
    ]
    labels = ratings.read(write(tmp_path / "labels.csv", rows))
    scores = recordings.read(
        write(tmp_path / "scores.csv", [{"file": f"{n}.wav", "g_mos": 2.0 + n} for n in range(2)])
    )
    _, grouped = evaluate.evaluate(labels, scores, "condition").agreements
    together = np.concatenate(votes)
    wanted = 2.446912 * together.std(ddof=1) / np.sqrt(7)  # t(6)
    assert grouped.pairs.half[0] == pytest.approx(wanted, abs=1e-5)


def test_rating_of_a_whole_condition_keeps_its_own_interval(shared_data: Path, tmp_path: Path) -> None:
    labels = ratings.read(shared_data / "p835_noizeus_refconditions_8k" / "labels_per_condition.csv")
    scores = recordings.read(made_up(shared_data, tmp_path / "scores.csv"))
    grouped = evaluate.evaluate(labels, scores, "condition").agreements[1]
    place = grouped.pairs.names.index("c10")
    assert grouped.pairs.half[place] == 0.1422


def test_nothing_in_common_is_reported(small: tuple[Path, Path], tmp_path: Path, write: Write) -> None:
    other = write(tmp_path / "other.csv", [{"file": "z.wav", "g_mos": 3.0}])
    with pytest.raises(UsageError, match=r"no rating in .* belongs to a score"):
        evaluate.evaluate(ratings.read(small[0]), recordings.read(other), "")


def test_recordings_that_are_not_there_are_reported(run: Callable[..., Any], small: tuple[Path, Path]) -> None:
    done = run("evaluate", small[0])
    assert done.returncode == 2
    assert "0.wav: no such file: check the path)" in done.stderr
    assert "check --audio, the folder to which the file names are relative" in done.stderr


def test_every_format_contains_the_same_rows(
    run: Callable[..., Any], small: tuple[Path, Path], tmp_path: Path
) -> None:
    labels, scores = small
    for suffix in ("csv", "json", "md"):
        done = run("evaluate", labels, scores, "--by", "codec", "-o", tmp_path / f"result.{suffix}")
        assert done.returncode == 1, done.stderr
        assert "1 of 8 recordings have no score" in done.stderr
    evaluation = evaluate.evaluate(ratings.read(labels), recordings.read(scores), "codec")
    with (tmp_path / "result.csv").open(newline="") as stream:
        in_csv = list(csv.DictReader(stream))
    in_json = json.loads((tmp_path / "result.json").read_text())
    assert in_json["agreement"] == records(evaluation)
    details = in_json["details"][0]
    assert [one["name"] for one in details["items"]] == list(evaluation.agreements[0].pairs.names)
    assert details["items"][0] == {"name": "0.wav", "rating": 1.5, "ci95": 0.3843, "score": 1.2}
    assert len(details["mapping"]) == 4
    assert [row["rmse"] for row in in_csv] == [str(row["rmse"]) for row in in_json["agreement"]]
    assert (tmp_path / "result.md").read_text() == as_markdown(evaluation)


def test_files_are_scored_from_another_folder(
    run: Callable[..., Any], examples: Path, tmp_path: Path, write: Write, toy_model: Path
) -> None:
    rows = [{"clip": file.stem, "SIG": 1 + n / 2} for n, file in enumerate(sorted(examples.iterdir()))]
    labels = write(tmp_path / "labels.csv", [*rows, {"clip": "gone", "SIG": 3}])
    arguments = ("evaluate", labels, "--audio", examples, "-m", toy_model, "-o", tmp_path / "result.json")
    done = run(*arguments, "--column", "n_mos=SIG")
    assert done.returncode == 1, done.stderr
    assert "gone: no such file" in done.stderr.replace(str(tmp_path) + "/", "")
    told = json.loads((tmp_path / "result.json").read_text())
    assert {row["target"]: row["items"] for row in told["agreement"]} == {"s_mos": 7, "n_mos": 7}
    assert told["model"] == "toy"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "phone"), "has no column 'phone': the columns are file, codec"),
        (("-o", "result.xlsx"), "must end in .csv, .json, .md"),
        (("-p", "gone/scatter.png"), "does not exist"),
        (("--column", "SIG"), "write SCORE=COLUMN"),
        (("gone.csv",), "cannot read gone.csv"),
    ],
)
def test_mistakes_are_one_line(
    run: Callable[..., Any], small: tuple[Path, Path], arguments: tuple[str, ...], says: str
) -> None:
    scores = () if "gone.csv" in arguments else (small[1],)
    done = run("evaluate", small[0], *scores, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
