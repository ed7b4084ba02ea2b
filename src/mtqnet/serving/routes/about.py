"""Models, health, readiness and metrics."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from mtqnet import __version__
from mtqnet.audio.flags import FLAGS
from mtqnet.serving import schemas
from mtqnet.serving.problems import BINARY, ProblemError, problems
from mtqnet.serving.state import ServiceOf, need_key
from mtqnet.targets import TARGETS

router = APIRouter(tags=["about"])


@router.get(
    "/v1/models", response_model=schemas.ModelsAnswer, responses=problems(), dependencies=[Depends(need_key)]
)
async def models(service: ServiceOf) -> dict[str, Any]:
    """List models, scores, flags and limits."""
    settings = service.settings
    return {
        "models": [
            {
                "name": name, "sha256": record.sha256, "licence": record.licence, "targets": list(record.targets),
                "track": record.track, "coverage": record.intervals.coverage if record.intervals else None,
            }
            for name, record in service.models.items()
        ],
        "targets": [
            {name: getattr(target, name) for name in schemas.TargetAnswer.model_fields} for target in TARGETS
        ],
        "flags": [{name: getattr(flag, name) for name in schemas.FlagAnswer.model_fields} for flag in FLAGS],
        "limits": {
            "max_body_mb": settings.max_body_mb, "max_duration_s": settings.max_duration_s,
            "max_files": settings.max_files,
            "keep_audio": settings.keep_audio and service.history is not None, "history": service.history is not None,
            "browser": settings.browser_folder is not None,
        },
    }  # fmt: skip


@router.get("/v1/models/{name}/record", responses=problems(422), dependencies=[Depends(need_key)])
async def record(service: ServiceOf, name: str) -> dict[str, Any]:
    """Return the record of a model, for scoring in the browser."""
    path = service.model(name).path.with_suffix(".json")
    stored: dict[str, Any] = json.loads(await run_in_threadpool(path.read_text, "utf-8"))
    return stored


@router.get(
    "/v1/models/{name}/graph",
    response_class=Response,
    responses=problems(422) | {200: {"content": {"application/octet-stream": BINARY}}},
    dependencies=[Depends(need_key)],
)
async def graph(service: ServiceOf, name: str) -> Response:
    """Return the ONNX file of a model, for scoring in the browser."""
    content = await run_in_threadpool(service.model(name).weights)
    return Response(content, media_type="application/octet-stream")


@router.get("/healthz", response_model=schemas.Health, responses=problems())
async def healthz() -> dict[str, str]:
    """Report that the process answers."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz", response_model=schemas.Ready, responses=problems(503))
async def readyz(service: ServiceOf) -> dict[str, Any]:
    """Report whether scoring processes and history are available."""
    if not service.files.healthy:
        raise ProblemError(503, "not_ready", "no scoring process is running; they are being replaced")
    if service.files.full:
        raise ProblemError(503, "not_ready", f"{service.files.pending} jobs are under way")
    if service.history is not None:
        try:
            await service.ask_history(lambda kept: kept.check())
        except SQLAlchemyError as error:
            raise ProblemError(503, "not_ready", "the history does not answer") from error
    return {"status": "ready", "jobs": service.files.pending, "streams": service.live.pending}


@router.get(
    "/metrics",
    response_class=Response,
    responses=problems() | {200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    dependencies=[Depends(need_key)],
)
async def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus."""
    service.metrics.jobs.set(service.files.pending)
    service.metrics.restarts.set(service.files.restarts + service.live.restarts)
    service.metrics.streams.set(service.live.pending)
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
