"""State that the parts of the service share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from mtqnet.scoring.models import ModelRecord
from mtqnet.serving import keys, worker
from mtqnet.serving.history.store import Entry, History
from mtqnet.serving.keys import Keys
from mtqnet.serving.metrics import Metrics
from mtqnet.serving.pool import Pool
from mtqnet.serving.problems import ProblemError
from mtqnet.serving.settings import Settings

T = TypeVar("T")
log = logging.getLogger("mtqnet.serving")


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
