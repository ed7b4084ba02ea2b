"""How well scores over time find a degraded part: `python -m research.localisation --data DATA`.

Clips of test speakers, otherwise undegraded, have one degraded part of 1 to 3 s. Its processing is drawn as in a
corpus: kinds that training contains (split `test`), and held-out tools (split `unseen`). Measured for G-MOS over
time: the area under the curve of frames inside against outside the part, within each clip and over all clips, and how
often the worst segment that is reported overlaps the part (intersection over union of at least 0.5), and for how many
clips of a corpus without such a part a worst segment is reported all the same. For a model with
causes also the area under the curve of each cause over frames, with the positions of the recipe as truth.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.causes import CAUSE_KEYS
from mtqnet.corpus import recipe as recipes
from mtqnet.corpus.build import make_clip
from mtqnet.corpus.degradations.network import Splice
from mtqnet.corpus.recipe import HELD_OUT
from mtqnet.corpus.sources import Pool, Sources, Split, pools
from mtqnet.errors import CorpusError, LabelError
from mtqnet.evaluation.plots import worst_stretch
from mtqnet.labels.three_signal import label
from mtqnet.scoring.over_time import over_time
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Track
from mtqnet.targets import G_MOS
from mtqnet.training.data import parts_of
from mtqnet.training.evaluation import auc

SHORTEST_S, LONGEST_S = 1.0, 3.0
FIRST = 1_000_000
"""Number of the first clip that is drawn: none of these is in a corpus"""
AUDIBLE_MOS = 0.3
"""Least effect of the part on the G-MOS label of the clip: without it the part is as good as the rest"""
G_CLEAN = 4.25
"""G-MOS label of an undegraded clip"""
MOST_DRAWS = 50_000
"""Recipes that are drawn for a split before the search ends: it has as many clips as were found"""
LEVEL_ONLY = frozenset({"Playback"})

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """A clip with one degraded part."""

    samples: NDArray[np.float32]
    start_s: float
    end_s: float
    causes: Array
    """(causes,): which the part has; NaN for unknown"""


@dataclass(frozen=True)
class Result:
    """Scores of the clips of a split by a model."""

    model: str
    split: str
    clips: int
    auc_within: float
    """Mean over clips of the area under the curve of G-MOS, inside against outside"""
    auc_all: float
    """Over the frames of all clips"""
    marked: float
    """Fraction of clips without a part for which a worst segment is reported"""
    found: float
    """Fraction of clips whose worst segment overlaps the part by at least 0.5 (intersection over union)"""
    causes: dict[str, float]
    """Area under the curve over frames by cause"""


def main() -> None:
    """Read the options, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["base", "small"])
    parser.add_argument("--clips", type=int, default=100, help="of each split")
    parser.add_argument("--output", type=Path, default=Path("docs/results/localisation.md"))
    options = parser.parse_args()
    data: Path = options.data
    folders = ("speech_librispeech/train-clean-100", "speech_asterisk_5lang", "pairs_voicebank_demand_cmgan/clean")
    sources = Sources(tuple(data / folder for folder in folders), (data / "noise_mixed_cc",), (data / "rir_real",))
    splits: tuple[Split, ...] = ("test", "unseen")
    made = pools(sources, 0, splits)
    results = []
    for split in splits:
        draw = held_out if split in HELD_OUT else drawn
        clips = list(draw(made[split], split, options.clips))
        if not clips:
            print(f"{split}: no clip with a single degraded part was found", flush=True)
            continue
        others = list(uniform(made[split], split, options.clips))
        results += [measured(model, split, clips, others) for model in options.models]
        print(results[-len(options.models) :], flush=True)
    options.output.write_text(page(results, options))


def held_out(pool: Pool, split: Split, wanted: int) -> Iterator[Clip]:
    """Yield clips in which a held-out tool processed a part of 1 to 3 s and nothing else.

    The scenes of these splits have no parts, so the tools of a recipe are applied to a part of its speech.
    """
    found = 0
    for number in range(FIRST, FIRST + MOST_DRAWS):
        if found == wanted:
            return
        recipe = recipes.draw(pool, split, number, 1)
        tools = tuple(step for step in recipe.steps if type(step).__name__ in HELD_OUT[split])
        splice = Splice.over(np.random.default_rng([number, 1]), tools, recipe.samples, 0.0)
        if not SHORTEST_S <= splice.end_s - splice.start_s <= LONGEST_S:
            continue
        changed = replace(recipe, steps=(splice,))
        try:
            made = recipes.render(changed)
            quest = label(made.clean, made.speech, made.noise)
        except LabelError:
            continue
        if quest.g_mos > G_CLEAN - AUDIBLE_MOS:
            continue
        found += 1
        row = {"recipe": changed.to_json(), "equivalent_snr_db": None}
        yield Clip(made.mixture, splice.start_s, splice.end_s, parts_of([row]).inside[0])


def drawn(pool: Pool, split: Split, wanted: int) -> Iterator[Clip]:
    """Yield clips with one degraded part of 1 to 3 s and nothing else."""
    found = 0
    for number in range(FIRST, FIRST + MOST_DRAWS):
        if found == wanted:
            return
        recipe = recipes.draw(pool, split, number, 1)
        if recipe.scene != "spliced":
            continue
        splice = next((step for step in recipe.steps if type(step).__name__ == "Splice"), None)
        others = {type(step).__name__ for step in recipe.steps} - LEVEL_ONLY - {"Splice"}
        if splice is None or others or splice.kind != "degraded":  # type: ignore[attr-defined]
            continue
        start, end = splice.start_s, splice.end_s  # type: ignore[attr-defined]
        if not SHORTEST_S <= end - start <= LONGEST_S:
            continue
        try:
            row, samples = make_clip(pool, split, number, 1)
        except CorpusError:
            continue
        if row["g_mos"] > G_CLEAN - AUDIBLE_MOS:
            continue
        found += 1
        yield Clip(samples, start, end, parts_of([row]).inside[0])


def uniform(pool: Pool, split: Split, wanted: int) -> Iterator[NDArray[np.float32]]:
    """Yield clips of a corpus whose processing is the same from beginning to end."""
    found = 0
    for number in range(FIRST, FIRST + MOST_DRAWS):
        if found == wanted:
            return
        if any(type(step).__name__ == "Splice" for step in recipes.draw(pool, split, number, 1).steps):
            continue
        try:
            samples = make_clip(pool, split, number, 1)[1]
        except CorpusError:
            continue
        found += 1
        yield samples


def measured(model: str, split: str, clips: list[Clip], others: list[NDArray[np.float32]]) -> Result:
    """Score the clips over time and compare with the position of the part; `others` have none."""
    predictor = Predictor(model)

    def scored(samples: NDArray[np.float32]) -> Track | None:
        track = predictor.score(samples, SAMPLE_RATE).track
        return track if predictor.record.local else over_time(samples, SAMPLE_RATE, model=predictor)

    tracks = [track for samples in others if (track := scored(samples)) is not None]
    marked = float(np.mean([worst_stretch(track) is not None for track in tracks]))
    within, found, values, inside_all = [], [], [], []
    causes: dict[str, tuple[list[Array], list[Array]]] = {key: ([], []) for key in CAUSE_KEYS}
    for clip in clips:
        track = scored(clip.samples)
        assert track is not None
        inside = ((track.times_s >= clip.start_s) & (track.times_s < clip.end_s)).astype(float)
        g = track.values[:, track.targets.index(G_MOS.key)]
        within.append(auc(inside, -g))
        values.append(-g)
        inside_all.append(inside)
        worst = worst_stretch(track)
        found.append(0.0 if worst is None else overlap((worst.start_s, worst.stop_s), (clip.start_s, clip.end_s)))
        if track.causes is not None:
            for place, key in enumerate(CAUSE_KEYS):
                if not np.isnan(clip.causes[place]):
                    causes[key][0].append(inside * clip.causes[place])
                    causes[key][1].append(track.causes[:, place])
    return Result(
        model, split, len(clips), float(np.nanmean(within)),
        auc(np.concatenate(inside_all), np.concatenate(values)), marked, float(np.mean(np.array(found) >= 0.5)),
        {key: auc(np.concatenate(truth), np.concatenate(p)) for key, (truth, p) in causes.items() if truth},
    )  # fmt: skip


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two spans."""
    both = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return both / (one[1] - one[0] + other[1] - other[0] - both)


def page(results: list[Result], options: argparse.Namespace) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Position of a degraded part",
        "",
        f"Written by `python -m research.localisation --clips {options.clips}` on {datetime.date.today()}, seed 1.",
        "",
        ((main.__doc__ and __doc__) or "").split("\n\n", 1)[1].strip(),
        "",
        "| model | kinds of processing | clips | AUC within a clip | AUC over all frames | worst segment overlaps | "
        "worst segment without a part |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = {"test": "seen in training", "unseen": "held out"}
    for each in results:
        lines.append(
            f"| `{Path(each.model).stem}` | {kinds[each.split]} | {each.clips} | {each.auc_within:.3f} | "
            f"{each.auc_all:.3f} | {each.found:.0%} | {each.marked:.0%} |"
        )
    lines += ["", "AUC of the causes over frames:", "", "| model | kinds | " + " | ".join(CAUSE_KEYS) + " |"]
    lines.append("|---|---|" + "---|" * len(CAUSE_KEYS))
    for each in results:
        cells = [
            f"{each.causes[key]:.3f}" if np.isfinite(each.causes.get(key, np.nan)) else "-" for key in CAUSE_KEYS
        ]
        lines.append(f"| `{Path(each.model).stem}` | {kinds[each.split]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
