"""Bounded work in processes of its own: so many at a time, so many waiting, so long each.

Processes and not threads: a job that takes too long, or a decoder that crashes, is ended without the service.
Pebble ends and replaces them; the standard library's pool cannot.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from mtqnet.serving import worker
from mtqnet.serving.problems import ProblemError, busy, log

T = TypeVar("T")
LONGEST_RETRY_S = 60
"""Seconds, of Retry-After"""
SMOOTHING = 0.1
"""Share of the newest job in the running mean of job times"""


@dataclass(frozen=True)
class PoolOptions:
    """How many at a time, and how long."""

    processes: int
    queue: int
    """Jobs that may wait"""
    job_s: float
    models: tuple[str, ...] = ()
    """To load at the start"""


class Pool:
    """Belongs to one event loop. Its processes start with the first job."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        # Spawned, not forked: threads of onnxruntime do not survive a fork.
        self._processes = ProcessPool(
            max_workers=options.processes,
            initializer=worker.start,
            initargs=(options.models,),
            context=get_context("spawn"),
        )
        self._mean_s = 0.5
        self.pending = 0
        """Jobs that run or wait"""

    @property
    def full(self) -> bool:
        return self.pending >= self._options.processes + self._options.queue

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function of worker.py. Raises ProblemError: 429 when too many wait, 413 when it is too much."""
        if self.full:
            raise self._busy()
        self.pending += 1
        started = time.monotonic()
        try:
            return await asyncio.wrap_future(self._schedule(function, arguments))
        except worker.TooLongError as error:
            raise ProblemError(413, "too_long", str(error)) from error
        except TimeoutError as error:
            raise ProblemError(
                413, "took_too_long", f"took more than {self._options.job_s:g} s: send a shorter recording"
            ) from error
        except ProcessExpired as error:
            log.error("a scoring process died: %s", error)
            raise ProblemError(500, "process_died", "the process that scored it died; it was replaced") from error
        finally:
            self.pending -= 1
            self._mean_s += SMOOTHING * (time.monotonic() - started - self._mean_s)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function of worker.py and wait for it, in a thread that is not the event loop's."""
        result: T = self._schedule(function, arguments).result()
        return result

    def _schedule(self, function: Callable[..., T], arguments: Sequence[Any]) -> Any:
        return self._processes.schedule(function, args=arguments, timeout=self._options.job_s)

    def close(self, patience_s: float) -> None:
        """Take no more jobs, let those in flight finish, and end the processes."""
        self._processes.close()  # type: ignore[no-untyped-call]
        try:
            self._processes.join(patience_s)
        except (TimeoutError, CancelledError):
            self._processes.stop()  # type: ignore[no-untyped-call]
            self._processes.join()

    def _busy(self) -> ProblemError:
        """Retry when half of what waits now is done, as far as the last jobs tell."""
        wait = self._mean_s / 2
        seconds = min(LONGEST_RETRY_S, max(1, math.ceil(wait)))
        return busy(f"{self.pending} jobs are under way", seconds)
