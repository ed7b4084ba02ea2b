"""A page for listening to a corpus: one HTML file with embedded audio, which opens without a network.

Each clip is shown with its clean reference if the source recording still exists. The look and the little
script are in listen.html.j2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mtqnet.audio.reading import playable
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.describe import NOT_SPREAD
from mtqnet.corpus.recipe import Recipe, flat, render
from mtqnet.corpus.table import COLUMNS, Row, read_clip
from mtqnet.errors import CorpusError, UsageError, missing_extra
from mtqnet.targets import TARGETS, Target

TEMPLATE = "listen.html.j2"
UNITS: Mapping[str, str] = {
    "dbov": "dBov", "db": "dB", "hz": "Hz", "ms": "ms", "s": "s", "m": "m", "kbps": "kb/s",
    "seconds": "s", "hertz": "Hz",
}  # fmt: skip
"""Last word of a parameter's name -> its unit"""
ACRONYMS: Mapping[str, str] = {"snr": "SNR", "q": "Q", "rt60": "RT60"}
LISTED = 3
"""Numbers of a list that are shown"""


@dataclass(frozen=True)
class Score:
    """One label for the page."""

    key: str
    name: str
    value: float
    text: str
    percent: float
    """Of the way from the worst value to the best"""


@dataclass(frozen=True)
class Stage:
    """One step of a clip's chain in words."""

    name: str
    does: str
    """First sentence of the step's documentation"""
    parameters: str


@dataclass(frozen=True)
class Clip:
    """Content of the page for a clip. Audio is a data: URI, empty if it is missing."""

    id: str
    split: str
    speaker: str
    scene: str
    seconds: float
    scores: tuple[Score, ...]
    q_db: float
    snr_db: float
    chain: tuple[Stage, ...]
    degraded: str
    clean: str


def page(root: Path, rows: Sequence[Row], out: Path, count: int, seed: int, title: str) -> None:
    """Write a page with players for `count` of the rows, drawn by `seed`, in the rows' order; all if fewer.

    `root` is the corpus. Raises CorpusError where there are no rows, AudioError where a shard cannot be read.
    """
    if count < 1:
        raise UsageError(f"{count} clips were requested: use 1 or more")
    if not rows:
        raise CorpusError("no clip matches: relax the conditions, or build the corpus")
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("a page to listen to", "corpus") from error
    if missing := set(COLUMNS) - set(rows[0]):
        raise CorpusError(f"{root} is no table of a corpus: it has no column {', '.join(sorted(missing))}")
    folder = root if root.is_dir() else root.parent
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])
    clips = [_clip(folder, rows[number]) for number in chosen]
    shelf = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=shelf, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template(TEMPLATE)
    columns = [(target.label, target.short_name) for target in TARGETS]
    html = template.render(title=title, clips=clips, fitting=len(rows), targets=columns)
    out.write_text(html, encoding="utf-8")


def _clip(root: Path, row: Row) -> Clip:
    recipe = json.loads(row["recipe"])
    return Clip(
        row["id"],
        row["split"],
        row["speaker"],
        row["scene"],
        float(row["seconds"]),
        tuple(_score(target, float(row[target.label])) for target in TARGETS),
        float(row["equivalent_q_db"]),
        float(row["equivalent_snr_db"]),
        tuple(_stage(step) for step in flat(recipe["steps"])),
        playable(read_clip(root, row)),
        _clean(recipe),
    )


def _score(target: Target, value: float) -> Score:
    low, high = target.compress(np.array([target.low, target.high]))
    share = float((target.compress(np.array(value)) - low) / (high - low))
    percent = 100 * (share if target.higher_is_better else 1 - share)
    return Score(target.label, target.short_name, value, f"{value:.3g}" if target.log else f"{value:.2f}", percent)


def _stage(entry: dict[str, Any]) -> Stage:
    name = entry.pop("step")
    documentation = (STEPS[name].__doc__ or "") if name in STEPS else ""
    told = (in_words(key, value) for key, value in entry.items() if key not in NOT_SPREAD)
    return Stage(name, " ".join(documentation.split("\n\n")[0].split()), ", ".join(told))


def in_words(name: str, value: Any) -> str:
    """A parameter of a step: ("snr_db", 12.0) -> "SNR 12 dB"."""
    words = name.split("_")
    unit = UNITS.get(words[-1], "")
    said = " ".join(ACRONYMS.get(word, word) for word in (words[:-1] if unit else words))
    return " ".join(part for part in (said, _value(value), unit) if part)


def _value(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - LISTED} more" if len(value) > LISTED else ""
        return ", ".join(map(_value, value[:LISTED])) + more
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, int | float) else PurePath(value).name


def _clean(recipe: Mapping[str, Any]) -> str:
    """Return the clean reference of the labels, generated again from the source recording."""
    try:
        undamaged = Recipe.from_json(json.dumps({**recipe, "steps": []}))
        return playable(render(undamaged).clean)
    except CorpusError:  # the source recording is missing: show the clip without its reference
        return ""
