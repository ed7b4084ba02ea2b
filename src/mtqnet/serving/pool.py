"""Bounded work in separate processes: limited number of jobs at a time, limited queue, limited time per job.

Processes instead of threads: a job that takes too long, or a decoder that crashes, is ended without ending the
service. Every process has a pool of its own (pebble, one worker each). A process that is killed while it is idle,
for example by the out-of-memory killer, therefore breaks its own pool only; that pool is replaced and the job is
tried once more.
"""

from __future__ import annotations

import asyncio
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
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
"""Processes that may die before they take a job, before it is given up"""
REPAIR_EVERY_S = 1.0
"""Seconds between two checks of idle processes"""
KILLED = {-getattr(signal, name) for name in ("SIGKILL", "SIGTERM") if hasattr(signal, name)}
"""Exit codes of processes that were ended from outside, by the out-of-memory killer or an operator"""
KILLED_RETRY_S = 5
"""Seconds, value of Retry-After after that: a new process loads its models in this time"""


def died(error: ProcessExpired | BrokenProcessPool) -> ProblemError:
    """Return the answer to a job that was given up because its processes died.

    Returns:
        503 with Retry-After if they were killed from outside or did not start, which is not the fault of the
        recording; 500 if the recording crashed them.
    """
    log.error("a job was given up, because its scoring processes died: %s", error)
    if isinstance(error, ProcessExpired) and error.exitcode not in KILLED:
        return ProblemError(
            500,
            "process_died",
            f"The scoring process crashed {ATTEMPTS} times on this recording. Do not send it again.",
        )
    return ProblemError(
        503,
        "process_killed",
        f"The scoring processes of this request were killed. Try again in {KILLED_RETRY_S} s.",
        {"Retry-After": str(KILLED_RETRY_S)},
    )


@dataclass(frozen=True)
class PoolOptions:
    """Number of processes, length of the queue, time limit."""

    processes: int
    queue: int
    """Jobs that may wait for a process"""
    job_s: float
    """Seconds after which a job is ended together with its process"""
    models: tuple[str, ...] = ()
    """Models that each process loads at its start"""


class Job:
    """A job that can be cancelled, also while its process works on it: then the process is ended and replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._future: Future[Any] | None = None
        self.cancelled = False

    def started(self, future: Future[Any]) -> None:
        """Set what is cancelled."""
        with self._lock:
            self._future = future
            if self.cancelled:
                future.cancel()

    def cancel(self) -> None:
        """End the job."""
        with self._lock:
            self.cancelled = True
            if self._future is not None:
                self._future.cancel()


class Slot:
    """One scoring process, replaced when it dies."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._pool = self._new_pool()
        self._started = False
        self.restarts = 0
        """Number of times the process had to be replaced while it was idle"""

    def _new_pool(self) -> ProcessPool:
        # Spawned, not forked: the threads of onnxruntime do not survive a fork.
        return ProcessPool(
            max_workers=1,
            initializer=worker.start,
            initargs=(self._options.models,),
            context=get_context("spawn"),
        )

    @property
    def active(self) -> bool:
        """Whether the process can take a job; a process that was not started yet can."""
        return not self._started or bool(self._pool.active)

    def run(self, function: Callable[..., T], arguments: Sequence[Any], job: Job | None = None) -> T:
        """Run a job and wait for its result.

        A job whose process dies is started ATTEMPTS times in all. Processes that were dead before they took the job,
        or died while they started, do not count up to STARTS.

        Raises CancelledError if `job` is cancelled.
        """
        self._started = True
        deaths = starts = 0
        while True:
            try:
                future = self._pool.schedule(function, args=arguments, timeout=self._options.job_s)
                if job is not None:
                    job.started(future)
                result: T = future.result()
            except ProcessExpired as error:
                self.repair()
                deaths += 1
                if deaths == ATTEMPTS:
                    raise
                log.warning("a scoring process ended unexpectedly (%s); its job is started again", error)
            except RuntimeError as error:
                if not isinstance(error, BrokenProcessPool) and self.active:
                    raise  # raised by the job itself
                self.repair()
                starts += 1
                if starts > STARTS:
                    raise
                log.warning("a scoring process was gone (%s); the job is given to another one", error)
            else:
                return result

    def repair(self) -> None:
        """Replace a pool that takes no more jobs."""
        if not self.active:
            self.end()
            self._pool = self._new_pool()
            self.restarts += 1

    def close(self, patience_s: float) -> None:
        """Let the running job finish within `patience_s` seconds, then end the process."""
        self._pool.close()  # type: ignore[no-untyped-call]
        try:
            self._pool.join(patience_s)
        except (TimeoutError, CancelledError):
            self.end()

    def end(self) -> None:
        """End the process at once."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


class Pool:
    """Runs functions of worker.py in `processes` processes."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._slots = [Slot(options) for _ in range(options.processes)]
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in self._slots:
            self._free.put(slot)
        self._threads = ThreadPoolExecutor(options.processes, thread_name_prefix="jobs")
        self._closing = threading.Event()
        self._mean_s = 0.5
        self.pending = 0
        """Jobs that run or wait"""

    @property
    def full(self) -> bool:
        return self.pending >= self._options.processes + self._options.queue

    @property
    def healthy(self) -> bool:
        """Whether at least one process can take a job."""
        return any(slot.active for slot in self._slots)

    @property
    def restarts(self) -> int:
        """Number of processes that were replaced while they were idle."""
        return sum(slot.restarts for slot in self._slots)

    async def start(self) -> None:
        """Start every process and wait until each has loaded its models."""
        await asyncio.gather(
            *(asyncio.wrap_future(self._threads.submit(slot.run, worker.ready, ())) for slot in self._slots)
        )

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function of worker.py. If the caller is cancelled, the job ends.

        Raises:
            ProblemError: 429 if too many jobs wait, 413 if the recording is too long or the job takes too long,
                503 or 500 if the process died; see `died`.
        """
        if self.full:
            raise self._busy()
        self.pending += 1
        started = time.monotonic()
        job = Job()
        try:
            return await asyncio.wrap_future(self._submit(function, arguments, job))
        except asyncio.CancelledError:
            job.cancel()
            raise
        except worker.TooLongError as error:
            raise ProblemError(413, "too_long", str(error)) from error
        except TimeoutError as error:
            raise ProblemError(
                413,
                "took_too_long",
                f"Scoring took more than {self._options.job_s:g} s. Send a shorter recording.",
            ) from error
        except MemoryError as error:
            raise ProblemError(
                413, "too_much_memory", "Scoring took too much memory. Send a shorter recording."
            ) from error
        except (ProcessExpired, BrokenProcessPool) as error:
            raise died(error) from error
        finally:
            self.pending -= 1
            self._mean_s += SMOOTHING * (time.monotonic() - started - self._mean_s)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function of worker.py and wait for the result; not for the thread of the event loop."""
        return self._submit(function, arguments, Job()).result()

    async def repair(self) -> None:
        """Replace idle processes that were killed, until cancelled."""
        while not self._closing.is_set():
            await asyncio.sleep(REPAIR_EVERY_S)
            if not all(slot.active for slot in self._slots):
                await asyncio.wrap_future(self._threads.submit(self._repair_idle))

    def close(self, patience_s: float) -> None:
        """Take no more jobs, let running jobs finish within `patience_s` seconds, and end the processes."""
        self._closing.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        ends = time.monotonic() + patience_s
        for slot in self._slots:
            slot.close(max(0.0, ends - time.monotonic()))
        self._threads.shutdown()

    def _submit(self, function: Callable[..., T], arguments: Sequence[Any], job: Job) -> Future[T]:
        return self._threads.submit(self._in_slot, function, arguments, job)

    def _in_slot(self, function: Callable[..., T], arguments: Sequence[Any], job: Job) -> T:
        slot = self._free.get()
        try:
            if job.cancelled:
                raise CancelledError
            return slot.run(function, arguments, job)
        finally:
            self._free.put(slot)

    def _repair_idle(self) -> None:
        """Repair the slots that no job uses, and load their models."""
        for _ in range(len(self._slots)):
            try:
                slot = self._free.get_nowait()
            except queue.Empty:
                return
            try:
                if not slot.active and not self._closing.is_set():
                    log.warning("an idle scoring process was killed; it is replaced")
                    slot.repair()
                    slot.run(worker.ready, ())
            finally:
                self._free.put(slot)

    def _busy(self) -> ProblemError:
        """Suggest a retry when half of the waiting jobs should be done, estimated from the latest jobs."""
        seconds = min(MAX_RETRY_S, max(1, math.ceil(self._mean_s / 2)))
        return busy(f"{self.pending} jobs are running or waiting", seconds)
