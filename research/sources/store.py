"""Convert one source into OUT/KIND/NAME: FLAC files at 16 kHz and index.csv, written last."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import soundfile as sf

from research.sources import convert
from research.sources.catalogue import Material, Source
from research.sources.convert import RATE, Samples
from research.sources.routes import Files, Places, SourceError, members, read_one

SPEECH_COLUMNS = (
    "file", "speaker", "unlabelled", "language", "seconds", "contrast_db", "bandwidth_hz", "split", "source",
    "licence", "credit", "origin",
)  # fmt: skip
NOISE_COLUMNS = ("file", "group", "kind", "seconds", "bandwidth_hz", "source", "licence", "credit", "origin")
Progress = Callable[[int, int], None]
"""Called with files done and files in all"""


@dataclass
class Outcome:
    """What came of one source."""

    rows: list[dict[str, object]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def minutes(self) -> float:
        return sum(float(str(row["seconds"])) for row in self.rows) / 60


def folder_of(source: Source, out: Path) -> Path:
    """Return where a source is stored."""
    return out / ("speech" if source.is_speech else "noise") / source.name


def store(source: Source, places: Places, out: Path, progress: Progress | None = None) -> Outcome:
    """Obtain, check, convert and write one source. Raises SourceError."""
    files = source.route.open(places)
    _check_licence(source, files)
    materials = source.select(files)
    if not materials:
        raise SourceError("no file of the source matches its selection")
    folder = folder_of(source, out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcome = Outcome()
    convert_all = _store_speech if source.is_speech else _store_noise
    convert_all(source, files, materials, folder, outcome, progress)
    if not outcome.rows:
        raise SourceError(f"no recording was usable: {dict(outcome.rejected)}")
    columns = SPEECH_COLUMNS if source.is_speech else NOISE_COLUMNS
    partial = folder / "index.csv.tmp"
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(outcome.rows)
    partial.replace(folder / "index.csv")
    return outcome


def _check_licence(source: Source, files: Files) -> None:
    path, phrase = source.evidence
    if phrase.encode() not in read_one(files, path):
        raise SourceError(f"{path} no longer contains {phrase!r}: check the licence again")


def _read(
    files: Files, materials: list[Material], outcome: Outcome, progress: Progress | None
) -> Iterator[tuple[Material, Samples]]:
    """Yield what can be decoded and is not clipped; count the rest."""
    by_path = {material.path: material for material in materials}
    known: set[bytes] = set()
    for done, (path, content) in enumerate(files.read([material.path for material in materials])):
        if progress:
            progress(done, len(materials))
        if content is None:
            outcome.rejected["content missing"] += 1
            continue
        inner = members(content) if path.endswith((".tar.gz", ".tgz")) else [(path, content)]
        for name, data in inner:
            suffix = PurePosixPath(name).suffix.lower()
            if suffix not in (".wav", ".flac", ".mp3", ".ogg", ".g722", ".m4a"):
                continue
            if (digest := hashlib.sha256(data).digest()) in known:
                outcome.rejected["duplicate"] += 1
                continue
            known.add(digest)
            try:
                samples, clipped = convert.decode(data, suffix)
            except ValueError:
                outcome.rejected["not readable"] += 1
                continue
            if clipped > convert.MAX_CLIPPED:
                outcome.rejected["clipped"] += 1
                continue
            yield by_path[path], samples
    if progress:
        progress(len(materials), len(materials))


def _store_speech(
    source: Source, files: Files, materials: list[Material], folder: Path, outcome: Outcome,
    progress: Progress | None,
) -> None:  # fmt: skip
    spoken: dict[tuple[str, str], float] = defaultdict(float)
    words: dict[tuple[str, str], list[tuple[Material, Samples]]] = defaultdict(list)
    for material, samples in _read(files, materials, outcome, progress):
        speaker = (material.speaker, material.language)
        if spoken[speaker] > source.minutes_per_speaker * 60:
            outcome.rejected["beyond the minutes of a speaker"] += 1
            continue
        if source.form == "words":
            words[speaker].append((material, samples))
            spoken[speaker] += len(samples) / RATE
            continue
        for piece in convert.utterances(samples):
            spoken[speaker] += len(piece) / RATE
            _keep_speech(source, material, piece, folder, outcome)
    for (name, language), said in words.items():
        seed = zlib.crc32(f"{name}/{language}".encode())
        for first, piece in convert.join((samples for _, samples in said), seed):
            _keep_speech(source, said[first][0], piece, folder, outcome)


def _keep_speech(source: Source, material: Material, piece: Samples, folder: Path, outcome: Outcome) -> None:
    quality = convert.measure(piece)
    if quality.contrast_db < convert.MIN_CONTRAST_DB:
        outcome.rejected["contrast too low"] += 1
        return
    row: dict[str, object] = {
        "speaker": material.speaker,
        "unlabelled": material.unlabelled or "",
        "language": material.language,
        "contrast_db": quality.contrast_db,
        "bandwidth_hz": quality.bandwidth_hz,
        "split": "train" if material.unlabelled else "",
    }
    _write(source, material, piece, convert.SPEECH_PEAK, _safe(material.speaker), row, folder, outcome)


def _store_noise(
    source: Source, files: Files, materials: list[Material], folder: Path, outcome: Outcome,
    progress: Progress | None,
) -> None:  # fmt: skip
    for material, samples in _read(files, materials, outcome, progress):
        pieces = list(convert.pieces_of_noise(samples[round(material.skip_s * RATE) :]))
        if not pieces:
            outcome.rejected["silent or below a second"] += 1
        for piece in pieces:
            row: dict[str, object] = {
                "group": material.group or f"{source.name}/{material.path}",
                "kind": material.kind,
                "bandwidth_hz": convert.measure(piece).bandwidth_hz,
            }
            _write(source, material, piece, convert.NOISE_PEAK, _safe(material.kind), row, folder, outcome)


def _write(
    source: Source, material: Material, piece: Samples, peak: float, below: str, row: dict[str, object],
    folder: Path, outcome: Outcome,
) -> None:  # fmt: skip
    name = f"{below}/{source.name}_{len(outcome.rows):05d}.flac"
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    sf.write(target, convert.scaled(piece, peak), RATE, "PCM_16")
    row |= {
        "file": name,
        "seconds": round(len(piece) / RATE, 3),
        "source": source.route.label,
        "licence": material.licence or source.licence,
        "credit": material.credit or source.credit,
        "origin": material.path,
    }
    outcome.rows.append(row)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name) or "all"
