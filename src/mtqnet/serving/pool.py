"""Bounded work in separate processes: limited number of jobs at a time, limited queue, limited time per job.

Processes instead of threads: a job that takes too long, or a decoder that crashes, is ended without ending the
service. A process that dies is replaced, and its job is tried once more. If a process is killed while none has a job,
for example by the out-of-memory killer, pebble's pool takes no more jobs and is replaced.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from mtqnet.serving import worker
from mtqnet.serving.problems import ProblemError, busy, log

T = TypeVar("T")
MAX_RETRY_S = 60
"""Largest value of the header Retry-After, in seconds"""
SMOOTHING = 0.1
"""Weight of the latest job in the running mean of job durations"""
ATTEMPTS = 2
"""How often a job is started: a process may be killed for reasons unrelated to the job"""
STARTS = 3
"""Times that the pool may break before it starts a job, before the job is given up"""
REPAIR_EVERY_S = 1.0
"""Seconds between two checks of idle processes"""
KILLED = {-getattr(signal, name) for name in ("SIGKILL", "SIGTERM") if hasattr(signal, name)}
"""Exit codes of processes that were ended from outside, by the out-of-memory killer or an operator"""
KILLED_RETRY_S = 5
"""Seconds, value of Retry-After after that: a new process loads its models in this time"""


class Pool:
    """Runs functions of worker.py in processes, which are started when they are first needed."""

    def __init__(self, processes: int, queue: int, job_s: float, model: str) -> None:
        """Set the limits.

        Args:
            processes: Number of processes.
            queue: Jobs that may wait for a process.
            job_s: Seconds after which a job is ended together with its process.
            model: Model that each process loads at its start.
        """
        self._processes, self._queue, self._job_s, self._model = processes, queue, job_s, model
        self._pool: ProcessPool | None = None
        self._free = asyncio.Semaphore(processes)
        self._mean_s = 0.5
        self.pending = 0
        """Jobs that run or wait"""
        self.restarts = 0
        """Number of times the processes were replaced because one was killed while it was idle"""

    @property
    def full(self) -> bool:
        return self.pending >= self._processes + self._queue

    @property
    def healthy(self) -> bool:
        """Whether a process can take a job; processes that were not started yet can."""
        return self._pool is None or bool(self._pool.active)

    async def start(self) -> None:
        """Start the processes and wait until one has loaded its model."""
        await self.call(worker.ready)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function of worker.py. If the caller is cancelled, the job ends.

        Raises:
            ProblemError: 429 if too many jobs wait, 413 if the recording is too long or the job takes too long,
                503 or 500 if the process died; see `died`.
        """
        if self.full:
            # half of the waiting jobs should be done by then
            seconds = min(MAX_RETRY_S, max(1, math.ceil(self._mean_s / 2)))
            raise busy(f"{self.pending} jobs are running or waiting", seconds)
        self.pending += 1
        started = time.monotonic()
        try:
            return await self.call(function, *arguments)
        except worker.TooLongError as error:
            raise ProblemError(413, "too_long", str(error)) from error
        except TimeoutError as error:
            detail = f"Scoring took more than {self._job_s:g} s. Send a shorter recording."
            raise ProblemError(413, "took_too_long", detail) from error
        except MemoryError as error:
            detail = "Scoring took too much memory. Send a shorter recording."
            raise ProblemError(413, "too_much_memory", detail) from error
        except (ProcessExpired, BrokenProcessPool) as error:
            raise died(error) from error
        finally:
            self.pending -= 1
            self._mean_s += SMOOTHING * (time.monotonic() - started - self._mean_s)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function of worker.py, whatever the number of waiting jobs.

        A job whose process dies is started ATTEMPTS times in all.

        Raises:
            ProcessExpired: The processes of the job died.
            BrokenProcessPool: Processes died before they took the job.
            TimeoutError: The job took too long.
        """
        deaths = starts = 0
        async with self._free:  # waiting jobs are not known to pebble, so that they can be cancelled at no cost
            while True:
                try:
                    result: T = await asyncio.wrap_future(self._schedule(function, arguments))
                except ProcessExpired as error:
                    deaths += 1
                    if deaths == ATTEMPTS:
                        raise
                    log.warning("a scoring process ended unexpectedly (%s); its job is started again", error)
                except BrokenProcessPool as error:
                    starts += 1
                    if starts > STARTS:
                        raise
                    log.warning("a scoring process was gone (%s); the job is given to another one", error)
                else:
                    return result

    async def repair(self) -> None:
        """Replace idle processes that were killed, until cancelled."""
        while True:
            await asyncio.sleep(REPAIR_EVERY_S)
            if not self.healthy:
                log.warning("an idle scoring process was killed; the processes are replaced")
                try:
                    await self.call(worker.ready)
                except (ProcessExpired, BrokenProcessPool, TimeoutError) as error:
                    log.error("scoring processes do not start: %s", error)

    def close(self, patience_s: float) -> None:
        """Take no more jobs, let running jobs finish within `patience_s` seconds, and end the processes."""
        if self._pool is not None:
            self._pool.close()  # type: ignore[no-untyped-call]
            try:
                self._pool.join(patience_s)
            except TimeoutError:
                _end(self._pool)

    def _schedule(self, function: Callable[..., T], arguments: Sequence[Any]) -> Future[T]:
        if self._pool is not None and not self._pool.active:
            asyncio.get_running_loop().run_in_executor(None, _end, self._pool)
            self._pool = None
            self.restarts += 1
        if self._pool is None:
            self._pool = ProcessPool(
                max_workers=self._processes,
                initializer=worker.start,
                initargs=(self._model,),
                context=get_context("spawn"),  # the threads of onnxruntime do not survive a fork
            )
        try:
            future: Future[T] = self._pool.schedule(function, args=arguments, timeout=self._job_s)
        except RuntimeError as error:  # it broke in between
            raise BrokenProcessPool(str(error)) from error
        return future


def _end(pool: ProcessPool) -> None:
    """End the processes at once."""
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def died(error: ProcessExpired | BrokenProcessPool) -> ProblemError:
    """Return the answer to a job that was given up because its processes died.

    Returns:
        503 with Retry-After if they were killed from outside or did not start, which is not the fault of the
        recording; 500 if the recording crashed them.
    """
    log.error("a job was given up, because its scoring processes died: %s", error)
    if isinstance(error, ProcessExpired) and error.exitcode not in KILLED:
        detail = f"The scoring process crashed {ATTEMPTS} times on this recording. Do not send it again."
        return ProblemError(500, "process_died", detail)
    detail = f"The scoring processes of this request were killed. Try again in {KILLED_RETRY_S} s."
    return ProblemError(503, "process_killed", detail, {"Retry-After": str(KILLED_RETRY_S)})
