"""DIR/recordings.csv: the recordings that a corpus may draw from, and how much of them its clips use."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.recipe import NOISE_STEPS, flat
from mtqnet.corpus.sources import SHARES, Item, Split

FILE = "recordings.csv"
COLUMNS = ("kind", "split", "file", "group", "language", "speakers", "seconds")


@dataclass(frozen=True)
class Use:
    """What the clips of a corpus, or of a part of it, are made of."""

    sentences: int
    """Distinct speech recordings"""
    speech_minutes: float
    """Of distinct speech: stretches that several clips share count once"""
    languages: tuple[str, ...]
    """Empty if recordings.csv is missing or names none"""
    unlabelled: int
    """Least number of speakers whose recordings are not told apart; 0 if all are"""
    noises: int
    noise_minutes: float | None
    """Of the distinct noise recordings, in whole; None if recordings.csv is missing"""
    clips_per_sentence: int
    clips_per_noise: int
    """The most clips that share one recording"""


def write_recordings(pools: Mapping[Split, Pool], out: Path) -> None:
    """Write the recordings of all splits; `unseen` and `unseen2` have those of `test`."""
    partial = out / f"{FILE}.tmp"
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for split, pool in pools.items():
            for kind, items in (("speech", pool.speech), ("noise", pool.noise), ("room", pool.rooms)):
                writer.writerows(_row(kind, split, item) for item in items if split in SHARES)
    partial.replace(out / FILE)


def read_recordings(corpus: Path) -> dict[str, dict[str, str]] | None:
    """Return the rows of recordings.csv by file; None if the corpus has none."""
    table = (corpus if corpus.is_dir() else corpus.parent) / FILE
    if not table.exists():
        return None
    with table.open(newline="", encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def use_of(rows: Sequence[Mapping[str, Any]], recordings: Mapping[str, Mapping[str, str]] | None) -> Use:
    """Count what these clips are made of, from their recipes."""
    speech: dict[str, list[tuple[int, int]]] = defaultdict(list)
    noise: Counter[str] = Counter()
    for row in rows:
        recipe = json.loads(row["recipe"])
        speech[recipe["speech"]].append((recipe["start"], recipe["start"] + recipe["samples"]))
        noise.update({step["file"] for step in flat(recipe["steps"]) if step["step"] in NOISE_STEPS})
    known = recordings or {}
    used = [known[file] for file in speech if file in known]
    groups = {row["group"]: int(row["speakers"]) for row in used if int(row["speakers"]) > 1}
    minutes = sum(float(known[file]["seconds"]) for file in noise if file in known) / 60
    return Use(
        len(speech),
        sum(map(_covered, speech.values())) / SAMPLE_RATE / 60,
        tuple(sorted({row["language"].split("-")[0] for row in used if row["language"]})),
        sum(groups.values()),
        len(noise),
        minutes if recordings is not None else None,
        max(map(len, speech.values()), default=0),
        max(noise.values(), default=0),
    )


def _row(kind: str, split: str, item: Item) -> tuple[object, ...]:
    return (kind, split, item.path, item.group, item.language, item.speakers, round(item.seconds, 3))


def _covered(stretches: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of stretches."""
    total, end = 0, 0
    for start, stop in sorted(stretches):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total
