"""The worked example of docs/ratings.md runs as it is written, with a small network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

import tiny_model
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.scoring import models

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/ratings.md").read_text()
SMALL = """
[network]
front_ends = ["logmel"]
conv_channels = [4, 6]
time_strides = [2, 2]
band_strides = [4, 4]
lstm = 12
dense = 16
dropout = 0.0

[student]
epochs = 1
"""


def test_worked_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voice: Callable[..., NDArray[np.float32]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    table = re.search(r"```text\n(file,.*?)```", PAGE, re.DOTALL)
    assert example and table
    header, *rows = table[1].strip().splitlines()
    (tmp_path / "calls").mkdir()
    (tmp_path / "configs").mkdir()
    whole = (ROOT / "configs/ratings.toml").read_text()
    start = whole[: whole.index("# the dimensions of")]
    (tmp_path / "configs/ratings.toml").write_text(start + SMALL)
    lines = [rows[n % 3].replace(rows[n % 3][:2], f"{n + 1:02d}", 1) for n in range(30)]
    lines = [line.replace(",2.9,", f",{2.9 + n / 50:.2f},") for n, line in enumerate(lines)]
    (tmp_path / "calls/labels.csv").write_text("\n".join([header, *lines]))
    for n in range(30):
        sf.write(tmp_path / f"calls/{n + 1:02d}.flac", voice(0.6, level_db=-45 + n, seed=n), SAMPLE_RATE)
    tiny_model.write(tmp_path / "weights/mosa-net").joinpath("mosa-net.onnx")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path / "weights/mosa-net")
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "docs/ratings.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "30 rated recordings: the figures have little meaning" in printed
    assert "calls/01.flac: S-MOS" in printed
    assert (tmp_path / "mine/model/ratings.md").exists()
