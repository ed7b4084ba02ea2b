"""Limits of connections that uvicorn does not have: a time limit for request headers, and a maximum number."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 15.0
"""Seconds until the headers of a request must be complete, counted from its first byte or from the connection"""
OPEN_FILES = 16_384
"""File descriptors that the service requests, if the system's hard limit allows it"""
RESERVED_FILES = 96
"""File descriptors that connections do not use: uploads, pipes of the scoring processes, the history"""
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


def max_connections() -> int:
    """Raise the limit of open files where possible, and return the number of connections that fit into it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, (OPEN_FILES if soft == resource.RLIM_INFINITY else soft) - RESERVED_FILES)


class Connection(H11Protocol):
    """An HTTP connection that is closed if the headers of its next request do not arrive in time.

    Without the limits, clients that never complete a request use up the file descriptors of the service.
    """

    limit = 1000
    """Connections at once; further ones are answered with 503 and closed"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            transport.write(REFUSAL)
            transport.close()
            return
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        if self._waiting and self._deadline is None:
            self._start_deadline()
        super().data_received(data)
        if not self._waiting:
            self._stop_deadline()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_deadline()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    @property
    def _waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEADERS_S, self._close_if_waiting)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_if_waiting(self) -> None:
        self._deadline = None
        if self._waiting and not self.transport.is_closing():
            self.transport.close()
