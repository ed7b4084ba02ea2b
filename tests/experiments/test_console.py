"""`python -m research.experiments`: files on disk, reuse of results, and the check against earlier results."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from laboratory import BASE
from typer.testing import CliRunner

from mtqnet.errors import UsageError
from research.experiments import __main__ as console
from research.experiments import study
from research.experiments.__main__ import Options
from research.experiments.arms import Lab

TABLE = """
title = "Training"
question = "Which?"
reference = "scratch"
[arms.teacher]
says = "the teacher"
kind = "teacher"
[arms.scratch]
says = "three heads"
labelled = 5
[arms.mpl]
says = "six heads"
labelled = 5
objective = "pseudo"
unlabelled = true
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "base.toml").write_text(toml(asdict(BASE)))
    (folder / "training.toml").write_text(TABLE)
    return folder


def toml(table: dict[str, object]) -> str:
    """Plain values first, then one table each, as far as a configuration needs it."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, dict):
            text += f"\n[{key}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in value.items())
    assert tomllib.loads(text)
    return text


def reproduce(lab: Lab, configs: Path, results: Path, *more: str) -> tuple[int, str]:
    words = ["--table", "training", "--seeds", "2", "--data", str(lab.material.data), "--out",
             str(lab.out), "--configs", str(configs), "--results", str(results), *more]  # fmt: skip
    done = CliRunner().invoke(console.app, words)
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def written(ran: Lab, configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    code, output = reproduce(ran, configs, results)
    assert code == 0, output
    assert "mean LCC over S, N, G" in output
    return results


def test_a_table_leaves_figures_page_and_pictures(written: Path) -> None:
    assert {file.name for file in written.iterdir()} == {
        "training.csv", "training.summary.csv", "training.md", "training.svg", "training_scatter.png",
    }  # fmt: skip
    page = (written / "training.md").read_text()
    assert "python -m research.experiments --table training --seeds 2" in page
    assert "| scratch |" in page and "| mpl |" in page and "| teacher |" in page


def test_again_gives_the_same_figures_and_stays_within_the_intervals(
    ran: Lab, configs: Path, written: Path, tmp_path: Path
) -> None:
    code, output = reproduce(ran, configs, tmp_path, "--check", str(written))
    assert code == 0 and "within the intervals" in output
    assert (tmp_path / "training.csv").read_bytes() == (written / "training.csv").read_bytes()
    assert (tmp_path / "training.svg").read_bytes() == (written / "training.svg").read_bytes()


def test_a_figure_outside_its_interval_fails_the_check(
    ran: Lab, configs: Path, written: Path, tmp_path: Path
) -> None:
    other = tmp_path / "committed"
    other.mkdir()
    lines = (written / "training.summary.csv").read_text().splitlines()
    arm, split, target = lines[1].split(",")[:3]
    lines[1] = ",".join([arm, split, target, "0.9", "0.99", "1.01", *lines[1].split(",")[6:]])
    (other / "training.summary.csv").write_text("\n".join(lines) + "\n")
    code, output = reproduce(ran, configs, tmp_path / "again", "--check", str(other))
    assert code == 1 and f"outside: {arm}, {target}, {split}" in " ".join(output.split())


def test_without_a_table_those_are_checked_that_there_are_figures_of(tmp_path: Path) -> None:
    for name in ("loss", "training"):
        (tmp_path / f"{name}.summary.csv").touch()
    asked = Options((), 5, tmp_path, tmp_path, tmp_path, tmp_path, tmp_path, check=None, jobs=1)
    assert console.tables(asked) == study.TABLES
    assert console.tables(replace(asked, check=tmp_path)) == ("training", "loss")
    assert console.tables(replace(asked, check=tmp_path, tables=("loss",))) == ("loss",)
    with pytest.raises(UsageError, match=r"labels\.summary\.csv to check against"):
        console.tables(replace(asked, check=tmp_path, tables=("loss", "labels")))


def test_mistakes_are_reported_in_a_line(ran: Lab, configs: Path, tmp_path: Path) -> None:
    assert reproduce(ran, configs, tmp_path, "--table", "trainig")[0] == 2
    code, output = reproduce(ran, configs, tmp_path, "--check", str(tmp_path / "nowhere"))
    assert code == 2 and "--check" in output and not list(tmp_path.glob("training.*")), "reported before the work"
    code, output = reproduce(ran, tmp_path / "none", tmp_path)
    assert code == 2 and "--configs" in output
