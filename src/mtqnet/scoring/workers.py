"""Score files in separate processes, so that a file that crashes its decoder costs only its own row.

Each process has its own model: `python -m mtqnet.scoring.workers MODEL THREADS CHANNELS` reads pickled jobs and writes
pickled scores. For the command line on Linux, the first one is a copy of the current process (fork): the modules that
both need are then loaded once. All exit with the process that started them. Results are in the order of the jobs. A
process that dies while it scores a file is replaced and the file is tried once more; if the new process dies too, the
file gets a KilledError as its row.

A file may use MEMORY_BYTES more than the loaded model, and it must make progress: one that needs more memory, or whose
decoder yields nothing for STALL_S of processor time, ends the process. Processor time, because a process may be stopped
(Ctrl-Z), or wait for a slow disk or a busy machine.
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
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import IO, NoReturn, Protocol

from mtqnet.audio import reading
from mtqnet.audio.reading import Channels
from mtqnet.errors import AudioError, KilledError, MtqnetError
from mtqnet.scoring import models
from mtqnet.scoring.batch import Advance, Job, increments, parse_channels
from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.predictor import Predictor, failed
from mtqnet.scoring.scores import Scores

OUT_OF_MEMORY = 99
"""Exit code"""
REPORT_S = 0.5
"""Seconds between two reports of progress within a file"""
PARENT_CHECK_S = 0.5
"""Seconds between two checks whether the parent process is alive"""
MEMORY_BYTES = 350_000_000
"""Memory that a file may use in addition to the loaded model. A recording of any length, rate and number of channels
needs less than 100 MB."""
LOADING_BYTES = 1_000_000_000
"""Memory that loading a model may use, in addition to twice its size: an untrusted graph may contain a few bytes that
become a large constant"""
STALL_S = 120
"""Seconds of processor time in which a block of audio must be decoded, or a window scored; both take below 1 s"""
STALLED = f"made no progress in {STALL_S} s of processor time"
AHEAD = 32
"""Limit per process of the files that are in progress or done before the next row is returned: it bounds the memory
and lets other processes continue while one scores a long file"""
ATTEMPTS = 2
"""A process may be killed for another reason than its file, for example when the system has no memory left"""
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
            for _ in range(ATTEMPTS):
                process = self._process()
                try:
                    return process.score(job, progress)
                except (OSError, EOFError, pickle.UnpicklingError):  # it died
                    self._thread.process = None
                    reason = process.cause_of_death()
                    if reason == STALLED:
                        break
        finally:
            progress(1.0)
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
    command = [sys.executable, "-P", "-m", "mtqnet.scoring.workers"]
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
            run_copy(tasks, results, parent, setting)
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


def main(setting: Setting) -> None:
    """Score jobs from standard input until it ends: what a process does that is a new interpreter."""
    prepare(os.getppid())
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get between the results
    with suppress(BrokenPipeError, EOFError):
        _serve(tasks, results, setting)


def run_copy(tasks: int, results: int, parent: int, setting: Setting) -> NoReturn:
    """Score jobs in a copy of the parent process, which forked it. `tasks` and `results` are file descriptors."""
    code = 1
    try:
        _leave_to_parent(tasks, results)
        prepare(parent)
        with suppress(BrokenPipeError, EOFError), os.fdopen(tasks, "rb") as jobs, os.fdopen(results, "wb") as rows:
            _serve(jobs, rows, setting)
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)  # nothing that the parent process has open is flushed or removed here


def prepare(parent: int) -> None:
    """Set how this process reacts to signals, to a lack of memory, and to the end of its parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    exit_with(parent)
    with suppress(OSError):  # the system chooses this process, not its parent, when it has no memory left
        Path("/proc/self/oom_score_adj").write_text("1000")


def _leave_to_parent(*own: int) -> None:
    """Close what was open in the parent process: its output, and the lock of its table."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    start = 3
    for descriptor in sorted(own):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, max(start, os.sysconf("SC_OPEN_MAX")))


def _serve(tasks: IO[bytes], results: IO[bytes], setting: Setting) -> None:
    try:
        limit_memory(models.find(setting.model), LOADING_BYTES)
        predictor = Predictor(setting.model, setting.threads, track=False)
    except MtqnetError as error:
        _send(results, error)
        return
    limit_memory(predictor.record)
    _send(results, None)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    if hasattr(signal, "setitimer"):
        reading.on_progress = lambda: signal.setitimer(signal.ITIMER_PROF, STALL_S)
    while True:
        job: Job = pickle.load(tasks)
        reading.on_progress()
        rows = predictor.score_job(job, setting.channels, _reporter(results))
        _send(results, [_portable(scores) for scores in rows])


def _reporter(results: IO[bytes]) -> Callable[[float], None]:
    """Return a function that sends the fraction of a file that is scored, at most every REPORT_S seconds."""
    last = time.monotonic()

    def report(part: float) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_S:
            last = time.monotonic()
            _send(results, float(part))

    return report


def limit_memory(model: ModelRecord, more: int = MEMORY_BYTES) -> None:
    """Limit the memory of this process to what it uses now and `more` bytes, and twice the size of the model.

    Only on Linux, where the limit counts private writable memory.
    """
    if sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text()
    used = int(status.split("VmData:")[1].split()[0]) * 1024
    limit = used + more + 2 * model.path.stat().st_size
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _send(results: IO[bytes], answer: object) -> None:
    pickle.dump(answer, results)
    results.flush()


def _portable(scores: Scores) -> Scores:
    """Replace an exception that cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(scores.exception))
    except Exception:  # whatever the exception of another package raises when it is copied
        return replace(scores, exception=AudioError(scores.error))
    return scores


def exit_with(parent: int) -> None:
    """End this process soon after its parent process ended, whatever it is doing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def exit_with_parent() -> None:
    """End this process when the one that started it is gone, however it ended: initializer of process pools."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    try:
        main(Setting(sys.argv[1], int(sys.argv[2]), parse_channels(sys.argv[3])))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
