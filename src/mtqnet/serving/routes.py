"""The endpoints: scoring of recordings, history, and what describes the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from mtqnet import __version__
from mtqnet.audio.flags import FLAGS
from mtqnet.scoring.batch import parse_channels
from mtqnet.scoring.scores import Scores, Track
from mtqnet.serving import schemas, uploads, worker
from mtqnet.serving.problems import BINARY, BODY, ProblemError, as_problem, not_scored, problems, upload
from mtqnet.serving.schemas import Label
from mtqnet.serving.state import NeedKey, Service, ServiceOf
from mtqnet.serving.worker import Upload
from mtqnet.targets import TARGETS

scoring = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[NeedKey])
TRACK_DECIMALS = 5
LINE_S = 0.3
"""Seconds between two lines of progress"""
MAX_FILES = 50
"""Files on each side of a comparison"""
LINES = "application/x-ndjson"
FLAC = "audio/flac"
PICTURES = {"png": "image/png", "svg": "image/svg+xml"}


class RecordingQuery(schemas.Model):
    """Query parameters of a recording."""

    model: Label | None = Field(None, description="One of /v1/models; default: its first.")
    name: Annotated[str, Field(max_length=255)] = Field("", description="File name of a raw body.")


class ScoreQuery(RecordingQuery):
    windows: bool = Field(False, description="Also return the scores of each window of up to 10 s.")
    track: bool = Field(False, description="Also return scores over time and the worst segment.")
    channels: str = Field(
        "mix",
        pattern=r"^(mix|each|[1-9][0-9]{0,2})$",
        description="mix: score the mean of the channels. each: score every channel; the answer has one row per "
        "channel. N: score channel N, counted from 1.",
    )
    progress: bool = Field(
        False,
        description="Answer with lines of JSON (application/x-ndjson): progress while the recording is scored, then "
        "`result` with the answer or `problem`. The job ends if the client disconnects.",
    )
    source: Label = Field("", description="Label for the history, for example the device.")
    keep_audio: bool = Field(False, description="Store the recording in the history, if the server allows it.")


class PictureQuery(RecordingQuery):
    format: Literal["png", "svg"] = "png"


@scoring.post(
    "/score",
    response_model=schemas.ScoreAnswer | schemas.ChannelsAnswer,
    responses=problems(*BODY) | {200: {"content": {LINES: {"schema": {"type": "string"}}}}},
    openapi_extra=upload(("file",), raw=True),
)
async def score(request: Request, service: ServiceOf, query: Annotated[ScoreQuery, Query()]) -> Any:
    """Score a recording: the part `file` of a form, or the body itself.

    With `channels=each` the answer is a ChannelsAnswer with a row per channel. Its status is 422 if no channel can be
    scored. `keep_audio` stores the recording with the row of the first channel.
    """
    record = service.model(query.model)
    if query.keep_audio and not (service.settings.keep_audio and service.history):
        raise ProblemError(422, "keeps_no_audio", "this server does not store recordings: omit keep_audio")
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir=service.folder))
        sent = await uploads.one(request, folder, query.name)
        part = Path(folder, "progress")
        answer = _scored(service, query, sent, str(record.path), part)
        if not query.progress:
            return await answer
        task = asyncio.ensure_future(answer)
        try:
            await asyncio.wait([task], timeout=LINE_S)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            task.result()  # a problem so early is answered with its status
        return ProgressLines(task, part, stack.pop_all())


class ProgressLines(StreamingResponse):
    """Lines of progress until a task ends, then its result. The task ends with the connection.

    Args:
        task: What is waited for.
        part: File with the fraction that is done, for worker.read_progress.
        stack: Closed at the end.
    """

    def __init__(self, task: asyncio.Future[dict[str, Any]], part: Path, stack: ExitStack) -> None:
        super().__init__(self._lines(), media_type=LINES)
        self._task, self._part, self._stack = task, part, stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        with self._stack:
            try:
                await super().__call__(scope, receive, send)
            finally:
                self._task.cancel()
                await asyncio.wait([self._task])

    async def _lines(self) -> AsyncIterator[str]:
        while not self._task.done():
            yield _line("progress", done=await run_in_threadpool(worker.read_progress, self._part))
            await asyncio.wait([self._task], timeout=LINE_S)
        try:
            yield _line("result", result=self._task.result())
        except Exception as error:
            yield _line("problem", problem=as_problem(error, "/v1/score").as_json())


def _line(kind: str, **members: Any) -> str:
    return json.dumps({"kind": kind} | members, allow_nan=False) + "\n"


async def _scored(service: Service, query: ScoreQuery, sent: Upload, model: str, part: Path) -> dict[str, Any]:
    """Score an upload and write it to the history. Raises ProblemError."""
    channels = parse_channels(query.channels)
    try:
        rows = await service.files.run(
            worker.score, sent, model, service.settings.max_duration_s, query.track, channels,
            part if query.progress else None,
        )  # fmt: skip
    except worker.NoChannelError as error:
        raise ProblemError(422, "no_channel", str(error)) from error
    audio = await run_in_threadpool(sent.path.read_bytes) if query.keep_audio else None
    ids = []
    for number, one in enumerate(rows):
        service.metrics.scored(one.scores, "file")
        kept = None if number else audio
        ids.append(await service.remember(_named(one.scores), "file", query.source, kept))
    if all(one.scores.error is not None for one in rows):
        raise not_scored(rows[0].scores, ids[0])
    answers = [_answer(one, row_id, query) for one, row_id in zip(rows, ids, strict=True)]
    if channels == "each":
        return {"file": rows[0].scores.file, "rows": answers}
    return answers[0]


@scoring.post(
    "/compare",
    response_model=schemas.CompareAnswer,
    responses=problems(*BODY, 415),
    openapi_extra=upload(("a", "b"), raw=False, many=True),
)
async def compare(
    request: Request,
    service: ServiceOf,
    model: Annotated[Label | None, Query(description="One of /v1/models.")] = None,
    paired: Annotated[bool, Query(description="Whether files of the same name belong together.")] = True,
) -> dict[str, Any]:
    """Compare two recordings or two sets of recordings: a form with files as `a` and `b`."""
    record = service.model(model)
    with TemporaryDirectory(dir=service.folder) as folder:
        sent = await uploads.forms(request, folder, ["a", "b"], MAX_FILES)
        first, second, result = await service.files.run(
            worker.compare, sent["a"], sent["b"], str(record.path), service.settings.max_duration_s, paired
        )
    for scores in (*first, *second):
        service.metrics.scored(scores, "file")
    return {
        "model": record.name, "model_sha256": record.sha256, "paired": paired,
        "a": [_compared(scores) for scores in first],
        "b": [_compared(scores) for scores in second],
        "comparisons": [_comparison(one) for one in result["comparisons"]],
        "verdict": result["verdict"],
    }  # fmt: skip


@scoring.post(
    "/picture",
    response_class=Response,
    responses=problems(*BODY) | {200: {"content": dict.fromkeys(PICTURES.values(), BINARY)}},
    openapi_extra=upload(("file",), raw=True),
)
async def picture(request: Request, service: ServiceOf, query: Annotated[PictureQuery, Query()]) -> Response:
    """Plot a recording: waveform, spectrogram, scores over time, worst segment."""
    record = service.model(query.model)
    with TemporaryDirectory(dir=service.folder) as folder:
        sent = await uploads.one(request, folder, query.name)
        drawn = Path(folder, f"picture.{query.format}")
        max_duration_s = service.settings.max_duration_s
        scores = await service.files.run(worker.draw, sent, drawn, str(record.path), max_duration_s)
        if scores.error is not None:
            raise not_scored(scores, None)
        return Response(await run_in_threadpool(drawn.read_bytes), media_type=PICTURES[query.format])


@scoring.post(
    "/playable",
    response_class=Response,
    responses=problems(*BODY) | {200: {"content": {FLAC: BINARY}}},
    openapi_extra=upload(("file",), raw=True),
)
async def playable(request: Request, service: ServiceOf, query: Annotated[RecordingQuery, Query()]) -> Response:
    """Convert a recording to mono FLAC at 16 kHz, which every browser plays."""
    with TemporaryDirectory(dir=service.folder) as folder:
        sent = await uploads.one(request, folder, query.name)
        flac = Path(folder, "playable.flac")
        reason = await service.files.run(worker.make_playable, sent, flac, service.settings.max_duration_s)
        if reason is not None:
            raise ProblemError(422, "unreadable", reason)
        return Response(await run_in_threadpool(flac.read_bytes), media_type=FLAC)


def _named(scores: Scores) -> Scores:
    """Add the channel to the name: the history has no column for it."""
    return replace(scores, file=f"{scores.file} (channel {scores.channel})") if scores.channel else scores


def _answer(scored: worker.Scored, row_id: int | None, query: ScoreQuery) -> dict[str, Any]:
    scores, worst = scored.scores, scored.worst
    windows = [
        schemas.scored_fields(one)
        | {"start_s": round(one.start_s, 3), "end_s": round(one.end_s, 3), "weight": round(one.weight, 6)}
        for one in scores.windows
        if query.windows
    ]
    return schemas.scored_fields(scores) | {
        "id": row_id, "file": scores.file, "channel": scores.channel,
        "duration_s": scores.duration_s and round(scores.duration_s, 3), "model": scores.model,
        "model_sha256": scores.model_sha256, "version": scores.version, "flags": list(scores.flags),
        "level": scores.level, "cause": scores.cause, "windows": windows,
        "causes": {key: round(part, 4) for key, part in scores.causes.items()},
        "track": scores.track and _track(scores.track), "error": scores.error,
        "worst": worst and {
            "start_s": round(worst.start_s, 3), "end_s": round(worst.stop_s, 3), "g_mos": round(worst.value, 4),
        },
    }  # fmt: skip


def _track(track: Track) -> dict[str, Any]:
    columns = track.values.round(TRACK_DECIMALS).T.tolist()
    return {"times_s": track.times_s.round(3).tolist(), "values": dict(zip(track.targets, columns, strict=True))}


def _compared(scores: Scores) -> dict[str, Any]:
    return schemas.scored_fields(scores) | {
        "file": scores.file, "duration_s": scores.duration_s and round(scores.duration_s, 3),
        "flags": list(scores.flags), "error": scores.error,
    }  # fmt: skip


def _comparison(result: dict[str, Any]) -> dict[str, Any]:
    names = {"first_mean": "a_mean", "second_mean": "b_mean"}
    left_out = ("group", "first", "second", "found")
    return {names.get(key, key): value for key, value in result.items() if key not in left_out}


history_routes = APIRouter(prefix="/v1/history", tags=["history"], dependencies=[NeedKey])
BYTES = "application/octet-stream"
RowId = Annotated[int, InPath(ge=1, le=schemas.MAX_ID)]


@history_routes.get("", response_model=schemas.HistoryAnswer, responses=problems(404, 422))
async def history(service: ServiceOf, query: Annotated[schemas.HistoryQuery, Query()]) -> dict[str, Any]:
    """List rows from the newest to the oldest; a row must match all filters."""
    filters = query.model_dump(exclude_none=True)
    limit = filters.pop("limit")
    rows = await service.ask_history(lambda kept: kept.page(limit + 1, **filters))
    return {"rows": rows[:limit], "next": rows[limit - 1]["id"] if len(rows) > limit else None}


@history_routes.get(
    "/{row_id}/audio",
    response_class=Response,
    responses=problems(404, 422) | {200: {"content": {BYTES: BINARY}}},
)
async def audio(service: ServiceOf, row_id: RowId) -> Response:
    """Return the stored recording of a row, unchanged."""
    content = await service.ask_history(lambda kept: kept.audio(row_id))
    if content is None:
        raise ProblemError(404, "not_found", f"no recording was kept for row {row_id}")
    # Never with the client's media type: uploaded content must not become a page of this server.
    return Response(content, media_type=BYTES, headers={"Content-Disposition": "attachment"})


@history_routes.delete("/{row_id}", status_code=204, response_class=Response, responses=problems(404, 422))
async def remove(service: ServiceOf, row_id: RowId) -> None:
    """Delete a row and its recording."""
    if not await service.ask_history(lambda kept: kept.remove(row_id)):
        raise ProblemError(404, "not_found", f"there is no row {row_id}")


about = APIRouter(tags=["about"])


@about.get("/v1/models", response_model=schemas.ModelsAnswer, responses=problems(), dependencies=[NeedKey])
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
            "max_files": MAX_FILES, "keep_audio": settings.keep_audio and service.history is not None,
            "history": service.history is not None, "browser": settings.browser,
        },
    }  # fmt: skip


@about.get("/v1/models/{name}/record", responses=problems(422), dependencies=[NeedKey])
async def record(service: ServiceOf, name: str) -> dict[str, Any]:
    """Return the record of a model, for scoring in the browser."""
    path = service.model(name).path.with_suffix(".json")
    stored: dict[str, Any] = json.loads(await run_in_threadpool(path.read_text, "utf-8"))
    return stored


@about.get(
    "/v1/models/{name}/graph",
    response_class=Response,
    responses=problems(422) | {200: {"content": {"application/octet-stream": BINARY}}},
    dependencies=[NeedKey],
)
async def graph(service: ServiceOf, name: str) -> Response:
    """Return the ONNX file of a model, for scoring in the browser."""
    content = await run_in_threadpool(service.model(name).weights)
    return Response(content, media_type="application/octet-stream")


@about.get("/healthz", response_model=schemas.Health, responses=problems())
async def healthz() -> dict[str, str]:
    """Report that the process answers."""
    return {"status": "ok", "version": __version__}


@about.get("/readyz", response_model=schemas.Ready, responses=problems(503))
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


@about.get(
    "/metrics",
    response_class=Response,
    responses=problems() | {200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    dependencies=[NeedKey],
)
async def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus."""
    service.metrics.jobs.set(service.files.pending)
    service.metrics.restarts.set(service.files.restarts + service.live.restarts)
    service.metrics.streams.set(service.live.pending)
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
