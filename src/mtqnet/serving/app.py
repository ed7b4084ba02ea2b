"""The application: it joins the parts of the service and runs them until it is stopped (`run`).

Limits of connections that uvicorn does not have are in `Connection`: a time limit for request headers, and a maximum
number of connections.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mtqnet import __version__
from mtqnet.errors import MtqnetError, UsageError
from mtqnet.scoring.workers import ONE_MATH_THREAD
from mtqnet.serving import MB, guard, problems, routes, stream, uploads
from mtqnet.serving.guard import Guard, Keys
from mtqnet.serving.history import History, opened
from mtqnet.serving.pool import Pool
from mtqnet.serving.problems import log
from mtqnet.serving.settings import BROWSER, LOOPBACK, Settings
from mtqnet.serving.state import Metrics, Service

PAGE = Path(__file__).with_name("page")
PRUNE_EVERY_S = 3600.0
"""Seconds between two searches for rows that are too old"""
SHUTDOWN_S = 60
"""Seconds for running jobs to finish when the service stops"""
HEADERS_S = 15.0
"""Seconds until the headers of a request must be complete, counted from its first byte or from the connection"""
OPEN_FILES = 16_384
"""File descriptors that the service requests, if the system's hard limit allows it"""
RESERVED_FILES = 96
"""File descriptors that connections do not use: uploads, pipes of the scoring processes, the history"""
WS_MESSAGE = 2 * MB
"""Bytes of a message of a live stream: 10 s of 48 kHz in float32"""
WS_QUEUE = 32
"""Messages that wait before the sender is slowed down"""
LISTEN_QUEUE = 512
"""Connections that wait in the system until they are accepted"""
ACCEPT_AT_ONCE = 32
"""Connections accepted in one step of the event loop. If no file descriptor is left, asyncio still tries this
many times and logs a traceback for each. Well below RESERVED_FILES."""
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""Methods that are counted by name; clients may send arbitrary other names"""
ABOUT = (
    "Non-intrusive speech quality assessment. S-, N- and G-MOS are 3QUEST-style, "
    "anchored on public P.835 ratings; PESQ, STOI and SDI are estimates. The WebSocket `/v1/stream` takes PCM and "
    "returns rolling scores; its messages are described in the documentation."
)


def create(settings: Settings) -> FastAPI:
    """Look for the models and the keys, open the history, and return the application. Raises MtqnetError."""
    models = settings.records()
    for record in models.values():
        record.weights()  # raises here what would end every scoring process at its start
    keys = guard.read_keys(settings.keys) if settings.keys is not None else Keys()
    history = History(opened(settings.database_url)) if settings.database_url is not None else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        default = str(next(iter(models.values())).path)
        with uploads.temporary_folder() as folder:
            service = Service(
                settings=settings,
                models=models,
                keys=keys,
                metrics=Metrics(),
                files=Pool(settings.processes, settings.queue, settings.job_s, default),
                live=Pool(settings.processes, settings.most_streams, settings.job_s, default),
                threads=ThreadPoolExecutor(settings.most_streams, thread_name_prefix="stream"),
                history=history,
                folder=folder,
            )
            app.state.service = service
            await service.files.start()  # models are loaded before the first request
            background = [
                asyncio.create_task(job)
                for job in (_prune(service), service.files.repair(), service.live.repair())
            ]
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                await run_in_threadpool(_close, service)

    app = FastAPI(
        title="mtqnet",
        description=ABOUT,
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    problems.add_handlers(app)
    for router in (routes.scoring, routes.history_routes, routes.about):
        app.include_router(router)
    app.add_api_websocket_route("/v1/stream", stream.serve)
    app.add_api_route("/v1/docs", documentation, include_in_schema=False)
    if settings.browser:
        app.mount("/browser", StaticFiles(directory=BROWSER))
    app.router.default = Page()
    app.add_middleware(Guard, hosts=settings.hosts, max_body=settings.max_body)
    app.add_middleware(Measured)  # around the guard, as what it refuses counts too
    return app


def _close(service: Service) -> None:
    service.files.close(SHUTDOWN_S)
    service.threads.shutdown(cancel_futures=True)
    service.live.close(SHUTDOWN_S)
    if service.history is not None:
        service.history.close()


async def _prune(service: Service) -> None:
    """Delete old rows periodically."""
    days = service.settings.retention_days
    while service.history is not None and days:
        try:
            if gone := await run_in_threadpool(service.history.prune, days):
                log.info("%d rows of the history were older than %g days", gone, days)
        except SQLAlchemyError:
            log.exception("the history could not be pruned")
        await asyncio.sleep(PRUNE_EVERY_S)


async def documentation() -> FileResponse:
    """Return the page that shows the OpenAPI document."""
    return FileResponse(PAGE / "docs.html")


class Page(StaticFiles):
    """The files of the page, where no endpoint is meant: a mount would hide which methods endpoints have."""

    def __init__(self) -> None:
        super().__init__(directory=PAGE, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await super().__call__(scope, receive, send)


class Measured:
    """ASGI middleware that counts requests and their time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            metrics: Metrics = scope["app"].state.service.metrics
            route = getattr(scope.get("route"), "path", "page")
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.requests.labels(route, method, status).inc()
            metrics.latency.labels(route).observe(time.perf_counter() - started)
            if (refusal := scope.get("state", {}).get("refusal")) is not None:
                metrics.refusals.labels(refusal).inc()


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


class Server(uvicorn.Server):
    """Calls `tell` with its address after the start."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[str], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(LISTEN_QUEUE)  # asyncio shortened the queue to ACCEPT_AT_ONCE
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._tell(f"mtqnet listens at http://{f'[{host}]' if ':' in host else host}:{port}")


def run(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until stopped; `tell` gets the address and warnings. Raises MtqnetError if the service cannot start."""
    os.environ.update(ONE_MATH_THREAD)  # for the scoring processes: each has a core
    logging.getLogger("uvicorn.error").addFilter(_without_traceback)
    Connection.limit = max_connections()
    with _bound(settings) as listening:
        application = create(settings)
        if settings.keys is None and settings.host not in LOOPBACK:
            tell(
                f"warning: all clients that reach {settings.host} may use this service: set --keys or --host 127.0.0.1"
            )
        server = Server(
            uvicorn.Config(
                application,
                log_level="warning",
                ws="websockets-sansio",
                ws_max_size=WS_MESSAGE,
                ws_max_queue=WS_QUEUE,
                backlog=ACCEPT_AT_ONCE,
                http=Connection,
                timeout_graceful_shutdown=SHUTDOWN_S,
                server_header=False,
                lifespan="on",
            ),
            tell,
        )
        server.run(sockets=[listening])
    if not server.started:
        raise MtqnetError("the service did not start; the reason is shown above")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Shorten the entry of a text message that is not UTF-8: any client could fill the log with tracebacks."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = None
    return True


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
        of_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        remedy = "give the name or an address of this machine with --host" if of_host else "choose another --port"
        raise UsageError(
            f"cannot listen at {settings.host}:{settings.port} ({error.strerror}): {remedy}"
        ) from error
    return listening
