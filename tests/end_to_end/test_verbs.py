"""The commands other than `score`: help, files that they write, and errors with a remedy."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from command_line import call
from mtqnet.cli import app as cli
from mtqnet.corpus.table import COLUMNS, TABLE, read_clip, read_rows
from mtqnet.targets import TARGETS

Done = subprocess.CompletedProcess[str]


VERBS = (
    ("train",), ("corpus", "build"), ("corpus", "kinds"), ("corpus", "describe"), ("corpus", "listen"), ("label",),
    ("finetune",), ("serve",), ("evaluate",), ("compare",), ("gate",), ("plot",), ("report",),
)  # fmt: skip


def mtqnet(*arguments: str | Path) -> Done:
    return call(*arguments, COLUMNS="100")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: tuple[str, ...]) -> None:
    done = mtqnet(*verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: mtqnet" in done.stdout
    assert "Example" in done.stdout
    assert "[/" not in done.stdout


def words(command: Any, name: str) -> dict[str, str]:
    """Help of a command and of all below it, by how they are called."""
    if hasattr(command, "commands"):
        return {
            call: text
            for key, each in command.commands.items()
            for call, text in words(each, f"{name} {key}").items()
        }
    return {name: command.help}


def test_no_command_lacks_an_example_of_itself() -> None:
    told = words(typer.main.get_command(cli.app), "mtqnet")
    assert len(told) >= 14
    assert not [call for call, text in told.items() if "Example" not in text or text.count(call) < 1]


@pytest.fixture(scope="module")
def built(material: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A corpus of six clips, and the output of the command."""
    out = tmp_path_factory.mktemp("verbs") / "corpus"
    options = ["--without", "missing", "--clips", "20", "--clips", "train=3", "--jobs", "1"]
    done = mtqnet(
        "corpus", "build", "--speech", material.speech, "--noise", material.noise, "--out", out, *options
    )
    return out, done


def test_corpus_build_writes_a_labelled_table_and_states_where(built: tuple[Path, Done]) -> None:
    out, done = built
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == out / TABLE
    assert "6 clips, this call" in done.stderr
    rows = read_rows(out)
    assert len(rows) == 6 and tuple(rows[0]) == tuple(COLUMNS)
    for row in rows:
        assert len(read_clip(out, row)) == row["samples"]
        for target in TARGETS:
            assert target.low <= float(row[target.label]) <= target.high


def test_corpus_is_described_and_played(built: tuple[Path, Done], tmp_path: Path) -> None:
    out, page = built[0], tmp_path / "listen.html"
    told = mtqnet("corpus", "describe", out)
    assert told.returncode == 0, told.stderr
    assert "S-MOS" in told.stdout and "hole" in told.stdout and "Playback" in told.stdout
    heard = mtqnet("corpus", "listen", out, "--where", "split=train", "-o", page)
    assert heard.returncode == 0, heard.stderr
    assert page.read_text().count("<audio") >= 2
    none = mtqnet("corpus", "listen", out, "--where", "g_mos>4.99", "-o", page)
    assert none.returncode == 2 and "Traceback" not in none.stderr
    assert mtqnet("corpus", "describe", out, "--where", "loudness<3").returncode == 2


def test_a_missing_folder_is_one_line_and_its_own_exit_code(tmp_path: Path) -> None:
    done = mtqnet("corpus", "build", "--speech", tmp_path / "no", "--noise", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "is not a folder" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_key_in_a_configuration_trains_nothing(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text('name = "x"\n[corpus]\nspeech = ["a"]\nnoise = ["b"]\nclips = 3\n')
    done = mtqnet("train", config, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "unknown key 'clips'" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_the_card_tells_the_figures_of_the_record_and_of_the_rated_sets(tmp_path: Path) -> None:
    rated = tmp_path / "base.rated.csv"
    columns = ["set", "target", "clips", "missing", "lcc", "srcc", "lcc_cond", "srcc_cond", "rmse"]
    with rated.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerow(["p835_csp835_refconditions", "s_mos", 78, 0, 0.87654, 0.8, 0.98, 0.97, 0.4])
        writer.writerow(["mushra_neural_codec", "g_mos", 64, 0, 0.3, 0.2, 0.5, 0.4, ""])
    card = tmp_path / "CARD.md"
    command = [
        sys.executable,
        "-m",
        "research.model_card",
        "base",
        "--results",
        str(tmp_path),
        "--output",
        str(card),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    text = card.read_text()
    record = json.loads((Path(__file__).parents[2] / "src/mtqnet/weights/base.json").read_text())
    assert record["sha256"] in text
    assert "| CSP835 | S-MOS | 0.877 / 0.800 / 0.980 / 0.40 |" in text
    for figure in record["figures"]:
        assert f"{figure['lcc']:.3f}" in text
    assert "3QUEST-style, anchored on public P.835 ratings" in text
