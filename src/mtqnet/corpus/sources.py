"""Folders of audio -> items with a group, and the split of groups into train, validation and test.

Any folder works. If it has an index.csv with a column `file`, that is the list; for speech its column `speaker`
(or `talker`) is the group, for noise and rooms its column `group`. Further columns are optional: `seconds`,
`language`, `split` (fixes the split of a row), `unlabelled` (least number of people behind one speaker identifier)
and `bandwidth_hz`. A folder whose subfolders have an index.csv is read as all of them.

Without a column for the speaker, the speaker comes from the name: LibriSpeech (`1688-142285-0000` -> 1688),
LibriTTS, VCTK and VoiceBank (`p232_003` -> p232), the DNS challenge (`reader_06709`); else from the first folder
below the root, else it is the file itself. Each noise or room file is its own group, but channels (`hall_ch1`,
`hall_ch2`) go together.
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

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import CorpusError

Split = Literal["train", "validation", "test", "unseen", "unseen2"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "unseen", "unseen2")
"""`unseen` and `unseen2` are further tests: recordings of `test` through tools that no other split has
(corpus/chain.py)."""
SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Of speakers, noise files and rooms"""

MIN_BANDWIDTH_HZ = 6500.0
"""Speech with a smaller `bandwidth_hz` in its index is not used as a clean reference of wideband labels."""

_SPEAKER_IN_NAME = (
    re.compile(r"^(\d+)-\d+-\d+"),  # LibriSpeech
    re.compile(r"^(\d+)_\d+_\d+_"),  # LibriTTS
    re.compile(r"^([ps]\d{3})_"),  # VCTK, VoiceBank
    re.compile(r"reader_(\d+)"),  # the DNS challenge's read speech
)
_CHANNEL_IN_NAME = re.compile(r"_ch\d+$")


@dataclass(frozen=True)
class Item:
    """One recording of a pool."""

    path: str
    """As given by the caller, with forward slashes."""
    group: str
    """What must not be split: a speaker, a noise file, a room."""
    seconds: float
    language: str = ""
    speakers: int = 1
    """People behind `group`; more than one where a source does not say who speaks"""
    split: str = ""
    """Split that the index fixes; empty if the hash of the group decides"""


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
    for split, share in SHARES.items():
        place -= share
        if place < 0:
            return split
    return "test"


def of_split(items: Iterable[Item], split: Split, seed: int) -> list[Item]:
    """Return the items of a split: the split that the index names, otherwise that of the group."""
    wanted = "test" if split in ("unseen", "unseen2") else split
    return [item for item in items if (item.split or split_of(item.group, seed)) == wanted]


def _scan_one(folder: Path, by_speaker: bool) -> Iterable[Item]:
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder")
    index = folder / "index.csv"
    if index.exists():
        yield from _from_index(folder, index, by_speaker)
        return
    if inner := sorted(path.parent for path in folder.glob("*/index.csv")):
        for one in inner:
            yield from _from_index(one, one / "index.csv", by_speaker)
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
            group = _speaker(path, folder) if by_speaker else _recording(path, folder)
            yield Item(path.as_posix(), group, _seconds(path))


def _from_index(folder: Path, index: Path, by_speaker: bool) -> Iterable[Item]:
    with index.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if rows and "file" not in rows[0]:
        raise CorpusError(f"{index} has no column `file`")
    for row in rows:
        path = folder / row["file"]
        if by_speaker:
            group = row.get("speaker") or row.get("talker") or _speaker(path, folder)
        else:
            group = row.get("group") or _recording(path, folder)
        if by_speaker and float(row.get("bandwidth_hz") or MIN_BANDWIDTH_HZ) < MIN_BANDWIDTH_HZ:
            continue
        if (split := row.get("split") or "") not in ("", *SHARES):
            raise CorpusError(f"{index}: split {split!r} of {row['file']} is none of {', '.join(SHARES)}")
        seconds = float(row["seconds"]) if row.get("seconds") else _seconds(path)
        speakers = int(row.get("unlabelled") or 1)
        yield Item(path.as_posix(), group, seconds, row.get("language") or "", speakers, split)


def _speaker(path: Path, root: Path) -> str:
    for pattern in _SPEAKER_IN_NAME:
        if match := pattern.search(path.name):
            return match.group(1)
    below = path.relative_to(root).parts
    return below[0] if len(below) > 1 else path.stem


def _recording(path: Path, root: Path) -> str:
    """A noise or room file with its folder, without its channel number: channels are one recording."""
    below = path.relative_to(root.parent)
    return below.with_stem(_CHANNEL_IN_NAME.sub("", below.stem)).as_posix()


def _seconds(path: Path) -> float:
    try:
        return float(sf.info(path).duration)
    except (sf.LibsndfileError, OSError, RuntimeError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read as audio: remove it or mend it") from error
