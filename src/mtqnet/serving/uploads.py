"""Bodies of requests are stored in temporary files; the file name of the client is only a label."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from mtqnet.serving.history import NAME
from mtqnet.serving.problems import ProblemError
from mtqnet.serving.worker import Upload

FORM = "multipart/form-data"
COPY_BYTES = 1 << 20
PREFIX = "mtqnet-serve-"
"""Name of the folder of a service, in the system's folder for temporary files"""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder for uploads and remove it at the end.

    Folders of services that were killed are removed first. A folder in use is recognised by a lock on the folder,
    which the system releases when the process ends, however it ends.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_unused(folder)
    with TemporaryDirectory(prefix=PREFIX) as name, Path(name, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        uploads = Path(name, "uploads")
        uploads.mkdir()
        yield uploads


def _remove_unused(folder: Path) -> None:
    try:
        with (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use, of another user, or being created
        return


def label(name: str | None) -> str:
    """Return a client's file name as text for tables: the last part, without control characters."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(sign if sign.isprintable() else " " for sign in last).strip()
    return clean[:NAME] or "recording"


async def one(request: Request, folder: str, name: str) -> Upload:
    """Store the recording of a request: the part `file` of a form, or the whole body, called `name`.

    Raises ProblemError.
    """
    if _is_form(request):
        (upload,) = (await forms(request, folder, ["file"], 1))["file"]
        return upload
    path = Path(folder, "body")
    with path.open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return Upload(path, label(name))


async def forms(request: Request, folder: str, fields: Sequence[str], most: int) -> dict[str, list[Upload]]:
    """Store one to `most` files for each field of a form. Raises ProblemError."""
    if not _is_form(request):
        raise ProblemError(415, "no_form", f"send {FORM} with files as {' and '.join(fields)}")
    uploads: dict[str, list[Upload]] = {}
    async with _form(request, most * len(fields), len(fields)) as form:
        for field in fields:
            files = [part for part in form.getlist(field) if isinstance(part, UploadFile)]
            if not 1 <= len(files) <= most:
                count = "one file" if most == 1 else f"1 to {most} files"
                raise ProblemError(422, "no_file", f"the form has {len(files)} files as `{field}`: send {count}")
            uploads[field] = [
                await run_in_threadpool(_stored, file, Path(folder, f"{field}-{number}"))
                for number, file in enumerate(files)
            ]
    return uploads


@asynccontextmanager
async def _form(request: Request, max_files: int, max_fields: int) -> AsyncIterator[FormData]:
    """Parse a form. Raises ProblemError where its charset is unknown or does not fit its content."""
    try:
        form = await request.form(max_files=max_files, max_fields=max_fields)
    except (LookupError, UnicodeError, ValueError) as error:
        raise ProblemError(400, "bad_request", f"The form cannot be decoded: {error}. Use UTF-8.") from error
    try:
        yield form
    finally:
        await form.close()


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith(FORM)


def _stored(part: UploadFile, path: Path) -> Upload:
    with path.open("wb") as file:
        shutil.copyfileobj(part.file, file, COPY_BYTES)
    return Upload(path, label(part.filename))
