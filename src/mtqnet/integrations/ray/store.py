"""Files on a disk or in an object store, by address.

A path without a scheme is local. `s3://`, `gs://`, `hdfs://`, `abfs://` and `file://` are opened by pyarrow, with
its options behind a question mark (`s3://bucket/calls?region=eu-west-1`); every other scheme that is installed, by
fsspec.
"""

from __future__ import annotations

import importlib.util
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtqnet.errors import UsageError, missing_extra

OF_PYARROW = frozenset({"s3", "gs", "gcs", "hdfs", "abfs", "abfss", "file"})
OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
"""pyarrow's names of stores where an object appears whole when it is closed, and renaming is a copy"""
OPTIONS = re.compile(r"\?(\w+=[^/?]*)$")


@dataclass(frozen=True)
class Address:
    """An address, split into its parts."""

    scheme: str
    """Empty for a local path"""
    path: str
    """What follows the scheme, as the store names it"""
    options: str = ""

    @property
    def shown(self) -> str:
        """Without options: as tables name it."""
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    def at(self, path: str) -> Address:
        """Another place in the same store."""
        return Address(self.scheme, path, self.options)

    def __str__(self) -> str:
        return self.shown + (f"?{self.options}" if self.options else "")


def parse(text: str) -> Address:
    """An address of its text; `parse(str(address))` is the same again."""
    scheme, found, rest = text.partition("://")
    if not found or not re.fullmatch(r"[a-zA-Z][\w+.-]*", scheme):
        return Address("", text)
    options = OPTIONS.search(rest)
    if options is None:
        return Address(scheme, rest)
    return Address(scheme, rest[: options.start()], options.group(1))


def filesystem(address: Address) -> Any:
    """The pyarrow file system of an address. Raises UsageError for a scheme that nobody knows."""
    if importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("reading addresses", "ray")
    return _filesystem(address.scheme, address.path.split("/")[0], address.options)


def opened(address: Address) -> tuple[Any, str]:
    """The file system of an address, and what it calls the place."""
    found = filesystem(address)
    if not address.scheme or address.scheme in OF_PYARROW:
        return found, address.path.rstrip("/")
    path: str = found.handler.fs._strip_protocol(
        address.shown
    )  # http keeps the whole address, memory adds a slash
    return found, path.rstrip("/")


@lru_cache(maxsize=64)
def _filesystem(scheme: str, host: str, options: str) -> Any:
    from pyarrow import fs

    if not scheme:
        return fs.LocalFileSystem()
    try:
        if scheme in OF_PYARROW:
            where = "/" if scheme == "file" else host
            return fs.FileSystem.from_uri(f"{scheme}://{where}" + (f"?{options}" if options else ""))[0]
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"cannot open {scheme}:// addresses ({error}): is the package for them installed?"
        ) from error


@dataclass(frozen=True)
class Folder:
    """A folder that is written to, somewhere."""

    address: Address

    @classmethod
    def of(cls, text: str) -> Folder:
        address = parse(text)
        return cls(Address("", os.path.abspath(text)) if not address.scheme else address)  # noqa: PTH100

    def names(self, below: str = "") -> list[str]:
        """Files right in this folder or in one below it; an empty list if it does not exist."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(below), allow_not_found=True)
        infos = opened(self.address)[0].get_file_info(selector)
        return sorted(info.base_name for info in infos if info.type == fs.FileType.File)

    def contains(self, name: str) -> bool:
        """Whether a file is there."""
        found: bool = filesystem(self.address).get_file_info([self._path(name)])[0].type.name == "File"
        return found

    def read(self, name: str) -> bytes:
        with self.open(name) as stream:
            content: bytes = stream.read()
        return content

    def open(self, name: str) -> Any:
        """A pyarrow file to read any part of."""
        return filesystem(self.address).open_input_file(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        """A file, whole or not at all, in place of what was there."""
        store, path = filesystem(self.address), self._path(name)
        if store.type_name in OBJECT_STORES:  # appears when it is closed; folders are a part of names
            self._put(store, path, content)
            return
        store.create_dir(path.rpartition("/")[0], recursive=True)
        unfinished = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}.tmp"
        self._put(store, unfinished, content)
        store.move(unfinished, path)

    def remove(self, below: str) -> None:
        """A folder in this folder, with all that is in it."""
        store, path = filesystem(self.address), self._path(below)
        if store.get_file_info([path])[0].type.name == "Directory" or self.names(below):
            store.delete_dir(path)

    def _path(self, name: str) -> str:
        return "/".join(filter(None, [opened(self.address)[1], name]))

    @staticmethod
    def _put(store: Any, path: str, content: bytes) -> None:
        with store.open_output_stream(path) as stream:
            stream.write(content)


@dataclass(frozen=True)
class Found:
    """A file that a search came upon."""

    address: Address
    size: int
    """Bytes"""


def search(address: Address) -> Iterator[Found]:
    """All files in a folder and the folders in it, in the order of their names, hidden ones left out; or the file.

    Empty if the folder does not exist.
    """
    from pyarrow import fs

    store, root = opened(address)
    top = address.path.rstrip("/")
    info = store.get_file_info([root])[0]
    if info.type == fs.FileType.File:
        yield Found(address.at(top), info.size)
        return
    infos = store.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    files = [info for info in infos if info.type == fs.FileType.File and not _hidden(info.path[len(root) :])]
    for info in sorted(files, key=lambda info: Path(info.path).parts):
        yield Found(address.at(top + info.path[len(root) :]), info.size)


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))
