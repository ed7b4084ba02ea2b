"""Separate processes have the rows of a single one; if one dies, one row is lost, and none outlives its parent."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf

from mtqnet.errors import KilledError, ModelError, NoAudioFoundError
from mtqnet.scoring import workers
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.workers import Setting, score_jobs

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and sends signals")


@pytest.fixture
def jobs(good_file: Path, bad_files: dict[str, Path], tmp_path: Path) -> list[Job]:
    samples, rate = sf.read(good_file)
    for number in range(5):
        sf.write(tmp_path / f"{number}.wav", samples[: rate + 5_000 * number], rate)
    nothing = Job(tmp_path / "nothing", NoAudioFoundError("no recordings in nothing"))
    return [*(Job(path) for path in sorted(tmp_path.glob("*.wav"))), *map(Job, bad_files.values()), nothing]


def test_rows_are_those_of_one_process_in_the_same_order(toy_model: Path, jobs: list[Job]) -> None:
    single = list(Predictor(toy_model, track=False).score_jobs(jobs))
    several = list(score_jobs(Setting(str(toy_model)), 2, jobs))
    assert several == single
    assert [row.windows for row in several] == [row.windows for row in single]
    assert [type(row.exception) for row in several] == [type(row.exception) for row in single]


def test_jobs_are_taken_as_rows_are_requested(
    toy_model: Path, good_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AHEAD", 2)
    taken: list[int] = []

    def endless() -> object:
        for number in range(1_000_000):
            taken.append(number)
            yield Job(good_file)

    rows = score_jobs(Setting(str(toy_model)), 2, endless())  # type: ignore[arg-type]
    assert next(rows).error is None
    assert len(taken) == 4
    rows.close()


def test_a_model_that_does_not_load_is_an_error(jobs: list[Job], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        list(score_jobs(Setting(str(tmp_path / "gone.onnx")), 2, jobs))


def killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Make worker processes do this when they score a file named killer.wav."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'mtqnet.scoring.workers' in sys.orig_argv:\n"
        "    from mtqnet.audio import decoding\n"
        "    before = decoding.open_source\n"
        "    def open_source(path):\n"
        "        if 'killer' in str(path):\n"
        f"            {what}\n"
        "        return before(path)\n"
        "    decoding.open_source = open_source\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


@LINUX
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "memory"),
        ("raise MemoryError", "memory"),
        ("bytearray(600_000_000)", "needed more than 350 MB of memory"),
        (
            "from mtqnet.audio import reading; sys.modules['__main__'].STALL_S = 0.5; "
            "reading.on_progress(); any(False for _ in iter(int, 1))",
            "no progress",
        ),
        ("os._exit(7)", "code 7"),
    ],
)
def test_a_file_that_kills_its_process_costs_one_row(
    toy_model: Path, good_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, reason: str
) -> None:
    killer(tmp_path, monkeypatch, what)
    files = [good_file, tmp_path / "killer.wav", good_file, good_file]
    rows = list(score_jobs(Setting(str(toy_model)), 1, map(Job, files)))
    assert [row.error is None for row in rows] == [True, False, True, True]
    assert isinstance(rows[1].exception, KilledError)
    assert reason in (rows[1].error or "")


def test_a_module_in_the_current_folder_is_not_imported(
    toy_model: Path, good_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    (row,) = score_jobs(Setting(str(toy_model)), 1, [Job(good_file)])
    assert row.error is None


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_their_parent(toy_model: Path, good_file: Path, number: signal.Signals) -> None:
    code = (
        "import sys, time\n"
        "from mtqnet.scoring.workers import *\n"
        "rows = score_jobs(Setting(sys.argv[1]), 2, [Job(sys.argv[2])] * 200)\n"
        "[next(rows) for _ in range(66)]\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(toy_model), str(good_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        processes = children(parent.pid)
        assert len(processes) == 2
        parent.send_signal(number)
        parent.wait()
        assert parent.stdout.read() == b""  # no other process has the pipe open
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_rows_that_are_not_requested_leave_no_process(toy_model: Path, good_file: Path) -> None:
    rows = score_jobs(Setting(str(toy_model)), 1, [Job(good_file)] * 5)
    next(rows)
    rows.close()
    if sys.platform == "linux":
        commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children(os.getpid())]
        assert not [command for command in commands if "scoring.workers" in command]


class PickyError(Exception):
    """An exception that cannot be unpickled, because it has two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def test_an_exception_that_cannot_be_copied_becomes_its_text() -> None:
    sent = workers._portable(Scores(error="PickyError: ab", exception=PickyError("a", "b")))
    assert str(pickle.loads(pickle.dumps(sent)).exception) == "PickyError: ab"


COPY = """
import os, signal, sys, threading
from pathlib import Path
from mtqnet.audio import decoding
from mtqnet.scoring import workers
from mtqnet.scoring.workers import Job, Setting, score_jobs
model, good, bad, kept = sys.argv[1:]
lock = open(kept, "w")
first, before = os.getpid(), decoding.open_source
def open_source(path):
    if path.name == "killer.wav" and os.getpid() != first:
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "lock.wav":
        raise OSError(str(os.path.realpath(kept) in map(os.path.realpath, Path("/proc/self/fd").iterdir())))
    return before(path)
decoding.open_source = open_source
workers._interpreter = None
names = [good, bad, str(Path(good).parent / "lock.wav")]
print("unflushed", end="")
for row in score_jobs(Setting(model, 0), 1, [Job(Path(name)) for name in names], copy=True):
    print(row.g_mos, row.error)
del workers._interpreter
"""


@LINUX
def test_a_copy_of_the_process_scores_and_leaves_open_files_to_its_parent(
    toy_model: Path, good_file: Path, bad_files: dict[str, Path], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        COPY,
        str(toy_model),
        str(good_file),
        str(bad_files["text"]),
        str(tmp_path / "lock"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    expected = Predictor(toy_model).score(good_file).g_mos
    lines = run.stdout.splitlines()
    assert lines[0] == f"unflushed{expected} None"
    assert lines[1].startswith("None not an audio file")
    assert lines[2] == "None OSError: False"


@LINUX
def test_a_copy_that_dies_is_replaced_by_a_new_interpreter(
    toy_model: Path, good_file: Path, tmp_path: Path
) -> None:
    killer = tmp_path / "killer.wav"
    killer.symlink_to(good_file)
    code = COPY.replace("workers._interpreter = None", "").replace("del workers._interpreter", "")
    command: list[str | Path] = [
        sys.executable,
        "-W",
        "error",
        "-c",
        code,
        toy_model,
        killer,
        good_file,
        tmp_path / "lock",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.count(" None") == 2  # the new interpreter has no killer in it


WAITS = """
import os, sys, threading
from mtqnet.scoring import workers
workers.Predictor = lambda *_, **__: os._exit(7)
codes, copy = [], workers._Copy(workers.Setting(sys.argv[1]))
threads = [threading.Thread(target=lambda: codes.append(copy.wait(30))) for _ in range(4)]
[thread.start() for thread in threads]
copy.kill()
[thread.join() for thread in threads]
print(len(codes), len(set(codes)))
"""


@LINUX
def test_threads_may_wait_for_a_copy_together(toy_model: Path) -> None:
    command: list[str | Path] = [sys.executable, "-W", "error", "-c", WAITS, toy_model]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "4 1\n"
