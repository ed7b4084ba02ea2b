"""Which recording of one list is which of another: by path, else by as much of the name as both have."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import NoAudioFoundError
from mtqnet.scoring import batch

Parts = tuple[str, ...]


def match(names: Sequence[str], root: Path, files: Sequence[str]) -> list[int | None]:
    """Place in `files` of each name (a path from `root`, or an address); None where there is none, or several.

    First the same file on disk; else the one whose last folders and name agree with all that both have, whatever
    the suffix: "wb/a.flac" is "scored/wb/a.wav", and not "fb/a.wav".
    """
    on_disk = {os.path.realpath(file): place for place, file in enumerate(files)}
    tails: dict[str, list[tuple[Parts, int]]] = defaultdict(list)
    for place, file in enumerate(files):
        tails[parts(file)[-1]].append((parts(file), place))
    found: list[int | None] = []
    for name in names:
        here = on_disk.get(os.path.realpath(root / local(name)))
        found.append(here if here is not None else _only(parts(name), tails))
    return found


def match_or_bare(names: Sequence[str], root: Path, files: Sequence[str]) -> list[int | None]:
    """`match`; if that finds nothing at all, by bare names: tables often know folders that are no longer there."""
    found = match(names, root, files)
    if any(place is not None for place in found):
        return found
    return match([parts(name)[-1] for name in names], root, files)


def locate(names: Sequence[str], root: Path) -> list[Path]:
    """Where the recordings of a table lie: from `root` as written, with a suffix of audio, else anywhere below it.

    A name that is nowhere stays as written, so that scoring says it is missing.
    """
    plain = [_beside(root, name) for name in names]
    if all(path is not None for path in plain):
        return [path for path in plain if path is not None]
    try:
        below = [str(path) for path in batch.find(root)] if root.is_dir() else []
    except NoAudioFoundError:
        below = []
    places = match_or_bare(names, root, below)
    searched = [Path(below[place]) if place is not None else None for place in places]
    return [path or other or root / local(name) for path, other, name in zip(plain, searched, names, strict=True)]


def local(name: str) -> str:
    """A name without the host of an address: "https://host/a/b.wav" -> "a/b.wav"."""
    return unquote(urlsplit(name).path).lstrip("/") if "://" in name else name


def parts(name: str) -> Parts:
    """Folders and stem, without "." and "..": "../wb/a.flac" -> ("wb", "a"). Backslashes part folders too."""
    path = PurePath(local(name).replace("\\", "/"))
    suffix = path.suffix if path.suffix.lower() in AUDIO_SUFFIXES else ""
    stem = path.name.removesuffix(suffix)
    return (*(part for part in path.parent.parts if part not in (".", "..", "/")), stem)


def _only(wanted: Parts, tails: dict[str, list[tuple[Parts, int]]]) -> int | None:
    agreeing = []
    for held, place in tails.get(wanted[-1], []):
        common = min(len(wanted), len(held))
        if wanted[-common:] == held[-common:]:
            agreeing.append(place)
    return agreeing[0] if len(agreeing) == 1 else None


def _beside(root: Path, name: str) -> Path | None:
    written = root / local(name)
    known = (written, *(written.with_name(written.name + suffix) for suffix in sorted(AUDIO_SUFFIXES)))
    return next((path for path in known if path.is_file()), None)
