"""Modules of evaluation load no library that they do not need, and a missing one is named with its extra."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("evaluation.compare", {"scipy", "matplotlib", "jinja2", "torch", "pandas"}),
        ("evaluation.gate", {"scipy", "matplotlib", "jinja2", "torch", "pandas"}),
        ("evaluation.evaluate", {"scipy", "matplotlib", "jinja2", "torch", "pandas"}),
        ("evaluation.plots", {"scipy", "jinja2", "torch", "pandas"}),
        ("evaluation.report", {"scipy", "matplotlib", "torch", "pandas"}),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(module: str, forbidden: set[str]) -> None:
    code = f"import sys, mtqnet.{module}; print(sorted({forbidden!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("evaluate", "labels.csv"), "scipy"),
        (("plot", "{file}", "-o", "p.png"), "matplotlib"),
        (("report", "{file}", "-o", "r.html"), "jinja2"),
    ],
)
def test_missing_extra_is_one_friendly_line(
    good_file: object, toy_model: object, tmp_path: Any, arguments: tuple[str, ...], missing: str
) -> None:
    given = [str(tmp_path / a) if a.endswith((".png", ".html")) else a.format(file=good_file) for a in arguments]
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"sys.argv = ['mtqnet', *{given!r}, '-m', {str(toy_model)!r}]\n"
        "from mtqnet.cli.app import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'mtqnet[analysis]'" in done.stderr
    assert done.stderr.count("\n") == 1
