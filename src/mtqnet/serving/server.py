"""Run the application until it is stopped; running jobs are finished first."""

from __future__ import annotations

import os
import socket

import uvicorn

from mtqnet.cli.terminal import tell
from mtqnet.errors import MtqnetError, UsageError
from mtqnet.scoring.workers import ONE_MATH_THREAD
from mtqnet.serving import app
from mtqnet.serving.connections import Connection, max_connections
from mtqnet.serving.settings import LOOPBACK, Settings
from mtqnet.serving.units import MB

WS_MESSAGE = 2 * MB
"""Bytes of a message of a live stream: 10 s of 48 kHz in float32"""
WS_QUEUE = 32
"""Messages that wait before the sender is slowed down"""
LISTEN_QUEUE = 512
"""Connections that wait in the system until they are accepted"""
ACCEPT_AT_ONCE = 32
"""Connections accepted in one step of the event loop. If no file descriptor is left, asyncio still tries this
many times and logs a traceback for each. Well below connections.RESERVED_FILES."""


class Server(uvicorn.Server):
    """Prints its address after the start."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(LISTEN_QUEUE)  # asyncio shortened the queue to ACCEPT_AT_ONCE
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            tell(f"mtqnet listens at http://{f'[{host}]' if ':' in host else host}:{port}")


def run(settings: Settings) -> None:
    """Serve until stopped. Raises MtqnetError if the service cannot start."""
    os.environ.update(ONE_MATH_THREAD)  # for the scoring processes: each has a core
    Connection.limit = max_connections()
    with _bound(settings) as listening:
        parts = app.prepared(settings)
        if settings.keys is None and settings.host not in LOOPBACK:
            tell(
                f"warning: all clients that reach {settings.host} may use this service: set --keys or --host 127.0.0.1"
            )
        server = Server(
            uvicorn.Config(
                app.create(settings, parts),
                log_level="warning",
                ws="websockets-sansio",
                ws_max_size=WS_MESSAGE,
                ws_max_queue=WS_QUEUE,
                backlog=ACCEPT_AT_ONCE,
                http=Connection,
                timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
                server_header=False,
                lifespan="on",
            )
        )
        server.run(sockets=[listening])
    if not server.started:
        raise MtqnetError("the service did not start; the reason is shown above")


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on accepted connections. Without it, every answer on a
    # kept-alive connection waits about 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(LISTEN_QUEUE)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen at {settings.host}:{settings.port} ({error.strerror}): choose another --port"
        ) from error
    return listening
