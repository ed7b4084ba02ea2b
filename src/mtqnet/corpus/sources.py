"""Folders of audio -> items with a group, and the split of groups into train, validation and test.

Any folder works. If it has an index.csv with a column `file`, that is the list, and its column `speaker`
(or `talker`) is the group. Otherwise the group comes from the name: LibriSpeech (`1688-142285-0000` -> 1688),
VCTK and VoiceBank (`p232_003` -> p232), else the folder that holds the file, else the file itself. For noise
and rooms each file is its own group.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import soundfile as sf

from mtqnet.errors import CorpusError
from mtqnet.signal.audio import SUFFIXES

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}

_SPEAKER_IN_NAME = (re.compile(r"^(\d+)-\d+-\d+"), re.compile(r"^([ps]\d{3})_"))


@dataclass(frozen=True)
class Item:
    """One recording of a pool."""

    path: str
    """As given by the caller, with forward slashes."""
    group: str
    """What must not be split: a speaker, a noise file, a room."""
    seconds: float


def scan(folders: Sequence[Path], *, by_speaker: bool) -> list[Item]:
    """All audio below the folders, ordered by path. Raises CorpusError where there is none."""
    found = [item for folder in folders for item in _scan_one(Path(folder), by_speaker)]
    if folders and not found:
        raise CorpusError(f"no audio below {', '.join(map(str, folders))}: check the paths")
    return sorted(found, key=lambda item: item.path)


def split_of(group: str, seed: int) -> Split:
    """The split of a group: a hash of its name, so that adding recordings moves no other."""
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for split in SPLITS:
        place -= SHARES[split]
        if place < 0:
            return split
    return SPLITS[-1]


def of_split(items: Iterable[Item], split: Split, seed: int) -> list[Item]:
    return [item for item in items if split_of(item.group, seed) == split]


def _scan_one(folder: Path, by_speaker: bool) -> Iterable[Item]:
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder")
    index = folder / "index.csv"
    if index.exists():
        yield from _from_index(folder, index, by_speaker)
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            group = _speaker(path, folder) if by_speaker else path.relative_to(folder.parent).as_posix()
            yield Item(path.as_posix(), group, sf.info(path).duration)


def _from_index(folder: Path, index: Path, by_speaker: bool) -> Iterable[Item]:
    with index.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if rows and "file" not in rows[0]:
        raise CorpusError(f"{index} has no column `file`")
    for row in rows:
        path = folder / row["file"]
        named = row.get("speaker") or row.get("talker") or _speaker(path, folder)
        group = named if by_speaker else path.relative_to(folder.parent).as_posix()
        seconds = float(row["seconds"]) if row.get("seconds") else sf.info(path).duration
        yield Item(path.as_posix(), group, seconds)


def _speaker(path: Path, root: Path) -> str:
    for pattern in _SPEAKER_IN_NAME:
        if match := pattern.match(path.name):
            return match.group(1)
    return path.stem if path.parent == root else path.parent.name
