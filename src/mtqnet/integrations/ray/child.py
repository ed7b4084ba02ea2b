"""The process that scores for a worker: what a recording may do to it, it does to this one alone.

    python -m mtqnet.integrations.ray.child SOCKET MODEL WINDOWS MEMORY_BYTES

It does not use Ray. Started by sandbox.py, it takes one Task after another until its worker hangs up or dies.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from mtqnet.errors import MtqnetError
from mtqnet.integrations.ray.sandbox import OUT_OF_MEMORY, At, Done, Finished, Ready, Task
from mtqnet.integrations.ray.sources import Item, items
from mtqnet.scoring import tables
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.tables import Layout
from mtqnet.scoring.worker_process import exit_with, prefer_for_out_of_memory


def main(connection: Connection, model: str, layout: Layout, threads: int) -> None:
    """Serve until the worker hangs up."""
    predictor = Predictor(model, threads, track=False)
    connection.send(Ready())
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the worker hung up
        while True:
            task: Task = connection.recv()
            _score(connection, predictor, layout, task)
            connection.send(Finished())


def _score(connection: Connection, predictor: Predictor, layout: Layout, task: Task) -> None:
    with items(task.entries, task.done) as waiting:
        for item in waiting:
            connection.send(At(item.place, item.file, item.size))
            connection.recv()  # Go
            began = time.monotonic()
            scores = replace(_scores(predictor, item), file=item.file)
            error = scores.exception
            code = error.exit_code if isinstance(error, MtqnetError) else MtqnetError.exit_code
            connection.send(
                Done(
                    item.place, tuple(layout.rows(scores)), code if scores.error is not None else 0,
                    scores.duration_s or 0.0, item.size, item.fetch_s, time.monotonic() - began,
                )
            )  # fmt: skip
            if task.one:
                return


def _scores(predictor: Predictor, item: Item) -> Scores:
    if item.problem is not None:
        return predictor.failed(item.problem)
    (scores,) = predictor.score_job(Job(item.path))
    return scores


def _limit(memory: int) -> None:
    """Ask for more than so many bytes and get a MemoryError, not the machine's trouble."""
    if not memory:
        return
    with suppress(ImportError, ValueError, OSError):  # not on this system
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    socket, model, windows, memory, threads = sys.argv[1:]
    exit_with(os.getppid())
    prefer_for_out_of_memory()
    _limit(int(memory))
    try:
        main(Connection(int(socket)), model, tables.WINDOWS if windows == "1" else tables.RECORDINGS, int(threads))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
