"""Progress: fractions of long files add up, and a pipe gets lines with the remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.cli import terminal
from mtqnet.cli.train import with_total
from mtqnet.scoring import workers
from mtqnet.scoring.batch import Job, Meter, duration
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.workers import Setting, score_jobs


@pytest.fixture
def long_file(voice: Callable[..., NDArray[np.float32]], tmp_path: Path) -> Path:
    sf.write(tmp_path / "long.wav", np.tile(voice(10.0), 4), 16_000)
    return tmp_path / "long.wav"


def test_progress_within_a_file_adds_up(toy_model: Path, long_file: Path, good_file: Path) -> None:
    parts: list[float] = []
    jobs = [Job(long_file), Job(good_file), Job(Path("missing.wav"))]
    list(Predictor(toy_model).score_jobs(jobs, advance=parts.append))
    assert sum(parts) == pytest.approx(3)
    assert len(parts) >= 4 + 2, "a call for each window"
    assert min(parts) >= 0


def test_processes_report_progress_within_a_file(
    toy_model: Path, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[float] = []
    list(score_jobs(Setting(str(toy_model)), 1, [Job(long_file)] * 2, advance=parts.append))
    assert sum(parts) == pytest.approx(2)
    sent: list[Any] = []
    monkeypatch.setattr(workers, "REPORT_S", 0.0)
    monkeypatch.setattr(workers, "_send", lambda _, answer: sent.append(answer))
    report = workers._reporter(sys.stdout.buffer)
    Predictor(toy_model).score_job(Job(long_file), progress=report)
    assert sent == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_progress_of_each_channel_is_a_part_of_the_file(toy_model: Path, long_file: Path, tmp_path: Path) -> None:
    samples, rate = sf.read(long_file)
    sf.write(tmp_path / "stereo.wav", np.stack([samples, samples[::-1]], axis=1), rate)
    parts: list[float] = []
    Predictor(toy_model).score_job(Job(tmp_path / "stereo.wav"), "each", parts.append)
    assert parts == pytest.approx([n / 8 for n in range(1, 9)])


def test_a_pipe_gets_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter(40) as meter:
        for _ in range(30):
            now[0] += 4
            meter.recordings(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scored 3 of 40 (8 %), about 2 min left"
    assert len(lines) == 10
    with Meter(40, shown=False) as quiet:
        now[0] += 100
        quiet.recordings(1)
    assert capsys.readouterr().err == ""


def test_a_notebook_gets_an_element(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)

    def display(content: str, display_id: bool) -> object:
        assert display_id
        shown.append(content)
        return handle

    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter(4) as meter:
        for _ in range(4):
            now[0] += 1
            meter.recordings(1)
    assert len(shown) == 4
    assert "value='4.00'" in shown[-1]
    assert "scored 4 of 4 (100 %)" in shown[-1]


def test_stages_in_a_pipe_tell_the_remaining_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with terminal.stages(terminal.error_console()) as stage:
        counted = with_total(stage)
        for number in (1, 2):
            for done in range(3):
                counted(f"fine-tuning {number} of 2", done, 2)
                now[0] += 15
    lines = [line for line in capsys.readouterr().err.splitlines() if "in total" in line]
    assert lines[0] == "fine-tuning in total: 1 of 4, about 45 s left"
    assert lines[-1] == "fine-tuning in total: 4 done"


def test_durations_are_for_people() -> None:
    assert [duration(one) for one in (4, 89, 150, 7800)] == ["4 s", "89 s", "2 min", "2 h 10 min"]
