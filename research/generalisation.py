"""Order of systems and memorisation, on a finished corpus.

    python -m research.generalisation CORPUS --model base [--sentences 60]

Pairs: clips of the splits `test`, `unseen` and `unseen2` that were made from the same recording of speech and whose
labels differ by at least 0.3 MOS; the fraction that a model orders correctly.

Memorisation: the recipes of validation clips (unseen speakers and noises) with one suppressor at full strength are
applied to recordings of training speakers, in turn to one that the training used and to one that it did not use. The
difference of the errors of PESQ shows how much a model remembers its training sentences.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import ensemble
from mtqnet.corpus import recipe as recipes
from mtqnet.corpus.ensemble import PREDICTORS
from mtqnet.corpus.recipe import Recipe
from mtqnet.corpus.table import read_rows
from mtqnet.errors import LabelError
from mtqnet.labels import intrusive
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import QUEST
from mtqnet.training.evaluation import predict

LEAST_DIFFERENCE = 0.3
"""MOS"""
SCENE = "suppressed"
Row = dict[str, Any]
Array = NDArray[np.float64]


def ordered(rows: Sequence[Row], scores: Array, key: str) -> tuple[int, int]:
    """Return how many pairs of the same speech are ordered correctly, and the number of pairs."""
    by_speech: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_speech[json.loads(row["recipe"])["speech"]].append(index)
    right = pairs = 0
    for group in by_speech.values():
        for a, b in itertools.combinations(group, 2):
            label, score = rows[a][key] - rows[b][key], scores[a] - scores[b]
            if abs(label) >= LEAST_DIFFERENCE and not np.isnan(score):
                right, pairs = right + (label * score > 0), pairs + 1
    return right, pairs


def renditions(corpus: Path, rows: Sequence[Row], count: int) -> list[tuple[Recipe, Recipe]]:
    """Return recipes for a used and an unused recording of the same training speaker, with the same processing."""
    used: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            recipe = json.loads(row["recipe"])
            used[recipe["speaker"]].append(recipe["speech"])
    spare: dict[str, list[str]] = defaultdict(list)
    with (corpus / "recordings.csv").open(newline="", encoding="utf-8") as stream:
        for entry in csv.DictReader(stream):
            plain = entry["kind"] == "speech" and entry["split"] == "train" and float(entry["seconds"]) >= 5
            if plain and entry["file"] not in used[entry["group"]]:
                spare[entry["group"]].append(entry["file"])
    rng = np.random.default_rng(0)
    speakers = [str(name) for name in rng.permutation(sorted(name for name in spare if used[name]))]
    hosts = [row for row in rows if row["split"] == "validation" and row["scene"] == SCENE][:count]
    found = []
    for row, speaker in zip(hosts, itertools.cycle(speakers)):
        recipe = Recipe.from_json(row["recipe"])
        changed = replace(recipe, speaker=speaker, start=0)
        old, new = (str(rng.choice(names[speaker])) for names in (used, spare))
        found.append((replace(changed, speech=old), replace(changed, speech=new)))
    return found


def errors(pairs: Sequence[tuple[Recipe, Recipe]], predictor: Predictor) -> Array:
    """Return the errors of the estimated PESQ, (pairs, 2); pairs without a label are left out."""
    found = []
    for pair in pairs:
        row = []
        try:
            for recipe in pair:
                made = recipes.render(recipe)
                estimate = predictor.score(made.mixture, SAMPLE_RATE).pesq_est
                row.append((estimate or np.nan) - intrusive.pesq_wb(made.clean, made.mixture))
        except LabelError:
            continue
        found.append(row)
    return np.array(found)


def main() -> None:
    """Read the options, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--sentences", type=int, default=60)
    options = parser.parse_args()
    rows = read_rows(options.corpus)
    if set(PREDICTORS) <= set(rows[0]):
        rows = ensemble.as_labels(rows)
    for split in ("test", "unseen", "unseen2"):
        part = [row for row in rows if row["split"] == split]
        scores = predict(models.find(options.model).path, part, options.corpus).scores
        for key in (target.key for target in QUEST):
            right, pairs = ordered(part, scores[key], key)
            print(f"{split} {key}: {right} of {pairs} pairs are in the order of the labels", flush=True)
    found = errors(renditions(options.corpus, rows, options.sentences), Predictor(options.model, threads=1))
    known = found[~np.isnan(found).any(axis=1)]
    gap = known[:, 0] - known[:, 1]
    print(
        f"PESQ of {len(known)} pairs: error on used sentences {known[:, 0].mean():+.3f} (mean absolute "
        f"{np.abs(known[:, 0]).mean():.3f}), on unused ones {known[:, 1].mean():+.3f} "
        f"({np.abs(known[:, 1]).mean():.3f}); difference {gap.mean():+.3f} +- {1.96 * gap.std() / len(gap) ** 0.5:.3f}"
    )


if __name__ == "__main__":
    main()
