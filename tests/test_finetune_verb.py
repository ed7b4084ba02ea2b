"""The help of `finetune` is fast, and a missing extra is reported in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_help_has_examples_and_every_option(run: Callable[..., Any]) -> None:
    done = run("finetune", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mtqnet finetune ") >= 4
    for option in ("--by", "--hold-out", "--unlabelled", "--force"):
        assert option in done.stdout
    assert "[/" not in done.stdout  # markup is shown, not printed


def test_help_waits_for_nothing_heavy() -> None:
    code = "import sys, mtqnet.cli.train; print(sorted({'torch', 'numpy', 'mtqnet.training'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_torch_is_one_friendly_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,mos\na.wav,3\n")
    given = ["mtqnet", "finetune", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "mine")]
    code = (
        f"import sys; sys.modules['torch'] = None; sys.argv = {given!r}\nfrom mtqnet.cli.app import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'mtqnet[train]'" in done.stderr
    assert done.stderr.count("\n") == 1
