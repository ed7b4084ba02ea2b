"""A recording that kills the process that reads it costs itself a row, and nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mtqnet.errors import KilledError
from mtqnet.integrations.ray import sandbox
from mtqnet.integrations.ray.sandbox import At, Done, Sandbox, Setting
from mtqnet.integrations.ray.sources import Entry
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.tables import cells
from poison import POISON, folder


@pytest.fixture
def files(tmp_path: Path, voice: Callable[..., np.ndarray]) -> list[Path]:
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for number, path in enumerate(paths):
        sf.write(path, voice(1.0, seed=number), 16_000)
    return paths


def entries(files: list[Path]) -> list[Entry]:
    return [Entry(str(file), str(file), file.stat().st_size) for file in files]


@pytest.fixture
def box(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder(), before])))
    made = Sandbox(Setting(str(toy_model)))
    yield made
    made.close()


def rows(box: Sandbox, files: list[Path]) -> dict[int, Done]:
    told = [message for message in box.score(entries(files)) if isinstance(message, Done)]
    by_place = {done.place: done for done in told}
    assert len(by_place) == len(told)
    return by_place


def test_rows_are_those_of_the_plain_command(box: Sandbox, files: list[Path], toy_model: Path) -> None:
    files[2].write_bytes(b"not audio")
    expected = [cells(scores) for scores in Predictor(toy_model).score_jobs(map(Job, files))]
    assert [done.rows[0] for _, done in sorted(rows(box, files).items())] == expected
    assert box.restarts == 0


@pytest.mark.parametrize(("kind", "says"), [("crash", "SIGSEGV"), ("memory", "memory"), ("endless", "in 1 s")])
def test_killer_is_tried_alone_and_then_reported(
    kind: str, says: str, box: Sandbox, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "BASE_S", 1.0)
    files[1].write_bytes(POISON[kind])
    found = rows(box, files)
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert says in str(found[1].rows[0]["error"]) and found[1].code == KilledError.exit_code
    assert all(found[place].code == 0 for place in (0, 2, 3, 4))
    assert box.restarts == 2


def test_innocent_whose_process_is_killed_once_is_scored(box: Sandbox, files: list[Path]) -> None:
    found = []
    for message in box.score(entries(files)):
        if isinstance(message, At) and message.place == 3 and not box.restarts:
            assert box._process is not None
            os.kill(box._process.pid, signal.SIGKILL)
        found += [message] if isinstance(message, Done) else []
    assert sorted(done.place for done in found) == [0, 1, 2, 3, 4] and all(done.code == 0 for done in found)


def test_file_that_kills_its_whole_worker_is_named_before(
    tmp_path: Path, files: list[Path], toy_model: Path
) -> None:
    """However slowly the name is written down: the killer waits for it."""
    files[1].write_bytes(POISON["worker"])
    told = tmp_path / "told"
    works = (
        "import sys, time; from pathlib import Path; from mtqnet.integrations.ray.sandbox import At\n"
        "from mtqnet.integrations.ray.sandbox import *; from mtqnet.integrations.ray.sources import Entry\n"
        "box = Sandbox(Setting(sys.argv[1]))\n"
        "for message in box.score([Entry(file, file) for file in sys.argv[3:]]):\n"
        "    if isinstance(message, At): time.sleep(0.5); Path(sys.argv[2]).write_text(message.file)"
    )
    paths = os.pathsep.join(filter(None, [folder(), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", works, str(toy_model), str(told), *map(str, files[:3])]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert told.read_text() == str(files[1])


def test_refused_files_are_not_tried(box: Sandbox, files: list[Path]) -> None:
    told = list(box.score(entries(files[:2]), {0: files[0].name}))
    assert [message.place for message in told if isinstance(message, At)] == [1]
    assert [message.code for message in told if isinstance(message, Done)] == [KilledError.exit_code, 0]


def test_process_ends_with_its_worker(files: list[Path], toy_model: Path) -> None:
    """Also if the parent is killed and cannot end the process."""
    lives = (
        "import sys, time; from mtqnet.integrations.ray.sandbox import *\n"
        "from mtqnet.integrations.ray.sources import Entry\n"
        "box = Sandbox(Setting(sys.argv[1])); told = box.score([Entry(sys.argv[2], sys.argv[2])]); next(told)\n"
        "print(box._process.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", lives, str(toy_model), str(files[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
        assert running(child)
        worker.kill()
        worker.wait()
    began = time.monotonic()
    while running(child) and time.monotonic() - began < 60:
        time.sleep(0.1)
    assert not running(child)


def running(process: int) -> bool:
    """Whether a process runs; a process that ended and was not waited for does not count."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
