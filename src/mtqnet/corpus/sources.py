"""Folders of audio -> recordings with a group, the splits of the groups, and which recording each clip uses.

Any folder works. If it has an index.csv with a column `file`, that is the list; for speech its column `speaker`
(or `talker`) is the group, for noise and rooms its column `group`. Further columns are optional: `seconds`,
`language`, `split` (fixes the split of a row), `unlabelled` (least number of people behind one speaker identifier)
and `bandwidth_hz`. A folder whose subfolders have an index.csv is read as all of them.

Without a column for the speaker, the speaker comes from the name: LibriSpeech (`1688-142285-0000` -> 1688), LibriTTS,
VCTK and VoiceBank (`p232_003` -> p232), the DNS challenge (`reader_06709`); else from the first folder below the root,
else it is the file itself. Each noise or room file is its own group, but channels (`hall_ch1`, `hall_ch2`) go together.

The schedule limits how often a sentence or a noise file is used. It is drawn clip after clip from the seed alone. A
clip's place in it does not depend on how many clips follow, so that a corpus can grow, and every process draws the
same.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio import reading
from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.audio.level import FLOOR_DB, rms_level
from mtqnet.errors import AudioError, CorpusError

Split = Literal["train", "validation", "test", "unseen", "unseen2"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "unseen", "unseen2")
"""`unseen` and `unseen2` are further tests: recordings of `test` through tools that no other split has (recipe.py)."""
SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Of speakers, noise files and rooms"""
MIN_BANDWIDTH_HZ = 6500.0
"""Speech with a smaller `bandwidth_hz` in its index is not used as a clean reference of wideband labels."""
MIN_SPEECH_S = 2.0
"""Seconds. Shorter recordings are not used as clean references."""
USUAL_LIMIT = 20
"""Clips per sentence and per noise file, if the recordings are many enough"""
MIN_NOISE_WEIGHT_S, MAX_NOISE_WEIGHT_S = 5.0, 60.0
"""A noise recording is drawn in proportion to its length within these limits."""

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


@dataclass(frozen=True)
class Pool:
    """One split's speech, noise and rooms, each ordered by path."""

    speech: tuple[Item, ...]
    noise: tuple[Item, ...]
    rooms: tuple[Item, ...]
    without: tuple[str, ...] = ()
    """Kinds of processing that no clip goes through, because their tool is not installed"""
    clips_per_sentence: int | None = None
    """Most clips of one speech recording; None draws without a limit"""
    clips_per_noise: int | None = None
    """Most clips of one noise recording; it applies only together with a limit per sentence"""


@dataclass(frozen=True)
class Sources:
    """Folders to build from."""

    speech: tuple[Path, ...]
    noise: tuple[Path, ...]
    rooms: tuple[Path, ...] = ()


def pools(sources: Sources, split_seed: int, needed: Sequence[Split] = SPLITS) -> dict[Split, Pool]:
    """Scan the folders and split them by speaker, by noise file and by room.

    Raises CorpusError where a split that is needed would be left without speech or noise.
    """
    speech = [item for item in scan(sources.speech, by_speaker=True) if item.seconds >= MIN_SPEECH_S]
    noise, rooms = (scan(folders, by_speaker=False) for folders in (sources.noise, sources.rooms))
    made: dict[Split, Pool] = {}
    for split in SPLITS:
        own = [tuple(of_split(items, split, split_seed)) for items in (speech, noise, rooms)]
        made[split] = Pool(own[0], own[1], own[2])
        if split in needed and not (made[split].speech and made[split].noise):
            raise CorpusError(
                f"too few speakers or noise files for the split {split}: there are {len({i.group for i in speech})} "
                f"speakers and {len(noise)} noise files, divided between the splits by a hash of their names; "
                f"each split needs one of each: add more, or build no such clips (--clips {split}=0)"
            )
    return made


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
        raise CorpusError(f"{folder} is not a folder: check the paths of speech, noise and rooms")
    indices = [folder / "index.csv"] if (folder / "index.csv").exists() else sorted(folder.glob("*/index.csv"))
    for index in indices:
        yield from _from_index(index, by_speaker)
    for path in sorted(folder.rglob("*")) if not indices else ():
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
            yield Item(path.as_posix(), _group(path, folder, by_speaker), _seconds(path))


def _from_index(index: Path, by_speaker: bool) -> Iterable[Item]:
    with index.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if rows and "file" not in rows[0]:
        raise CorpusError(f"{index} has no column `file`")
    for row in rows:
        path = index.parent / row["file"]
        named = row.get("speaker") or row.get("talker") if by_speaker else row.get("group")
        if by_speaker and float(row.get("bandwidth_hz") or MIN_BANDWIDTH_HZ) < MIN_BANDWIDTH_HZ:
            continue
        if (split := row.get("split") or "") not in ("", *SHARES):
            raise CorpusError(f"{index}: split {split!r} of {row['file']} is none of {', '.join(SHARES)}")
        seconds = float(row["seconds"]) if row.get("seconds") else _seconds(path)
        group = named or _group(path, index.parent, by_speaker)
        speakers = int(row.get("unlabelled") or 1)
        yield Item(path.as_posix(), group, seconds, row.get("language") or "", speakers, split)


def _group(path: Path, root: Path, by_speaker: bool) -> str:
    """The speaker by the name; of noise and rooms the file with its folder, without its channel number."""
    if not by_speaker:
        below = path.relative_to(root.parent)
        return below.with_stem(_CHANNEL_IN_NAME.sub("", below.stem)).as_posix()
    for pattern in _SPEAKER_IN_NAME:
        if match := pattern.search(path.name):
            return match.group(1)
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else path.stem


def _seconds(path: Path) -> float:
    try:
        return float(sf.info(path).duration)
    except (sf.LibsndfileError, OSError, RuntimeError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read as audio: remove it or replace it") from error


def pick(items: Sequence[Item], rng: np.random.Generator) -> Item:
    """One item: first a group, then one of its recordings, so that no speaker drowns the others."""
    groups = sorted({item.group for item in items})
    group = groups[int(rng.integers(len(groups)))]
    members = [item for item in items if item.group == group]
    return members[int(rng.integers(len(members)))]


@lru_cache(maxsize=64)
def load(path: str) -> NDArray[np.float32]:
    """Samples at 16 kHz, kept for the next clip that uses them. Read-only."""
    try:
        samples = reading.read(path).samples
    except AudioError as error:
        raise CorpusError(f"{path}: {error}") from error
    samples.setflags(write=False)
    return samples


def looped(path: str, start: int, length: int) -> NDArray[np.float32]:
    """`length` samples from `start`, begun again where the recording ends, with a 20 ms cross-fade.

    An all-silent stretch is replaced by the recording's beginning.
    """
    samples = load(path)
    fade = min(320, len(samples) // 4)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    period = np.array(samples[: len(samples) - fade])
    if fade:
        period[:fade] = period[:fade] * np.sqrt(ramp) + samples[len(samples) - fade :] * np.sqrt(1 - ramp)
    take = period[np.arange(start, start + length) % len(period)]
    if rms_level(take) <= FLOOR_DB + 10:
        take = period[np.arange(length) % len(period)]
    return take


class Quota:
    """Draw items by group, each item at most `limit` times; without a limit as often as asked.

    A group is drawn in proportion to its weight as long as it has items left; within a group the items take turns.
    """

    def __init__(
        self, items: Sequence[Item], weights: dict[str, float], limit: int | None, rng: np.random.Generator
    ) -> None:
        self._rng = rng
        names = sorted({item.group for item in items})
        self._members = [[item for item in items if item.group == name] for name in names]
        self._weights = np.array([weights[name] for name in names])
        self._orders = [rng.permutation(len(members)) for members in self._members]
        self._taken = np.zeros(len(names), dtype=np.int64)
        sizes = np.array([len(members) for members in self._members])
        self._most = sizes * limit if limit else np.full(len(names), np.iinfo(np.int64).max)

    def next(self) -> Item:
        """Return the next item. Raises CorpusError if every item was used as often as allowed."""
        odds = np.cumsum(np.where(self._taken < self._most, self._weights, 0.0))
        if odds[-1] <= 0:
            raise CorpusError("every recording was used as often as the limit allows: add recordings or raise it")
        group = int(np.searchsorted(odds, self._rng.random() * odds[-1], side="right"))
        order = self._orders[group]
        item: Item = self._members[group][order[self._taken[group] % len(order)]]
        self._taken[group] += 1
        return item


class Schedule:
    """Speech and noise recordings of the clips of one split."""

    def __init__(self, pool: Pool, needs: Callable[[int], int], entropy: Sequence[int]) -> None:
        """Args: a pool with limits; `needs`: clip -> number of noise files that it mixes in; seeds."""
        speakers = {item.group: float(item.speakers) for item in pool.speech}  # people behind one identifier
        first, second = (np.random.default_rng([*entropy, number]) for number in (0, 1))
        self._speech = Quota(pool.speech, speakers, pool.clips_per_sentence, first)
        self._noise = Quota(pool.noise, noise_weights(pool.noise), pool.clips_per_noise, second)
        self._needs = needs
        self._clips: list[tuple[Item, tuple[Item, ...]]] = []

    def clip(self, number: int) -> tuple[Item, tuple[Item, ...]]:
        """Return the speech recording and the noise recordings of a clip."""
        while len(self._clips) <= number:
            count = self._needs(len(self._clips))
            self._clips.append((self._speech.next(), tuple(self._noise.next() for _ in range(count))))
        return self._clips[number]


def noise_weights(items: Sequence[Item]) -> dict[str, float]:
    """Return the weight of each noise recording: its length within limits."""
    seconds: dict[str, float] = defaultdict(float)
    for item in items:
        seconds[item.group] += item.seconds
    return {name: float(np.clip(s, MIN_NOISE_WEIGHT_S, MAX_NOISE_WEIGHT_S)) for name, s in seconds.items()}


def resolve(asked: int | None, clips: int, items: int, what: str) -> int | None:
    """Return the limit for `clips` uses of `items` recordings.

    Not asked: USUAL_LIMIT if it suffices, otherwise none. Raises CorpusError if what is asked cannot be met.
    """
    if asked is None:
        return USUAL_LIMIT if clips <= USUAL_LIMIT * items else None
    if clips > asked * items:
        raise CorpusError(
            f"{items} {what} allow at most {asked * items} clips at {asked} clips each, but {clips} are needed: add "
            f"recordings, build fewer clips, or set a limit of at least {-(-clips // max(items, 1))}"
        )
    return asked
