"""A page for listening to a corpus: one HTML file with embedded audio, which opens without a network.

Each clip is shown with its clean reference if the source recording still exists. The look and the little
script are in listen.html.j2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mtqnet.audio.reading import playable
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.recipe import Recipe, render
from mtqnet.corpus.table import COLUMNS, Row, flat, read_clip
from mtqnet.errors import CorpusError, missing_extra
from mtqnet.targets import TARGETS, Target

HIDDEN = frozenset({"seed", "start", "starts", "grow_at", "shrink_at"})
"""Seeds and samples, which do not describe the strength of a step."""
LISTED = 3
"""Numbers of a list that are shown"""


def page(root: Path, rows: Sequence[Row], out: Path, count: int, seed: int, title: str) -> None:
    """Write a page with players for `count` of the rows, drawn by `seed`, in the rows' order; all if fewer.

    `root` is the corpus. Raises CorpusError for the table of something else, AudioError where a shard cannot be read.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("a page to listen to", "corpus") from error
    if missing := set(COLUMNS) - set(rows[0]):
        raise CorpusError(f"{root} is no table of a corpus: it has no column {', '.join(sorted(missing))}")
    folder = root if root.is_dir() else root.parent
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])
    clips = [_clip(folder, rows[number]) for number in chosen]
    templates = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    columns = [(target.label, target.short_name) for target in TARGETS]
    template = environment.get_template("listen.html.j2")
    html = template.render(title=title, clips=clips, fitting=len(rows), targets=columns)
    out.write_text(html, encoding="utf-8")


def _clip(root: Path, row: Row) -> dict[str, Any]:
    """Content of the page for a clip. Audio is a data: URI; the reference is empty if its recording is missing."""
    recipe = json.loads(row["recipe"])
    try:
        clean = playable(render(Recipe.from_json(json.dumps({**recipe, "steps": []}))).clean)
    except CorpusError:
        clean = ""
    return {
        **{key: row[key] for key in ("id", "split", "speaker", "scene", "seconds")},
        "scores": [_score(target, float(row[target.label])) for target in TARGETS],
        "q_db": row["equivalent_q_db"],
        "snr_db": row["equivalent_snr_db"],
        "chain": [_stage(step) for step in flat(recipe["steps"])],
        "degraded": playable(read_clip(root, row)),
        "clean": clean,
    }


def _score(target: Target, value: float) -> dict[str, Any]:
    """One label; `percent` of the way from the worst value to the best."""
    low, high = target.compress(np.array([target.low, target.high]))
    share = float((target.compress(np.array(value)) - low) / (high - low))
    return {
        "key": target.label,
        "name": target.short_name,
        "value": value,
        "text": f"{value:.3g}" if target.log else f"{value:.2f}",
        "percent": 100 * (share if target.higher_is_better else 1 - share),
    }


def _stage(entry: dict[str, Any]) -> dict[str, str]:
    """One step of a clip's chain in words; `does` is the first sentence of its documentation."""
    name = entry.pop("step")
    documentation = (STEPS[name].__doc__ or "") if name in STEPS else ""
    parameters = ", ".join(f"{key} {_value(value)}" for key, value in entry.items() if key not in HIDDEN)
    return {"name": name, "does": " ".join(documentation.split("\n\n")[0].split()), "parameters": parameters}


def _value(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - LISTED} more" if len(value) > LISTED else ""
        return ", ".join(map(_value, value[:LISTED])) + more
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, int | float) else PurePath(value).name
