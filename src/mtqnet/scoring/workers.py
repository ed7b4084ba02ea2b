"""Several processes, each with a model of its own and one math thread; rows in the order of the jobs."""

from __future__ import annotations

import os
import pickle
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context

from mtqnet.errors import MtqnetError
from mtqnet.scoring.batch import Job, score_job
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores

MOST_AT_ONCE = 4
"""Jobs that go to a process together where there are many: less talk between processes"""
ROUNDS = 16
"""Pieces for each process at the least, so that none waits long for another in the end"""
AHEAD = 32
"""Jobs for each process that may be under way or done before the row that is next: bounds the memory, and lets
the others go on while one works at a long file."""
ONE_MATH_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For numpy in a process to come; onnxruntime is told by its session."""


@dataclass(frozen=True)
class Setting:
    """What each process loads."""

    model: str
    threads: int = 1


def score_jobs(setting: Setting, processes: int, jobs: Iterable[Job]) -> Iterator[Scores]:
    """A row per job, in order, without tracks. Raises ModelError, and MtqnetError when a process dies."""
    pending: deque[Future[list[Scores]]] = deque()
    many = len(jobs) // (ROUNDS * processes) if isinstance(jobs, Sequence) else 1
    size = max(1, min(MOST_AT_ONCE, many))
    # Spawned, not forked: threads of onnxruntime do not survive a fork.
    with (
        _environment(ONE_MATH_THREAD),
        ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_leave_interrupts) as pool,
    ):
        try:
            for piece in _pieces(jobs, size):
                pending.append(pool.submit(_score, setting, piece))
                if len(pending) * size >= AHEAD * processes:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool as error:
            raise MtqnetError(
                "a scoring process was killed (out of memory?): go on with --resume, and fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _pieces(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """So many at a time, as they come."""
    left = iter(jobs)
    while piece := list(islice(left, size)):
        yield piece


def _score(setting: Setting, jobs: Sequence[Job]) -> list[Scores]:
    return [_portable(score_job(_predictor(setting), job)) for job in jobs]


@lru_cache(maxsize=1)
def _predictor(setting: Setting) -> Predictor:
    return Predictor(setting.model, setting.threads, track=False)


def _portable(scores: Scores) -> Scores:
    """The same, with an exception that can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(scores.exception))
    except Exception:  # whatever an exception of somebody's does when it is copied
        return replace(scores, exception=MtqnetError(scores.error))
    return scores


def _leave_interrupts() -> None:
    """The process that started this one handles Ctrl-C, and ends it in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
