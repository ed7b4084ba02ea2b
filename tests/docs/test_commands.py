"""The commands in the documentation work as they are written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import typer

import tiny_model
from mtqnet.cli.app import app
from mtqnet.errors import MtqnetError

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOT = DOCS.parent
PAGES = ("index.md", "input.md", "scores.md", "compare.md", "evaluate.md", "judge.md", "train.md", "faq.md")
IN_A_ROW = ("finetune.md",)
"""Pages whose commands use what those before them wrote"""
TRIED_ELSEWHERE = ("serve.md", "scale.md", "corpus-tools.md", "ratings.md", "browser.md")
"""Pages whose commands need a server, a cluster or a package manager:
tests/serving, tests/integrations/ray, test_torchrun.py, test_ratings_guide.py, web/test"""
ELSEWHERE = re.compile(r"^(make|mtqnet train) ")
"""Commands that other tests run, on less"""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """Lines of the shell blocks of a page, without their comments."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    told = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [line for line in told if line and not ELSEWHERE.match(line)]


@pytest.fixture
def desk(tmp_path: Path, examples: Path) -> Path:
    """A folder with the files that the pages speak of."""
    (tmp_path / "calls").mkdir()
    shutil.copy(examples / "1_clean.flac", tmp_path / "calls/b.flac")
    sound, rate = sf.read(examples / "2_office_noise.flac", dtype="float32")
    for name in ("call.wav", "calls/a.wav"):
        sf.write(tmp_path / name, sound, rate)
    (sound[: 4 * rate : 2] * 32767).astype("<i2").tofile(tmp_path / "call.raw")
    for folder, gain in (("noisy", 0.02), ("enhanced", 0.002)):
        (tmp_path / folder).mkdir()
        for number in range(6):
            noise = gain * np.random.default_rng(number).standard_normal(3 * rate)
            piece = sound[number * 1000 : number * 1000 + 3 * rate]
            sf.write(tmp_path / folder / f"{number}.wav", piece + noise[: len(piece)], rate)
    for name, folder in (("clean.wav", "enhanced"), ("noisy.wav", "noisy")):
        shutil.copy(tmp_path / folder / "0.wav", tmp_path / name)
    rows = [f"noisy/{number}.wav,{2 + number / 10},3,t{number % 3}" for number in range(6)]
    rows += [f"enhanced/{number}.wav,{4 - number / 10},3,t{number % 3}" for number in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,g_mos,votes,speaker", *rows]) + "\n")
    return tmp_path


@pytest.fixture
def trained(desk: Path) -> Path:
    """The same with a model that can be tuned, where `make train` leaves one."""
    tiny_model.write(desk / "runs/base/model")
    return desk


def typed(command: str, page: str, desk: Path) -> None:
    """Run a command in this folder; it must succeed and write the files that the page names."""
    here = shlex.quote(sys.executable)
    if command.startswith("python -m research."):
        line = command.replace("python", here, 1)
    elif command.startswith("python examples/"):
        line = command.replace("python examples", f"{here} {shlex.quote(str(ROOT / 'examples'))}", 1)
    else:
        assert command.startswith("mtqnet "), f"{page}: a command of another program"
        line = command.replace("mtqnet", f"{here} -W error -m mtqnet", 1)
    done = subprocess.run(
        line,
        shell=True,
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ
        | {"COLUMNS": "160", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 0, done.stderr
    for written in re.findall(r"(?:-o|--picture|--junit) (\S+)", command):
        assert (desk / written).stat().st_size > 0


@pytest.mark.parametrize(("page", "command"), [(page, line) for page in PAGES for line in commands(page)])
def test_command_works_as_typed(page: str, command: str, request: pytest.FixtureRequest) -> None:
    typed(command, page, request.getfixturevalue("trained" if "runs/base/model" in command else "desk"))


@pytest.mark.parametrize("page", IN_A_ROW)
def test_commands_work_one_after_the_other(page: str, trained: Path) -> None:
    assert len(commands(page)) > 1
    for command in commands(page):
        typed(command, page, trained)


def test_every_page_of_the_site_that_has_commands_is_tried() -> None:
    there = {page.name for page in DOCS.glob("*.md") if commands(page.name)}
    assert there <= {*PAGES, *IN_A_ROW, *TRIED_ELSEWHERE}


@pytest.mark.parametrize("line", [line for line in commands("scale.md") if line.startswith("mtqnet ")])
def test_command_for_a_cluster_has_options_that_there_are(line: str) -> None:
    verb: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(verb, "commands"):
        verb = verb.commands[words.pop(0)]
    known = {name for option in verb.params for name in option.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_example_in_python_finds_the_worst_recording(examples: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples/in_python.py"), str(examples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"7 recordings, worst \w+\.flac with G-MOS \d\.\d\d .*", first)
    assert second.split()[-1] == re.findall(r"\d\.\d\d", first)[0]


@pytest.mark.parametrize("page", [page for page in (*PAGES, *IN_A_ROW) if blocks(page, "python")])
def test_python_works_as_typed(page: str, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):  # one after the other, as they are read
        exec(block, names)


def kinds(error: type[MtqnetError]) -> set[type[MtqnetError]]:
    """An error and all that are one."""
    return {error}.union(*(kinds(kind) for kind in error.__subclasses__()))


def test_exit_codes_that_are_reported_are_those_of_the_errors() -> None:
    told = re.findall(r"^\| (\d+) \|", (DOCS / "input.md").read_text(), flags=re.MULTILINE)
    assert {int(code) for code in told} == {0} | {kind.exit_code for kind in kinds(MtqnetError)}
