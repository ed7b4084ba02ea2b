"""Joins the parts into the application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtqnet import __version__
from mtqnet.errors import UsageError
from mtqnet.scoring.models import ModelRecord
from mtqnet.serving import keys, problems, routes, stream, uploads
from mtqnet.serving.guard import Guard, GuardOptions
from mtqnet.serving.history import store
from mtqnet.serving.history.store import History
from mtqnet.serving.keys import Keys
from mtqnet.serving.pool import Pool, PoolOptions
from mtqnet.serving.settings import BROWSER_ENTRY, Settings
from mtqnet.serving.state import Metrics, Service, log

PAGE = Path(__file__).with_name("page")
PRUNE_EVERY_S = 3600.0
"""Seconds from one look for rows that are too old to the next"""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""Methods that are counted by name; clients may send arbitrary other names"""
ABOUT = (
    "Non-intrusive speech quality assessment. S-, N- and G-MOS are 3QUEST-style, "
    "anchored on public P.835 ratings; PESQ, STOI and SDI are estimates. The WebSocket `/v1/stream` takes PCM and "
    "returns rolling scores; its messages are described in the documentation."
)


@dataclass(frozen=True)
class Parts:
    """Parts that may prevent the start of the service."""

    models: dict[str, ModelRecord]
    keys: Keys
    history: History | None


def prepared(settings: Settings) -> Parts:
    """Look for the models and the keys, and open the history. Raises MtqnetError."""
    models = settings.records()
    for record in models.values():
        record.weights()  # raises here what would end every scoring process at its start
    folder = settings.browser_folder
    if folder is not None and not (folder / BROWSER_ENTRY).is_file():
        raise UsageError(f"{folder} has no {BROWSER_ENTRY}: give the folder `dist` of the npm package mtqnet")
    held = keys.read(settings.keys) if settings.keys is not None else Keys()
    url = settings.database_url
    return Parts(models, held, History(store.opened(url)) if url is not None else None)


def create(settings: Settings, parts: Parts) -> FastAPI:
    """The application; it closes its parts when it ends."""
    app = FastAPI(
        title="mtqnet",
        description=ABOUT,
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load from another host
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.settings, app.state.parts = settings, parts
    problems.add_handlers(app)
    for router in (routes.scoring, routes.history_routes, routes.about):
        app.include_router(router)
    app.add_api_websocket_route("/v1/stream", stream.serve)
    app.add_api_route("/v1/docs", documentation, include_in_schema=False)
    if settings.browser_folder is not None:
        app.mount("/browser", StaticFiles(directory=settings.browser_folder))
    app.router.default = Page()
    limits = GuardOptions(
        settings.hosts, settings.max_body, settings.upload_s, settings.uploads, settings.client_uploads
    )
    app.add_middleware(Guard, options=limits)
    app.add_middleware(Measured)  # around the guard, as what it refuses counts too
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    with uploads.temporary_folder() as folder:
        service = _service(settings, app.state.parts, folder)
        app.state.service = service
        await service.files.start()  # models are loaded before the first request
        background = [
            asyncio.create_task(job) for job in (_prune(service), service.files.repair(), service.live.repair())
        ]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await run_in_threadpool(_close, service)


def _service(settings: Settings, parts: Parts, folder: Path) -> Service:
    default = str(next(iter(parts.models.values())).path)
    return Service(
        settings=settings,
        models=parts.models,
        keys=parts.keys,
        metrics=Metrics(),
        files=Pool(PoolOptions(settings.processes, settings.queue, settings.job_s, (default,))),
        live=Pool(PoolOptions(settings.processes, settings.most_streams, settings.job_s, (default,))),
        threads=ThreadPoolExecutor(settings.most_streams, thread_name_prefix="stream"),
        history=parts.history,
        folder=folder,
    )


def _close(service: Service) -> None:
    service.files.close(service.settings.shutdown_s)
    service.threads.shutdown(cancel_futures=True)
    service.live.close(service.settings.shutdown_s)
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
