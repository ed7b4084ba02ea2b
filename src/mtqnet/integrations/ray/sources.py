"""Sources -> entries, and the recordings of a shard as files that libsndfile can open.

A source is a folder, a file, a manifest (.csv or .parquet with a column of files) or a WebDataset shard (.tar).
Folders contain recordings, recognised by their suffix, and .tar archives.

Local files are read where they are. Others are copied to this machine first, a few ahead of the one that is
scored, so that the network works while the processor does. Members of an archive are copied as it streams by."""

from __future__ import annotations

import csv
import io
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import AudioError, MissingFileError, NoAudioFoundError, UnreadableError, UsageError, first_line
from mtqnet.integrations.ray import store
from mtqnet.integrations.ray.store import Address
from mtqnet.scoring import batch
from mtqnet.scoring.batch import path_to_text

MANIFESTS = (".csv", ".parquet")
ARCHIVE = ".tar"
FILE_COLUMNS = ("file", "path", "filename", "filepath", "audio_filepath", "audio", "uri", "url")
"""Columns of a manifest that may name its files; the first that is there does."""


@dataclass(frozen=True)
class Entry:
    """A recording, or an archive of recordings."""

    file: str
    """As tables name it"""
    address: str
    """With what is needed to open it"""
    size: int = -1
    """Bytes; -1 if the source does not provide it"""

    @property
    def is_archive(self) -> bool:
        return PurePosixPath(store.parse(self.address).path).suffix.lower() == ARCHIVE


def entries(sources: Iterable[str]) -> Iterator[Entry]:
    """All entries, in the order of the sources. What two sources have in common comes once.

    Raises NoAudioFoundError for a folder without any, UsageError for a manifest without a column of files.
    """
    inputs = list(sources)
    if len(inputs) == 1:  # no entry needs to be remembered
        yield from _of(inputs[0])
        return
    first_in: dict[str, int] = {}
    for number, text in enumerate(inputs):
        for entry in _of(text):
            if first_in.setdefault(entry.address, number) == number:
                yield entry


def _of(text: str) -> Iterator[Entry]:
    address = store.parse(text)
    suffix = PurePosixPath(address.path).suffix.lower()
    if suffix in MANIFESTS:
        return _of_manifest(address, suffix)
    return _of_store(address) if address.scheme else _of_disk(Path(text))


def _of_disk(path: Path) -> Iterator[Entry]:
    """The same files under the same names as the plain command, and archives."""
    if not path.is_dir():
        yield Entry(path_to_text(path), str(path.absolute()), path.stat().st_size if path.exists() else -1)
        return
    archives = sorted(path.rglob(f"*{ARCHIVE}"))
    try:
        files = batch.find(path)
    except NoAudioFoundError:
        if not archives:
            raise
        files = []
    for file in [*files, *archives]:
        yield Entry(path_to_text(file), str(file.absolute()), file.stat().st_size)


def _of_store(address: Address) -> Iterator[Entry]:
    found = False
    for file in store.search(address):
        suffix = PurePosixPath(file.address.path).suffix.lower()
        named = file.address.path == address.path
        if named or suffix in AUDIO_SUFFIXES or suffix == ARCHIVE:
            found = True
            yield Entry(file.address.shown, str(file.address), file.size)
    if not found:
        raise NoAudioFoundError(
            f"no audio in {address.shown}: files are known by their suffix, such as .wav or .tar"
        )


def _of_manifest(address: Address, suffix: str) -> Iterator[Entry]:
    rows = _csv_names(address) if suffix == ".csv" else _parquet_names(address)
    base = address.path.rpartition("/")[0]
    for number, name in enumerate(rows, start=1):
        if not name:
            raise UsageError(f"row {number} of {address.shown} names no file: leave it out")
        own = store.parse(name)
        if not own.scheme and not name.startswith("/"):  # relative to the manifest
            own = address.at("/".join(filter(None, [base, name])))
        if own.scheme and own.scheme == address.scheme and not own.options:
            own = Address(own.scheme, own.path, address.options)
        opened = own if own.scheme else Address("", str(Path(own.path).absolute()))
        yield Entry(own.shown, str(opened))


def _csv_names(address: Address) -> Iterator[str | None]:
    system, path = store.opened(address)
    with system.open_input_stream(path) as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        column = _column(address, reader.fieldnames or ())
        for row in reader:
            yield row[column]


def _parquet_names(address: Address) -> Iterator[str | None]:
    """Of a file, or of a folder of them as other programs write one."""
    import pyarrow.parquet as pq

    parts = [found.address for found in store.search(address) if found.address.path.lower().endswith(".parquet")]
    for one in parts or [address]:
        system, path = store.opened(one)
        with system.open_input_file(path) as stream:
            file: Any = pq.ParquetFile(stream)
            column = _column(one, [field.name for field in file.schema_arrow if "string" in str(field.type)[:24]])
            for part in file.iter_batches(columns=[column]):
                yield from part.column(0).to_pylist()


def _column(address: Address, names: Iterable[str]) -> str:
    there = list(names)
    for name in FILE_COLUMNS:
        if name in there:
            return name
    raise UsageError(
        f"{address.shown} has no column of files ({', '.join(there) or 'no texts'}): name it {FILE_COLUMNS[0]}"
    )


AHEAD = 4
"""Files that are fetched concurrently: an object store takes 20 to 100 ms to answer, a file 100 to score"""
BLOCK = 1 << 20
"""Bytes that are copied at a time"""
TRIES = 3
PAUSE_S = 1.0
"""Seconds before the second try, twice as many before the third"""
INSIDE = "!/"
"""Between an archive and its member, where a table names one"""


@dataclass(frozen=True)
class Item:
    """One recording that is due."""

    place: int
    """In its shard"""
    file: str
    """As tables name it"""
    path: Path
    """Where it is to be read"""
    size: int
    """Bytes"""
    fetch_s: float = 0.0
    """Seconds that it took to come"""
    problem: AudioError | None = None
    """Reason why there is no file"""


@contextmanager
def items(entries: Sequence[Entry], done: Collection[int]) -> Iterator[Iterator[Item]]:
    """The recordings of a shard that are not done. Each file exists until the next one is requested."""
    with tempfile.TemporaryDirectory(prefix="mtqnet-") as folder:
        if len(entries) == 1 and entries[0].is_archive:
            yield _members(entries[0], done, Path(folder))
        else:
            wanted = [(place, entry) for place, entry in enumerate(entries) if place not in done]
            with ThreadPoolExecutor(AHEAD) as threads:
                yield _fetched(wanted, Path(folder), threads)


def _fetched(wanted: list[tuple[int, Entry]], folder: Path, threads: ThreadPoolExecutor) -> Iterator[Item]:
    waiting = iter(wanted)
    coming: deque[Future[Item]] = deque(threads.submit(_fetch, *one, folder) for one in islice(waiting, AHEAD))
    while coming:
        item = coming.popleft().result()
        coming.extend(threads.submit(_fetch, *one, folder) for one in islice(waiting, 1))
        yield item
        if item.path.parent == folder:
            item.path.unlink(missing_ok=True)


def _fetch(place: int, entry: Entry, folder: Path) -> Item:
    address = store.parse(entry.address)
    if not address.scheme:
        return Item(place, entry.file, Path(address.path), max(entry.size, 0))
    target = folder / f"{place}{PurePosixPath(address.path).suffix}"
    began = time.monotonic()
    for attempt in range(1, TRIES + 1):
        try:
            system, path = store.opened(address)
            with system.open_input_stream(path) as stream:
                size = _copy(stream, target)
            return Item(place, entry.file, target, size, time.monotonic() - began)
        except FileNotFoundError:
            missing = MissingFileError("no such file: check the path")
            return Item(place, entry.file, target, 0, time.monotonic() - began, missing)
        except OSError as error:
            refused = UnreadableError(f"could not be fetched in {attempt} tries ({first_line(error)})")
            if isinstance(error, PermissionError) or attempt == TRIES:
                break
            time.sleep(PAUSE_S * attempt)
    return Item(place, entry.file, target, 0, time.monotonic() - began, refused)


def _members(entry: Entry, done: Collection[int], folder: Path) -> Iterator[Item]:
    """Recordings in an archive, in its order; in the end one for the archive itself where it breaks off."""
    address = store.parse(entry.address)
    place, mark = -1, time.monotonic()
    try:
        system, path = store.opened(address)
        with (
            system.open_input_stream(path) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.name.startswith(".") or name.suffix.lower() not in AUDIO_SUFFIXES:
                    continue
                place += 1
                if place in done:
                    continue
                target = folder / f"{place}{name.suffix}"
                size = _copy(archive.extractfile(member), target)
                yield Item(place, f"{entry.file}{INSIDE}{member.name}", target, size, time.monotonic() - mark)
                target.unlink(missing_ok=True)
                mark = time.monotonic()
    except (OSError, tarfile.TarError) as error:
        if place + 1 not in done:
            message = f"the archive cannot be read to its end ({first_line(error)}): create it again"
            broken = MissingFileError("no such file: check the path")
            problem = broken if isinstance(error, FileNotFoundError) else UnreadableError(message)
            yield Item(place + 1, entry.file, folder, 0, time.monotonic() - mark, problem)


def _copy(source: Any, target: Path) -> int:
    size = 0
    with target.open("wb") as file:
        while block := source.read(BLOCK):
            size += file.write(block)
    return size
