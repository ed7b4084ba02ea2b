"""Inputs of a run -> entries: files by their address, and archives of files.

A source is a folder, a file, a manifest (.csv or .parquet with a column of files) or a WebDataset shard (.tar).
Folders contain recordings, recognised by their suffix, and .tar archives.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import NoAudioFoundError, UsageError
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
