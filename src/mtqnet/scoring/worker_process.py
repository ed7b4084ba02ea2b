"""The process in which files are scored: `python -m mtqnet.scoring.worker_process MODEL THREADS CHANNELS`.

It reads pickled jobs from standard input and writes pickled scores to standard output until its input ends or the
process that started it is gone. workers.py starts it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from mtqnet.audio.reading import Channels
from mtqnet.errors import AudioError, MtqnetError
from mtqnet.scoring.batch import Job, parse_channels
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores

OUT_OF_MEMORY = 99
"""Exit code"""
PARENT_CHECK_S = 0.5
"""Seconds between two checks whether the parent process is alive"""


def main(model: str, threads: int, channels: Channels) -> None:
    """Score jobs until standard input ends."""
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get between the results
    with suppress(BrokenPipeError, EOFError):
        try:
            predictor = Predictor(model, threads, track=False)
        except MtqnetError as error:
            _send(results, error)
            return
        _send(results, None)
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        while True:
            job: Job = pickle.load(tasks)
            _send(results, [_portable(scores) for scores in predictor.score_job(job, channels)])


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


def _exit_with(parent: int) -> None:
    """End this process soon after its parent process ended, whatever it is doing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _prefer_for_out_of_memory() -> None:
    """Let the system choose this process, not its parent, when it has no memory left."""
    with suppress(OSError):  # not on this system
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    _exit_with(os.getppid())
    _prefer_for_out_of_memory()
    try:
        model, threads, channels = sys.argv[1:]
        main(model, int(threads), parse_channels(channels))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
