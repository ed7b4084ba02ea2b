"""State that the parts of the service share, and the figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from fastapi import Depends
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.scores import Scores
from mtqnet.serving.guard import Keys, bearer
from mtqnet.serving.history import History
from mtqnet.serving.pool import Pool
from mtqnet.serving.problems import ProblemError, log
from mtqnet.serving.settings import Settings
from mtqnet.targets import BY_KEY, Target

T = TypeVar("T")
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
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter("mtqnet_requests", "Requests answered", ["route", "method", "status"])
        self.latency = histogram("mtqnet_request_seconds", "Time to the answer", ["route"], buckets=SECONDS)
        self.audio_seconds = counter("mtqnet_audio_seconds", "Seconds of audio taken", ["kind"])
        self.flags = counter("mtqnet_flags", "Flags raised on recordings", ["flag"])
        self.refusals = counter("mtqnet_refusals", "Requests and recordings refused, by reason", ["reason"])
        self.jobs = gauge("mtqnet_jobs", "Jobs that run or wait")
        self.restarts = gauge(
            "mtqnet_process_restarts", "Replacements of scoring processes that were killed while idle"
        )
        self.streams = gauge("mtqnet_streams", "Live streams open")
        behind = "Audio that had come beyond the end of a row when it was ready"
        self.behind = histogram("mtqnet_stream_behind_seconds", behind, buckets=SECONDS)
        self.history_failures = counter("mtqnet_history_failures", "Rows that the history could not take")
        self._scores = {
            key: histogram(
                f"mtqnet_{key}", f"{target.name}: {target.says}", ["kind", "model"], buckets=_buckets(target)
            )
            for key, target in BY_KEY.items()
        }

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

    async def remember(self, scores: Scores, kind: str, source: str, audio: bytes | None = None) -> int | None:
        """Write a row to the history and return its id; None without history or if the database fails."""
        if self.history is None:
            return None
        try:
            return await run_in_threadpool(self.history.add, scores, kind, source, audio)
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


def need_key(connection: HTTPConnection, key: str | None = None) -> None:
    """Raise ProblemError if a key is required, and neither `key` nor the header of the request is valid."""
    if not of(connection).keys.allows(key or bearer(connection.headers.get("authorization"))):
        detail = "send a key of this server as `Authorization: Bearer KEY`"
        raise ProblemError(401, "no_key", detail, {"WWW-Authenticate": "Bearer"})


def _need_key(connection: HTTPConnection) -> None:
    need_key(connection)


ServiceOf = Annotated[Service, Depends(of)]
NeedKey = Depends(_need_key)
