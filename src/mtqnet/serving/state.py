"""State that the parts of the service share, and the figures for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.scores import Scores
from mtqnet.serving import keys, worker
from mtqnet.serving.history.store import Entry, History
from mtqnet.serving.keys import Keys
from mtqnet.serving.pool import Pool
from mtqnet.serving.problems import ProblemError
from mtqnet.serving.settings import Settings
from mtqnet.targets import TARGETS, Target

T = TypeVar("T")
log = logging.getLogger("mtqnet.serving")


SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
"""Buckets of times"""
STEPS = 16
"""Buckets of scores, in equal steps of the range, or of its logarithm"""


class Metrics:
    """Counts what the service does. Each service has a registry of its own: two in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "mtqnet_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "mtqnet_request_seconds", "Time to the answer", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.audio_seconds = Counter(
            "mtqnet_audio_seconds", "Seconds of audio taken", ["kind"], registry=self.registry
        )
        self.flags = Counter("mtqnet_flags", "Flags raised on recordings", ["flag"], registry=self.registry)
        self.refusals = Counter(
            "mtqnet_refusals", "Requests and recordings refused, by reason", ["reason"], registry=self.registry
        )
        self.jobs = Gauge("mtqnet_jobs", "Jobs that run or wait", registry=self.registry)
        self.restarts = Gauge(
            "mtqnet_process_restarts",
            "Idle scoring processes that were replaced",
            registry=self.registry,
        )
        self.streams = Gauge("mtqnet_streams", "Live streams open", registry=self.registry)
        self.behind = Histogram(
            "mtqnet_stream_behind_seconds", "Audio that had come beyond the end of a row when it was ready",
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.history_failures = Counter(
            "mtqnet_history_failures", "Rows that the history could not take", registry=self.registry
        )
        self._scores = {
            target.key: Histogram(
                f"mtqnet_{target.key}", f"{target.name}: {target.says}", ["kind", "model"],
                buckets=_buckets(target), registry=self.registry,
            )
            for target in TARGETS
        }  # fmt: skip

    def scored(self, scores: Scores, kind: str) -> None:
        """Count a row; `kind` is file or stream."""
        for key, histogram in self._scores.items():
            if (value := scores.value(key)) is not None:
                histogram.labels(kind, scores.model).observe(value)
        for flag in scores.flags:
            self.flags.labels(flag).inc()
        if scores.error is not None:
            self.refusals.labels(scores.flags[0] if scores.flags else "not_scored").inc()
        if kind == "file":
            self.audio_seconds.labels(kind).inc(scores.duration_s or 0.0)

    def text(self) -> bytes:
        return generate_latest(self.registry)


def _buckets(target: Target) -> list[float]:
    low, high = target.compress(np.array([target.low, target.high]))
    steps = [float(low + (high - low) * step / STEPS) for step in range(1, STEPS + 1)]
    return [10**step for step in steps] if target.log else steps


@dataclass(frozen=True)
class Service:
    """Created when the application starts, closed when it ends."""

    settings: Settings
    models: Mapping[str, ModelRecord]
    """By name, the default one first"""
    keys: Keys
    metrics: Metrics
    files: Pool
    """Scores recordings"""
    live: Pool
    """Scores rows of live streams, which must not wait for long recordings"""
    threads: ThreadPoolExecutor
    """One thread per live stream, which waits for its row"""
    history: History | None
    folder: Path
    """For temporary files"""

    def model(self, name: str | None) -> ModelRecord:
        """The model that a request names, or the default one. Raises ProblemError."""
        chosen = next(iter(self.models)) if name is None else name
        if chosen not in self.models:
            raise ProblemError(422, "unknown_model", f"no model {chosen!r}: there are {', '.join(self.models)}")
        return self.models[chosen]

    @property
    def limits(self) -> worker.Limits:
        return worker.Limits(self.settings.max_duration_s, self.settings.max_decoded_mb)

    async def remember(self, entry: Entry) -> int | None:
        """Write a row to the history and return its id; None without history or if the database fails."""
        if self.history is None:
            return None
        try:
            return await run_in_threadpool(self.history.add, entry)
        except SQLAlchemyError:
            self.metrics.history_failures.inc()
            log.exception("the history could not take a row")
            return None

    async def ask_history(self, function: Callable[[History], T]) -> T:
        """Call a method of the history. Raises ProblemError if the service has no history."""
        if self.history is None:
            raise ProblemError(404, "no_history", "this server has no history")
        return await run_in_threadpool(function, self.history)


def of(connection: HTTPConnection) -> Service:
    """The service that a request came to."""
    service: Service = connection.app.state.service
    return service


def _of_request(request: Request) -> Service:
    return of(request)


def need_key(request: Request) -> None:
    """Raise ProblemError if a key is required and the request has no valid key."""
    if not of(request).keys.allows(keys.bearer(request.headers.get("authorization"))):
        raise no_key()


def no_key() -> ProblemError:
    return ProblemError(
        401, "no_key", "send a key of this server as `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"}
    )


ServiceOf = Annotated[Service, Depends(_of_request)]
