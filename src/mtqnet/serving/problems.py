"""Errors as RFC 9457 problem details: the format of all error answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mtqnet.scoring.scores import Scores
from mtqnet.serving.schemas import ProblemAnswer

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:mtqnet:problem:"
"""Before the kind of a problem. A URN, as there is no page at a fixed host that it could point to."""
log = logging.getLogger("mtqnet.serving")
DATABASE_RETRY_S = 5
"""Seconds, value of Retry-After when the database does not answer"""


class ProblemError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """`kind` is for programs, `detail` explains to users what to do; further members are added to the answer."""
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def as_json(self) -> dict[str, Any]:
        title = HTTPStatus(self.status).phrase
        return {
            "type": TYPE + self.kind, "title": title, "status": self.status, "detail": self.detail, **self.members,
        }  # fmt: skip


def not_scored(scores: Scores, row_id: int | None) -> ProblemError:
    """The problem of a recording that got a reason instead of scores."""
    kind = scores.flags[0] if scores.flags else "not_scored"
    return ProblemError(
        422, kind, scores.error or "", flags=list(scores.flags), file=scores.file, duration_s=scores.duration_s,
        id=row_id,
    )  # fmt: skip


def busy(what: str, retry_s: int) -> ProblemError:
    return ProblemError(429, "busy", f"{what}: try again in {retry_s} s", {"Retry-After": str(retry_s)})


def response(problem: ProblemError) -> JSONResponse:
    return JSONResponse(problem.as_json(), problem.status, problem.headers, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Answer every exception of the application with a problem document, unexpected ones too."""
    for kind in (
        ProblemError, RequestValidationError, HTTPException, ClientDisconnect, SQLAlchemyError, Exception
    ):  # fmt: skip
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    problem = as_problem(error, request.url.path)
    request.state.refusal = problem.kind
    return response(problem)


def as_problem(error: Exception, path: str) -> ProblemError:
    """Return the problem of an exception that was raised at this path; unexpected ones are written to the log."""
    match error:
        case ProblemError():
            return error
        case RequestValidationError():
            wrong = [{"where": ".".join(map(str, one["loc"])), "what": str(one["msg"])} for one in error.errors()]
            detail = "; ".join(f"{one['where']}: {one['what']}" for one in wrong)
            return ProblemError(422, "invalid", detail, errors=wrong)
        case HTTPException():
            kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
            return ProblemError(error.status_code, kind, str(error.detail), error.headers)
        case ClientDisconnect():  # only counted
            return ProblemError(400, "gone", "the client disconnected before the body was complete")
        case SQLAlchemyError():
            log.error("the history does not answer at %s: %s", path, error)
            detail = f"The database of the history is locked or unreachable. Try again in {DATABASE_RETRY_S} s."
            return ProblemError(503, "history_unavailable", detail, {"Retry-After": str(DATABASE_RETRY_S)})
    log.error("unforeseen error at %s", path, exc_info=error)
    return ProblemError(500, "unforeseen", "internal error; see the log of the server")


WHY = {
    400: ("bad_request", "The body cannot be read."),
    401: ("no_key", "A key is required."),
    403: ("other_origin", "The request comes from a page of another site."),
    404: ("not_found", "Not found."),
    408: ("too_slow", "The body was not complete in time."),
    413: ("too_large", "The recording is too large or too long."),
    415: ("no_form", "The body has another content type than required."),
    421: ("wrong_host", "The request names another host."),
    422: ("silent", "The recording cannot be scored, or a parameter is invalid."),
    429: ("busy", "Too many jobs are waiting; see the header Retry-After."),
    503: (
        "not_ready",
        "The service is not ready, or the process of the request was killed; see the header Retry-After.",
    ),
}
ALWAYS = (401, 403, 421)
BODY = (400, 408, 413, 422, 429, 503)
"""Where a recording is sent"""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an endpoint may answer with, besides those of every endpoint."""
    return {status: _documented(status) for status in sorted({*ALWAYS, *statuses})}


def _documented(status: int) -> dict[str, Any]:
    kind, why = WHY[status]
    example = {"type": TYPE + kind, "title": why, "status": status, "detail": "What happened and what to do."}
    answer: dict[str, Any] = {
        "model": ProblemAnswer,
        "description": why,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}, "example": example}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return answer


BINARY = {"schema": {"type": "string", "format": "binary"}}
"""A body of bytes"""


def upload(fields: tuple[str, ...], *, raw: bool, many: bool = False) -> dict[str, Any]:
    """The request body of an endpoint: a form with these files, and, where `raw`, a recording alone."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    parts = {field: {"type": "array", "items": file, "minItems": 1} if many else file for field in fields}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": {"type": "object", "required": list(fields), "properties": parts}}
    }
    if raw:
        content |= dict.fromkeys(("application/octet-stream", "audio/*"), BINARY)
    return {"requestBody": {"required": True, "content": content}}
