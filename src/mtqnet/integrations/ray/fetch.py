"""The recordings of a shard, one after another, as files that libsndfile can open.

Local files are read where they are. Others are copied to this machine first, a few ahead of the one that is
scored, so that the network works while the processor does. Members of an archive are copied as it streams by.
"""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import AudioError, MissingFileError, UnreadableError
from mtqnet.integrations.ray import store
from mtqnet.integrations.ray.sources import Entry

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
            refused = UnreadableError(f"could not be fetched in {attempt} tries ({_first_line(error)})")
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
            message = f"the archive cannot be read to its end ({_first_line(error)}): create it again"
            broken = MissingFileError("no such file: check the path")
            problem = broken if isinstance(error, FileNotFoundError) else UnreadableError(message)
            yield Item(place + 1, entry.file, folder, 0, time.monotonic() - mark, problem)


def _copy(source: Any, target: Path) -> int:
    size = 0
    with target.open("wb") as file:
        while block := source.read(BLOCK):
            size += file.write(block)
    return size


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
