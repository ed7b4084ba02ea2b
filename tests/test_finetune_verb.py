"""A missing extra of `finetune` is reported in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


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
