"""The commands in docs/serve.md work as written; its table of settings is that of the program."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from running import Server

import mtqnet
from mtqnet.serving.settings import markdown

PAGE = (Path(__file__).resolve().parents[2] / "docs/serve.md").read_text()
URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_table_of_settings_is_that_of_the_program() -> None:
    assert markdown() in PAGE


@pytest.fixture
def desk(tmp_path: Path, examples: Path) -> Path:
    shutil.copy(examples / "1_clean.flac", tmp_path / "call.wav")  # by its content it is FLAC all the same
    return tmp_path


def expected() -> float:
    """G-MOS of the recording that the page calls call.wav."""
    examples = Path(__file__).resolve().parents[2] / "examples/recordings"
    g_mos = mtqnet.score(examples / "1_clean.flac").g_mos
    assert g_mos is not None
    return g_mos


def test_the_client_works_as_typed(
    serving: Server, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    (client,) = blocks("python")
    monkeypatch.setitem(sys.modules, "client", ModuleType("client"))  # where dataclasses look for its names
    exec(client.replace(URL, serving.url), {"__name__": "client"})
    assert f"g_mos={round(expected(), 4)}" in capsys.readouterr().out


@pytest.mark.parametrize("line", [line for line in blocks("sh")[1].splitlines() if line])
def test_requests_by_curl_work_as_typed(line: str, serving: Server, desk: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    done = subprocess.run(
        shlex.split(line.replace(URL, serving.url)), cwd=desk, capture_output=True, text=True, timeout=120
    )
    assert f'"g_mos":{round(expected(), 4)}' in done.stdout, done.stderr
