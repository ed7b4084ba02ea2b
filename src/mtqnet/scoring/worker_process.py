"""The process in which files are scored: `python -m mtqnet.scoring.worker_process MODEL THREADS CHANNELS`.

It reads pickled jobs and writes pickled scores until its input ends or the process that started it is gone. workers.py
starts it, either as a new interpreter or as a copy of the current one.

A file may use MEMORY_BYTES more than the loaded model, and it must make progress: one that needs more memory, or
whose decoder yields nothing for STALL_S of processor time, ends the process, and workers.py writes the reason into its
row. Processor time, because a process may be stopped (Ctrl-Z), or wait for a slow disk or a busy machine.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, NoReturn

from mtqnet.audio import reading
from mtqnet.audio.reading import Channels
from mtqnet.errors import AudioError, MtqnetError
from mtqnet.scoring import models
from mtqnet.scoring.batch import Job, parse_channels
from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.predictor import Predictor
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


def main(model: str, threads: int, channels: Channels) -> None:
    """Score jobs from standard input until it ends."""
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get between the results
    with suppress(BrokenPipeError, EOFError):
        _serve(tasks, results, model, threads, channels)


def run_copy(tasks: int, results: int, parent: int, model: str, threads: int, channels: Channels) -> NoReturn:
    """Score jobs in a copy of the parent process, which forked it.

    Args:
        tasks: File descriptor of the jobs.
        results: File descriptor of the scores.
        parent: Id of the parent process.
        model: Name or path of the model.
        threads: Threads of the model.
        channels: Channels that are scored.
    """
    code = 1
    try:
        _leave_to_parent(tasks, results)
        prepare(parent)
        with suppress(BrokenPipeError, EOFError), os.fdopen(tasks, "rb") as jobs, os.fdopen(results, "wb") as rows:
            _serve(jobs, rows, model, threads, channels)
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
    prefer_for_out_of_memory()


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


def _serve(tasks: IO[bytes], results: IO[bytes], model: str, threads: int, channels: Channels) -> None:
    try:
        limit_memory(models.find(model), LOADING_BYTES)
        predictor = Predictor(model, threads, track=False)
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
        rows = predictor.score_job(job, channels, _reporter(results))
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

    def watch(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    parent = parent_process()
    if parent is not None:
        threading.Thread(target=watch, args=(parent,), daemon=True).start()


def prefer_for_out_of_memory() -> None:
    """Let the system choose this process, not its parent, when it has no memory left."""
    with suppress(OSError):  # not on this system
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    prepare(os.getppid())
    try:
        model, threads, channels = sys.argv[1:]
        main(model, int(threads), parse_channels(channels))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
