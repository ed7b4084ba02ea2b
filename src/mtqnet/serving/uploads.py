"""Bodies of requests become files with names of our own; what the client calls them is a label."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from mtqnet.serving.history.tables import NAME
from mtqnet.serving.problems import ProblemError
from mtqnet.serving.worker import Upload

FORM = "multipart/form-data"
COPY_BYTES = 1 << 20


class Desk:
    """A folder for the files of one request, gone at its end whatever happens."""

    def __init__(self, folder: Path) -> None:
        self._folder = TemporaryDirectory(dir=folder)
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def file(self, suffix: str = "") -> Path:
        """A path that is free."""
        self._files += 1
        return Path(self._folder.name) / f"{self._files}{suffix}"


def label(name: str | None) -> str:
    """What a client calls a file, as text for tables: its last part, without control characters."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(sign if sign.isprintable() else " " for sign in last).strip()
    return clean[:NAME] or "recording"


async def one(request: Request, desk: Desk, name: str) -> Upload:
    """The recording of a request: the part `file` of a form, or the whole body, called `name`.

    Raises ProblemError.
    """
    if _is_form(request):
        (upload,) = (await forms(request, desk, ["file"], 1))["file"]
        return upload
    path = desk.file()
    with path.open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return Upload(path, label(name))


async def forms(request: Request, desk: Desk, fields: Sequence[str], most: int) -> dict[str, list[Upload]]:
    """One to `most` files for each field of a form. Raises ProblemError."""
    if not _is_form(request):
        raise ProblemError(415, "no_form", f"send {FORM} with files as {' and '.join(fields)}")
    found: dict[str, list[Upload]] = {}
    async with request.form(max_files=most * len(fields), max_fields=len(fields)) as form:
        for field in fields:
            files = [part for part in form.getlist(field) if isinstance(part, UploadFile)]
            if not 1 <= len(files) <= most:
                count = "one file" if most == 1 else f"1 to {most} files"
                raise ProblemError(422, "no_file", f"the form has {len(files)} files as `{field}`: send {count}")
            found[field] = [await run_in_threadpool(_stored, file, desk.file()) for file in files]
    return found


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith(FORM)


def _stored(part: UploadFile, path: Path) -> Upload:
    with path.open("wb") as file:
        shutil.copyfileobj(part.file, file, COPY_BYTES)
    return Upload(path, label(part.filename))
