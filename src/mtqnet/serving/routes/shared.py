"""Documentation that the endpoints share."""

from __future__ import annotations

from typing import Any

from mtqnet.serving.problems import MEDIA_TYPE, TYPE
from mtqnet.serving.schemas import ProblemAnswer

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
    503: ("not_ready", "Not ready."),
}
ALWAYS = (401, 403, 421)
BODY = (400, 408, 413, 422, 429)
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
    if status == 429:
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
