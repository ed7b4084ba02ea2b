"""The history of scores."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from mtqnet.serving import schemas
from mtqnet.serving.history.store import Filters
from mtqnet.serving.problems import BINARY, ProblemError, problems
from mtqnet.serving.state import ServiceOf, need_key
from mtqnet.targets import KEYS

router = APIRouter(prefix="/v1/history", tags=["history"], dependencies=[Depends(need_key)])
BYTES = "application/octet-stream"
RowId = Annotated[int, Path(ge=1, le=schemas.MAX_ID)]


@router.get("", response_model=schemas.HistoryAnswer, responses=problems(404, 422))
async def history(service: ServiceOf, query: Annotated[schemas.HistoryQuery, Query()]) -> dict[str, Any]:
    """List rows from the newest to the oldest; a row must match all filters."""
    filters, limit = _filters(query), query.limit
    rows = await service.ask_history(lambda kept: kept.page(filters, limit + 1))
    shown = [_row(row) for row in rows[:limit]]
    return {"rows": shown, "next": shown[-1]["id"] if len(rows) > limit else None}


@router.get(
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


@router.delete("/{row_id}", status_code=204, response_class=Response, responses=problems(404, 422))
async def remove(service: ServiceOf, row_id: RowId) -> None:
    """Delete a row and its recording."""
    if not await service.ask_history(lambda kept: kept.remove(row_id)):
        raise ProblemError(404, "not_found", f"there is no row {row_id}")


def _filters(query: BaseModel) -> Filters:
    given = query.model_dump(exclude_none=True)
    return Filters(
        since_ms=_ms(given.get("since")),
        until_ms=_ms(given.get("until")),
        least={key: given[f"min_{key}"] for key in KEYS if f"min_{key}" in given},
        most={key: given[f"max_{key}"] for key in KEYS if f"max_{key}" in given},
        **{name: given.get(name) for name in ("kind", "source", "model", "level", "flag", "file", "before")},
    )


def _ms(time: datetime | None) -> int | None:
    """Milliseconds since 1970"""
    if time is None:
        return None
    known = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return round((known - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    time = datetime.fromtimestamp(row["time_ms"] / 1000, UTC)
    return {name: value for name, value in row.items() if name != "time_ms"} | {"time": time}
