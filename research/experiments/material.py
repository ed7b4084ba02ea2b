"""What the arms share: clips, features and labels of every split, and the rated sets.

Features of the frozen front end are computed once and kept on disk (training/features.py). A test is a named set
of clips with truths: the corpus' splits `test` and `unseen`, and the rated sets.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.table import excerpt, read_rows
from mtqnet.errors import CorpusError
from mtqnet.targets import KEYS, QUEST
from mtqnet.training import features
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config
from mtqnet.training.data import labels_of
from mtqnet.training.features import Clip, FrontEnd

SUBSET_STREAM, VOTE_STREAM = 1, 2
"""Second words of the random streams that choose the labelled clips and make the raters' votes"""

VOTES = 3
"""Raters a clip; P.835 by crowd takes five and more, cheap campaigns take so few"""
VOTE_SPREAD = 0.75
"""MOS, standard deviation of one vote around the truth: as in the rated reference conditions (0.6 to 0.9)"""
CARELESS = 0.15
"""Fraction of random votes, each of the five values with the same probability"""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RatedSet:
    """A folder of rated recordings."""

    folder: str
    table: str
    columns: Mapping[str, str]
    """Target -> column of its rating"""
    is_mos: bool = True
    """Whether ratings are 1 to 5; if not, only rank and correlation are compared with scores"""


RATED = {
    "csp835": RatedSet(
        "p835_csp835_refconditions", "labels.csv",
        {"s_mos": "sig_mos", "n_mos": "bak_mos", "g_mos": "ovrl_mos"},
    ),
    "noizeus": RatedSet(
        "p835_noizeus_refconditions_8k", "labels_per_condition.csv",
        {"s_mos": "sig_mos_condition", "n_mos": "bak_mos_condition", "g_mos": "ovrl_mos_condition"},
    ),
    "mushra": RatedSet("mushra_neural_codec", "labels.csv", {"g_mos": "mushra_mean"}, is_mos=False),
}  # fmt: skip
"""The rated sets, by the name of their test"""

TESTS = ("test", "unseen", *RATED)
"""Held-out clips: unseen speakers and noises; the same through unseen processing; and what people rated"""


@dataclass(frozen=True)
class Test:
    """Clips and what is true of them."""

    clips: tuple[Excerpt, ...]
    truth: Labels
    """By target, in its own unit (MUSHRA: 0 to 100), (clips,) each; NaN where unknown"""


@dataclass(frozen=True)
class Material:
    """Where everything is. Cheap to send to a worker, which reads what it needs and keeps it."""

    corpus: Path
    data: Path
    store: Path
    """Of features"""

    def digest(self) -> str:
        """Of the corpus' table: other clips are another experiment."""
        rows = [(row["id"], row["samples"], [row[t.label] for t in QUEST]) for row in _rows(self.corpus)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def test(self, name: str) -> Test:
        """A test, or a split of the corpus, by name."""
        if name in RATED:
            return _rated(self.data, RATED[name])
        rows = self._split(name)
        return Test(tuple(excerpt(self.corpus, row) for row in rows), labels_of(rows, KEYS))

    def ids(self, split: str) -> list[str]:
        """Ids of the clips of a split, in the order of its test."""
        return [row["id"] for row in self._split(split)]

    def dataset(self, name: str, config: Config) -> Dataset:
        """Features that this configuration takes, and true labels, of a split or a rated set."""
        test = self.test(name)
        clips = _clips(self, name, _wide(config))
        return Dataset([_narrow(clip, config.network.front_ends) for clip in clips], test.truth)

    def prepare(self, config: Config, names: Sequence[str], jobs: int, progress: Progress) -> None:
        """Compute what the store lacks."""
        for name in names:
            sources = self.test(name).clips

            def tell(done: int, total: int, name: str = name) -> None:
                progress(f"features, {name}", done, total)

            features.compute(_wide(config), sources, self.store, name, tell, jobs)

    def _split(self, name: str) -> list[dict[str, Any]]:
        rows = [row for row in _rows(self.corpus) if row["split"] == name]
        if not rows:
            raise CorpusError(f"{self.corpus} has no clips of the split {name!r}")
        return rows


def shown(clips: Dataset, labelled: int, seed: int) -> NDArray[np.int64]:
    """Places of the clips whose S/N/G labels are shown: smaller choices of a seed lie within its larger ones."""
    order = np.random.default_rng([seed, SUBSET_STREAM]).permutation(len(clips.clips))
    return np.sort(order[: labelled or None])


def hidden(clips: Dataset, places: NDArray[np.int64]) -> Labels:
    """S/N/G labels of these places alone, NaN elsewhere."""
    labels = {target.key: np.full(len(clips.clips), np.nan) for target in QUEST}
    for key, values in labels.items():
        values[places] = clips.labels[key][places]
    return labels


def noisy(truth: Labels, seed: int) -> Labels:
    """S/N/G labels as the mean of VOTES votes, whole numbers from 1 to 5; some raters do not listen."""
    rng = np.random.default_rng([seed, VOTE_STREAM])
    voted = {}
    for target in QUEST:
        values = np.asarray(truth[target.key])
        shape = (len(values), VOTES)
        heard = np.clip(np.round(values[:, None] + VOTE_SPREAD * rng.standard_normal(shape)), 1, 5)
        careless = rng.random(shape) < CARELESS
        votes = np.where(careless, rng.integers(1, 6, shape), heard)
        voted[target.key] = np.where(np.isnan(values), np.nan, votes.mean(axis=1))
    return voted


@lru_cache(maxsize=2)
def _rows(corpus: Path) -> list[dict[str, Any]]:
    return read_rows(corpus)


@lru_cache(maxsize=16)
def _clips(material: Material, name: str, front_end: FrontEnd) -> list[Clip]:
    return features.compute(front_end, material.test(name).clips, material.store, name)


def _wide(config: Config) -> FrontEnd:
    """Log-mel and encoder frames together serve most arms, so that they are computed and read once."""
    if not {"logmel", "encoder"} >= set(config.network.front_ends):
        return FrontEnd.of_config(config)
    return FrontEnd(("logmel",), config.network.peak_normalise, config.encoder)


def _narrow(clip: Clip, names: Sequence[str]) -> Clip:
    return Clip(clip.samples, {name: clip.features[name] for name in names})


def _rated(data: Path, rated: RatedSet) -> Test:
    table = data / rated.folder / rated.table
    if not table.exists():
        raise CorpusError(f"no rated set {table}: --data names the folder that contains {rated.folder}")
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    truth = {key: np.array([float(row[column]) for row in rows]) for key, column in rated.columns.items()}
    return Test(tuple(Excerpt(data / rated.folder / row["file"]) for row in rows), truth)
