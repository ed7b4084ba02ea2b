"""Figures for Prometheus. Each service has a registry of its own: two in one process do not mix."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from mtqnet.scoring.scores import Scores
from mtqnet.targets import TARGETS, Target

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
"""Buckets of times"""
STEPS = 16
"""Buckets of scores, in equal steps of the range, or of its logarithm"""


class Metrics:
    """Counts what the service does."""

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
