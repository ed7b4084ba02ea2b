"""Score files in separate processes, so that a file that crashes its decoder costs only its own row.

Each process has its own model. Results are in the order of the jobs. A process that dies while it scores a file is
replaced and the file is tried once more; if the new process dies too, the file gets a KilledError as its row.
worker_process.py is what runs in the processes. They exit with the process that started them.

A process is a new interpreter, or, for the command line on Linux, a copy of the current one (fork): the modules that
both need are then loaded once.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from mtqnet.audio.reading import Channels
from mtqnet.errors import KilledError, MtqnetError
from mtqnet.scoring import models
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import failed
from mtqnet.scoring.progress import Advance, increments
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.worker_process import MEMORY_BYTES, OUT_OF_MEMORY, STALL_S, run_copy

AHEAD = 32
"""Limit per process of the files that are in progress or done before the next row is returned: it bounds the memory
and lets other processes continue while one scores a long file"""
ATTEMPTS = 2
"""A process may be killed for another reason than its file, for example when the system has no memory left"""
STALLED = f"made no progress in {STALL_S} s of processor time"
DYING_S = 10.0
"""Seconds for a process that closed its output to end"""
ONE_MATH_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of processes whose numpy uses one thread; onnxruntime has its own option"""


@dataclass(frozen=True)
class Setting:
    """What each process loads, and which channels it scores."""

    model: str
    threads: int = 1
    channels: Channels = "mix"


def score_jobs(
    setting: Setting, processes: int, jobs: Iterable[Job], copy: bool = False, advance: Advance | None = None
) -> Generator[Scores]:
    """Score jobs in separate processes.

    Args:
        setting: Model and threads of each process.
        processes: Number of processes.
        jobs: Files; taken as rows are requested, at most AHEAD per process in advance.
        copy: Whether the first process may be a copy of this one. It is if nothing that this process does makes that
            unsafe (`_copyable`), and if the processes use as many math threads as this one.
        advance: Called by other threads while recordings are scored, with the fractions that were scored.

    Returns:
        The rows of each job in order, without tracks. Close it to end the processes.

    Raises:
        ModelError: The model does not load.
        MtqnetError: A process does not start.
    """
    workers = Workers(setting, advance)
    if copy and processes == 1 and setting.threads != 1 and _copyable():
        workers.add_copy()
    return _score_jobs(workers, processes, jobs)


def _copyable() -> bool:
    """Whether this process can be copied: it has no other threads, as those of onnxruntime or a progress bar."""
    threaded = {"onnxruntime", "torch"} & set(sys.modules)
    return sys.platform == "linux" and not threaded and threading.active_count() == 1


def _score_jobs(workers: Workers, processes: int, jobs: Iterable[Job]) -> Generator[Scores]:
    pending: deque[Future[list[Scores]]] = deque()
    with ThreadPoolExecutor(processes, "mtqnet-score") as threads:
        try:
            for job in jobs:
                pending.append(threads.submit(workers.score, job))
                if len(pending) >= AHEAD * processes:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            workers.close()
            threads.shutdown(wait=True, cancel_futures=True)


class Workers:
    """A process for each thread that calls `score`."""

    def __init__(self, setting: Setting, advance: Advance | None = None) -> None:
        self._setting = setting
        self._advance = advance or (lambda _: None)
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._copy: _Process | None = None
        self._closed = False

    def add_copy(self) -> None:
        """Start a process as a copy of this one; the first thread that needs one takes it."""
        self._copy = _Process(_Copy(self._setting))
        self._processes.add(self._copy)

    def score(self, job: Job) -> list[Scores]:
        """Score a file in the process of this thread."""
        progress = increments(self._advance)
        try:
            return self._score(job, progress)
        finally:
            progress(1.0)

    def _score(self, job: Job, progress: Callable[[float], None]) -> list[Scores]:
        for _ in range(ATTEMPTS):
            process = self._process()
            try:
                return process.score(job, progress)
            except (OSError, EOFError, pickle.UnpicklingError):  # it died
                self._thread.process = None
                reason = process.cause_of_death()
                if reason == STALLED:
                    break
        error = KilledError(f"the process that decoded this file {reason}: the file is probably damaged")
        return [failed(models.find(self._setting.model), error, job.path)]

    def close(self) -> None:
        """Kill the processes, also those that are scoring."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()

    def _process(self) -> _Process:
        process: _Process | None = getattr(self._thread, "process", None)
        if process is None:
            with self._lock:
                if self._closed:
                    raise MtqnetError("scoring was ended")
                process, self._copy = self._copy or _Process(_interpreter(self._setting)), None
                self._processes.add(process)
            self._thread.process = process
            process.wait_until_ready()
        return process


class _Started(Protocol):
    """What _Process needs of a process, as in subprocess.Popen."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


def _interpreter(setting: Setting) -> subprocess.Popen[bytes]:
    """Start a process as a new interpreter."""
    package = str(Path(models.__file__).resolve().parents[2])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    }
    environment |= ONE_MATH_THREAD if setting.threads == 1 else {}
    command = [sys.executable, "-P", "-m", "mtqnet.scoring.worker_process"]
    command += [setting.model, str(setting.threads), str(setting.channels)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


class _Copy:
    """A process that is a copy of this one; see `_Started`."""

    stderr: IO[bytes] | None = None

    def __init__(self, setting: Setting) -> None:
        tasks, stdin = os.pipe()
        stdout, results = os.pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the threads of numpy, which survive a fork
            self._pid = os.fork()
        if self._pid == 0:
            run_copy(tasks, results, parent, setting.model, setting.threads, setting.channels)
        os.close(tasks)
        os.close(results)
        self._code: int | None = None
        self._lock = threading.RLock()
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, which is negative after a signal. Raises TimeoutExpired."""
        ends = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._ended():
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired("mtqnet", timeout or 0.0)
            time.sleep(0.005)
        assert self._code is not None
        return self._code

    def kill(self) -> None:
        with self._lock:
            if not self._ended():
                os.kill(self._pid, signal.SIGKILL)

    def _ended(self) -> bool:
        """Whether the process has ended; threads take turns, because its exit code can be read once only."""
        with self._lock:
            if self._code is None:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if pid else None
            return self._code is not None


class _Process:
    """One process: pickled jobs to its standard input, pickled scores from its standard output."""

    def __init__(self, process: _Started) -> None:
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        self._tasks, self._results = process.stdin, process.stdout

    def wait_until_ready(self) -> None:
        """Raise MtqnetError where the process or its model does not start."""
        try:
            answer = pickle.load(self._results)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            lines = self._process.stderr.read() if self._process.stderr is not None else b""
            last = lines.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise MtqnetError(
                f"a scoring process {self.cause_of_death()} while it started: {' '.join(last)}"
            ) from error
        if isinstance(answer, MtqnetError):
            raise answer

    def score(self, job: Job, progress: Callable[[float], None]) -> list[Scores]:
        """Score a file; `progress` is called with the fraction that is scored.

        Raises OSError, EOFError or UnpicklingError when the process dies.
        """
        pickle.dump(job, self._tasks)
        self._tasks.flush()
        while isinstance(answer := pickle.load(self._results), float):
            progress(answer)
        rows: list[Scores] = answer
        return rows

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):  # of what was not sent yet
                if pipe is not None:
                    pipe.close()

    def cause_of_death(self) -> str:
        """Return how the process ended; one that does not end is killed."""
        try:
            code = self._process.wait(DYING_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "stopped answering"
        self._close()
        if code == OUT_OF_MEMORY:
            return f"needed more than {MEMORY_BYTES / 1e6:g} MB of memory"
        if code == -getattr(signal, "SIGKILL", 0):
            return "was killed, which systems do that run out of memory"
        if code == -getattr(signal, "SIGPROF", 0):
            return STALLED
        with suppress(ValueError):
            return f"crashed ({signal.Signals(-code).name})"
        return f"ended with code {code}"
