"""Find the recordings of sources, and bring them to this machine.

A source is a folder, a file, a list (.csv or .parquet with a column of files) or a WebDataset archive (.tar). Folders
contain recordings, recognised by their suffix, and .tar archives.

A source without a scheme is a path on this machine. `s3://`, `gs://`, `hdfs://`, `abfs://` and `file://` are opened by
pyarrow, with its options behind a question mark (`s3://bucket/calls?region=eu-west-1`); other schemes by fsspec.

Local files are read where they are. Others are copied to this machine first, a few ahead of the one that is scored.
Members of an archive are copied while the archive is read.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import re
import tarfile
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import (
    AudioError,
    MissingFileError,
    NoAudioFoundError,
    UnreadableError,
    UsageError,
    first_line,
    missing_extra,
)
from mtqnet.scoring import batch
from mtqnet.scoring.batch import path_to_text

OF_PYARROW = frozenset({"s3", "gs", "gcs", "hdfs", "abfs", "abfss", "file"})
OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
"""pyarrow's names of stores where an object appears when it is complete, and renaming is a copy"""
OPTIONS = re.compile(r"\?(\w+=[^/?]*)$")
LISTS = (".csv", ".parquet")
ARCHIVE = ".tar"
FILE_COLUMNS = ("file", "path", "filename", "filepath", "audio_filepath", "audio", "uri", "url")
"""Columns of a list that may contain the files; the first that exists is used"""
AHEAD = 4
"""Files that are fetched concurrently: an object store takes 20 to 100 ms to answer, a file 100 ms to score"""
BLOCK = 1 << 20
"""Bytes that are copied at a time"""
TRIES = 3
PAUSE_S = 1.0
"""Seconds before the second try, twice as many before the third"""
INSIDE = "!/"
"""Between an archive and its member in the name of a recording"""


@dataclass(frozen=True)
class Address:
    """A path or URL, split into its parts."""

    scheme: str
    """Empty for a local path"""
    path: str
    """What follows the scheme"""
    options: str = ""

    @property
    def shown(self) -> str:
        """The address without its options, as in tables."""
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix.lower()

    def at(self, path: str) -> Address:
        """Another path in the same store."""
        return Address(self.scheme, path, self.options)

    def __str__(self) -> str:
        return self.shown + (f"?{self.options}" if self.options else "")


def parse(text: str) -> Address:
    """Split an address; `parse(str(address))` returns the same address."""
    scheme, found, rest = text.partition("://")
    if not found or not re.fullmatch(r"[a-zA-Z][\w+.-]*", scheme):
        return Address("", text)
    options = OPTIONS.search(rest)
    return Address(scheme, rest[: options.start()], options[1]) if options else Address(scheme, rest)


def opened(address: Address) -> tuple[Any, str]:
    """Return the pyarrow file system of an address, and the path in it. Raises UsageError for an unknown scheme."""
    if importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("reading addresses", "ray")
    system = _file_system(address.scheme, address.path.split("/")[0], address.options)
    if not address.scheme or address.scheme in OF_PYARROW:
        return system, address.path.rstrip("/")
    path: str = system.handler.fs._strip_protocol(address.shown)  # with the URL for http, with a slash for memory
    return system, path.rstrip("/")


@lru_cache(maxsize=64)
def _file_system(scheme: str, host: str, options: str) -> Any:
    from pyarrow import fs

    if not scheme:
        return fs.LocalFileSystem()
    try:
        if scheme in OF_PYARROW:
            root = "/" if scheme == "file" else host
            return fs.FileSystem.from_uri(f"{scheme}://{root}" + (f"?{options}" if options else ""))[0]
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"cannot open {scheme}:// addresses ({error}): is the package for them installed?"
        ) from error


@dataclass(frozen=True)
class Folder:
    """A local or remote folder for results."""

    address: Address

    @classmethod
    def of(cls, text: str) -> Folder:
        address = parse(text)
        return cls(address if address.scheme else Address("", os.path.abspath(text)))  # noqa: PTH100

    def names(self) -> list[str]:
        """The files in this folder; an empty list if it does not exist."""
        from pyarrow import fs

        system, path = opened(self.address)
        infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == fs.FileType.File)

    def contains(self, name: str) -> bool:
        """Whether a file exists."""
        system, path = opened(self.address)
        found: bool = system.get_file_info([f"{path}/{name}"])[0].type.name == "File"
        return found

    def open(self, name: str) -> Any:
        """A pyarrow file for reading."""
        system, path = opened(self.address)
        return system.open_input_file(f"{path}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file atomically."""
        system, path = opened(self.address)
        if system.type_name in OBJECT_STORES:
            written = f"{path}/{name}"
        else:
            system.create_dir(path, recursive=True)
            written = f"{path}/.{uuid.uuid4().hex}.tmp"
        with system.open_output_stream(written) as stream:
            stream.write(content)
        if written != f"{path}/{name}":
            system.move(written, f"{path}/{name}")


@dataclass(frozen=True)
class Entry:
    """A recording, or an archive of recordings."""

    file: str
    """The name in tables"""
    address: str
    """The name with the options that are needed to open it"""

    @property
    def is_archive(self) -> bool:
        return parse(self.address).suffix == ARCHIVE


def entries(sources: Sequence[str]) -> Iterator[Entry]:
    """All entries, in the order of the sources. What two sources have in common comes once.

    Raises:
        NoAudioFoundError: A folder contains no recording.
        UsageError: A list has no column of files.
    """
    if len(sources) == 1:  # no entry needs to be remembered
        yield from _of(sources[0])
        return
    first_in: dict[str, int] = {}
    for number, text in enumerate(sources):
        for entry in _of(text):
            if first_in.setdefault(entry.address, number) == number:
                yield entry


def _of(text: str) -> Iterator[Entry]:
    address = parse(text)
    if address.suffix in LISTS:
        return _of_list(address)
    return _of_store(address) if address.scheme else _of_disk(Path(text))


def _of_disk(path: Path) -> Iterator[Entry]:
    """The same files under the same names as the local command, and archives."""
    files = [path]
    if path.is_dir():
        archives = sorted(path.rglob(f"*{ARCHIVE}"))
        try:
            files = [*batch.find(path), *archives]
        except NoAudioFoundError:
            if not archives:
                raise
            files = archives
    for file in files:
        yield Entry(path_to_text(file), str(file.absolute()))


def _of_store(address: Address) -> Iterator[Entry]:
    found = [
        one for one in search(address) if one.path == address.path or one.suffix in (*AUDIO_SUFFIXES, ARCHIVE)
    ]
    if not found:
        raise NoAudioFoundError(
            f"no audio in {address.shown}: files are recognised by their suffix, such as .wav or .tar"
        )
    for one in found:
        yield Entry(one.shown, str(one))


def search(address: Address) -> list[Address]:
    """All files in a folder and the folders below, sorted by name, without hidden ones; or the file itself."""
    from pyarrow import fs

    system, root = opened(address)
    top = address.path.rstrip("/")
    if system.get_file_info([root])[0].type == fs.FileType.File:
        return [address.at(top)]
    infos = system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    below = [info.path[len(root) :] for info in infos if info.type == fs.FileType.File]
    return [
        address.at(top + path)
        for path in sorted(below, key=lambda path: Path(path).parts)
        if "/." not in f"/{path}"
    ]


def _of_list(address: Address) -> Iterator[Entry]:
    rows = _csv_names(address) if address.suffix == ".csv" else _parquet_names(address)
    folder = address.path.rpartition("/")[0]
    for number, name in enumerate(rows, start=1):
        if not name:
            raise UsageError(f"row {number} of {address.shown} names no file: delete the row")
        own = parse(name)
        if not own.scheme and not name.startswith("/"):  # relative to the list
            own = address.at("/".join(filter(None, [folder, name])))
        if own.scheme and own.scheme == address.scheme and not own.options:
            own = Address(own.scheme, own.path, address.options)
        yield Entry(own.shown, str(own) if own.scheme else str(Path(own.path).absolute()))


def _csv_names(address: Address) -> Iterator[str | None]:
    system, path = opened(address)
    with system.open_input_stream(path) as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        column = _column(address, reader.fieldnames or ())
        for row in reader:
            yield row[column]


def _parquet_names(address: Address) -> Iterator[str | None]:
    """Read the names in a file, or in a folder of files."""
    import pyarrow.parquet as pq

    for one in [part for part in search(address) if part.suffix == ".parquet"] or [address]:
        system, path = opened(one)
        with system.open_input_file(path) as stream:
            file: Any = pq.ParquetFile(stream)
            column = _column(one, [field.name for field in file.schema_arrow if "string" in str(field.type)[:24]])
            for part in file.iter_batches(columns=[column]):
                yield from part.column(0).to_pylist()


def _column(address: Address, names: Sequence[str]) -> str:
    for name in FILE_COLUMNS:
        if name in names:
            return name
    raise UsageError(
        f"{address.shown} has no column of files ({', '.join(names) or 'no texts'}): name it {FILE_COLUMNS[0]}"
    )


@dataclass(frozen=True)
class Item:
    """A recording that can be scored."""

    file: str
    """The name in tables"""
    path: Path
    """The file on this machine"""
    problem: AudioError | None = None
    """Reason why there is no file"""


def recordings(shard: Sequence[Entry]) -> Iterator[Item]:
    """The recordings of an archive, or of other entries. A copied file exists until the next one is requested."""
    with tempfile.TemporaryDirectory(prefix="mtqnet-") as name, ThreadPoolExecutor(AHEAD) as threads:
        folder = Path(name)
        archive = len(shard) == 1 and shard[0].is_archive
        for item in _members(shard[0], folder) if archive else _fetched(shard, folder, threads):
            yield item
            if item.path.parent == folder:
                item.path.unlink(missing_ok=True)


def _fetched(shard: Iterable[Entry], folder: Path, threads: ThreadPoolExecutor) -> Iterator[Item]:
    waiting = iter(enumerate(shard))
    pending: deque[Future[Item]] = deque(threads.submit(_fetch, *one, folder) for one in islice(waiting, AHEAD))
    while pending:
        item = pending.popleft().result()
        pending.extend(threads.submit(_fetch, *one, folder) for one in islice(waiting, 1))
        yield item


def _fetch(number: int, entry: Entry, folder: Path) -> Item:
    address = parse(entry.address)
    if not address.scheme:
        return Item(entry.file, Path(address.path))
    target = folder / f"{number}{address.suffix}"
    for attempt in range(1, TRIES + 1):
        try:
            system, path = opened(address)
            with system.open_input_stream(path) as stream:
                _copy(stream, target)
            return Item(entry.file, target)
        except FileNotFoundError:
            return Item(entry.file, target, MissingFileError("no such file: check the path"))
        except OSError as error:
            problem = UnreadableError(f"could not be fetched in {attempt} tries ({first_line(error)})")
            if isinstance(error, PermissionError) or attempt == TRIES:
                break
            time.sleep(PAUSE_S * attempt)
    return Item(entry.file, target, problem)


def _members(entry: Entry, folder: Path) -> Iterator[Item]:
    """The recordings in an archive, in order; if it cannot be read to its end, the last item is the archive."""
    try:
        system, path = opened(parse(entry.address))
        with system.open_input_stream(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for number, member in enumerate(archive):
                name = PurePosixPath(member.name)
                if member.isfile() and not name.name.startswith(".") and name.suffix.lower() in AUDIO_SUFFIXES:
                    target = folder / f"{number}{name.suffix}"
                    _copy(archive.extractfile(member), target)
                    yield Item(f"{entry.file}{INSIDE}{member.name}", target)
    except FileNotFoundError:
        yield Item(entry.file, folder / "archive", MissingFileError("no such file: check the path"))
    except (OSError, tarfile.TarError) as error:
        message = f"the archive cannot be read to its end ({first_line(error)}): create it again"
        yield Item(entry.file, folder / "archive", UnreadableError(message))


def _copy(source: Any, target: Path) -> None:
    with target.open("wb") as file:
        while block := source.read(BLOCK):
            file.write(block)
