"""Fit the weights of the label ensemble (src/mtqnet/labels/ensemble.py) and write ensemble.json.

    python -m research.fit_ensemble --data DATA --peers PYTHON [--corpus CORPUS]

The agreement of each source is its correlation over clips with human ratings where a rated set contains the kind
of processing (for P.835 ratings the root of the coefficient of determination, so that errors of scale count):
    CSP835, NOIZEUS   SIG, BAK, OVRL   background noise (conditions with Q = 40 dB), modulated noise (SNR = 40 dB)
    MUSHRA, Opus      S and G by the rated quality: codec
Two sets with the same kind count alike. For all other kinds the agreement is the correlation with the mean of the
sources of other families (the labeller, DNSMOS, Distill-MOS). It is taken over the clips with this kind: those of the
suppressor conditions of the validation split (research/witnesses.py), and of a corpus if one is given; where there are
too few, over all clips. All clips together, the rated ones included, give the lines between the scales.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt, read
from mtqnet.corpus import peers
from mtqnet.corpus.table import excerpt, read_rows
from mtqnet.labels.ensemble import (
    CODEC,
    ENSEMBLE,
    KINDS,
    MODULATED,
    NOISE,
    PREDICTORS,
    SOURCES,
    Columns,
    Label,
    Line,
    combine,
    kinds_of,
    line_between,
    precision,
)
from mtqnet.labels.three_signal import label, label_two
from mtqnet.targets import QUEST
from research import witnesses
from research.labeller.rated import make, read_rated

SEED = 0
"""Seed of the reference conditions that are rendered for the labeller"""
CLEANEST_DB = 40
"""dB: a condition with this SNR has only modulated noise, one with this Q only background noise."""
SHORT = "vb_"
"""Clips of the Opus set that are used: sentences of VoiceBank, as the predictors take long for long clips"""
LEAST_CLIPS = 10
"""A kind of processing with fewer clips in the corpus gets the agreement over all clips."""
FAMILY = {"dnsmos_sig": "dnsmos", "dnsmos_bak": "dnsmos", "dnsmos_ovrl": "dnsmos", "dnsmos_p808": "dnsmos"}
"""Sources whose errors are alike, because they were trained on the same ratings; other sources are alone"""

Array = NDArray[np.float64]
Score = Callable[[str, Sequence[Excerpt]], Columns]
"""Name of a set and its recordings -> scores of the predictors, (clips,) each"""


@dataclass(frozen=True)
class Rated:
    """A rated set: scores of all sources, and the ratings by target."""

    name: str
    sources: Columns
    ratings: Mapping[str, Array]
    kinds: Mapping[str, NDArray[np.bool_]]
    """Kind of processing -> the clips that show how sources rank it"""
    same_scale: bool = True
    """Whether the ratings are MOS of P.835"""

    @property
    def kind(self) -> tuple[str, ...]:
        """All kinds of the set"""
        return tuple(self.kinds)


def csp835(folder: Path, score: Score) -> Rated:
    """CSP835: rated SIG, BAK and OVRL per clip."""
    rated = read_rated(folder, SEED)
    made = [label(clip.clean, clip.speech, clip.noise) for clip in rated.heard]
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    sources = {**_of(made), **score(folder.name, [Excerpt(folder / row["file"]) for row in rows])}
    ratings = {"s_mos": rated.sig, "n_mos": rated.bak, "g_mos": rated.ovrl}
    return Rated("CSP835", sources, ratings, _reference_kinds(rows))


def noizeus(folder: Path, score: Score) -> Rated:
    """NOIZEUS at 8 kHz: ratings per condition. Its cleanest condition stands for the missing clean speech."""
    with (folder / "labels_per_condition.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    clean = {
        row["item"]: read(folder / row["file"]).samples
        for row in rows
        if (row["snr_db"], row["mnru_q_db"]) == (str(CLEANEST_DB), str(CLEANEST_DB))
    }
    made = []
    for row in rows:
        clip = make(clean[row["item"]], float(row["mnru_q_db"]), float(row["snr_db"]), SEED)
        made.append(label(clip.clean, clip.speech, clip.noise))
    sources = {**_of(made), **score(folder.name, [Excerpt(folder / row["file"]) for row in rows])}
    names = {"s_mos": "sig_mos", "n_mos": "bak_mos", "g_mos": "ovrl_mos"}
    ratings = {key: np.array([float(row[name]) for row in rows]) for key, name in names.items()}
    return Rated("NOIZEUS", sources, ratings, _reference_kinds(rows))


def codecs(folder: Path, column: str, name: str, score: Score, prefix: str = "") -> Rated:
    """Coded speech without background, rated as a whole; of the clips whose names begin with `prefix`."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("clip", "").startswith(prefix)]
    made = []
    for row in rows:
        clean, coded = (read(folder / row[key]).samples for key in ("clean_ref", "file"))
        made.append(label_two(clean, coded))
    sources = {**_of(made), **score(folder.name, [Excerpt(folder / row["file"]) for row in rows])}
    rated = np.array([float(row[column]) for row in rows])
    return Rated(name, sources, {"s_mos": rated, "g_mos": rated}, {CODEC: np.ones(len(rows), dtype=bool)}, False)


def suppressed(data: Path, work: Path, pairs: int, score: Score) -> tuple[Columns, list[tuple[str, ...]]]:
    """Sources and kinds of the suppressor conditions from speakers and noises of the validation split."""
    cases = [case for case in witnesses.cases(data, work / "validation", "validation") if case.number < pairs]
    witnesses.build(cases)
    sources = {
        **witnesses.labelled(cases, witnesses.labels_now),
        **score("forms", [Excerpt(case.processed) for case in cases]),
    }
    return sources, [witnesses.kinds(case) for case in cases]


def _of(made: Sequence[object]) -> dict[str, Array]:
    """Labels of the labeller as columns."""
    return {target.key: np.array([getattr(quest, target.key) for quest in made]) for target in QUEST}


def _reference_kinds(rows: Sequence[Mapping[str, str]]) -> dict[str, NDArray[np.bool_]]:
    """The clips with background noise alone, and those with modulated noise alone; clean speech is in both."""
    clean = np.array([row["mnru_q_db"] == "clean" for row in rows])
    quiet = np.array([row["snr_db"] == str(CLEANEST_DB) for row in rows])
    undistorted = np.array([row["mnru_q_db"] == str(CLEANEST_DB) for row in rows])
    return {NOISE: clean | undistorted, MODULATED: clean | quiet}


def agreement_with_ratings(
    target: str, kind: str, sets: Sequence[Rated], lines: Mapping[str, Line]
) -> tuple[dict[str, float], str]:
    """Mean agreement of each source with the ratings of the sets with this kind; empty where there is none."""
    fitting = [one for one in sets if kind in one.kinds and target in one.ratings]
    if not fitting:
        return {}, ""
    found = {
        key: float(np.mean([_rated(one, key, target, kind, lines[key]) for one in fitting]))
        for key in SOURCES[target]
    }
    return found, ", ".join(one.name for one in fitting)


def _rated(one: Rated, key: str, target: str, kind: str, line: Line) -> float:
    """Agreement of a source with the ratings of one set.

    The root of the coefficient of determination where the ratings are on the scale of the labels, so that an error of
    scale counts; otherwise the correlation.
    """
    x, y = one.sources[key][one.kinds[kind]], one.ratings[target][one.kinds[kind]]
    if not one.same_scale:
        return correlation(x, y)
    unexplained = float(np.mean((line(x) - y) ** 2)) / float(np.var(y))
    return float(np.sqrt(max(0.0, 1 - unexplained)))


def agreement_with_others(target: str, scaled: Columns, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """Correlation of each source with the mean of the sources of other families, over the chosen clips."""
    found = {}
    for key in SOURCES[target]:
        others = [other for other in SOURCES[target] if FAMILY.get(other, other) != FAMILY.get(key, key)]
        mean = np.mean([scaled[other][chosen] for other in others], axis=0)
        found[key] = correlation(scaled[key][chosen], mean)
    return found


def correlation(x: Array, y: Array) -> float:
    """Pearson correlation over the clips that have both."""
    both = ~np.isnan(x) & ~np.isnan(y)
    return float(np.corrcoef(x[both], y[both])[0, 1])


def fit(sets: Sequence[Rated], sources: Columns, kinds: Sequence[tuple[str, ...]]) -> dict[str, dict[str, object]]:
    """The record of all labels: lines, weights, agreement and its basis, by target."""
    record: dict[str, dict[str, object]] = {}
    for target, keys in SOURCES.items():
        anchor = sources[target]
        lines = {key: Line(1.0, 0.0) if key == target else line_between(sources[key], anchor) for key in keys}
        scaled = {key: lines[key](sources[key]) for key in keys}
        weights, agreement, basis = {}, {}, {}
        for kind in KINDS:
            found, names = agreement_with_ratings(target, kind, sets, lines)
            basis[kind] = f"ratings: {names}"
            if not found:
                chosen = np.array([kind in of_clip for of_clip in kinds])
                if chosen.sum() < LEAST_CLIPS:
                    chosen[:] = True
                found, basis[kind] = agreement_with_others(target, scaled, chosen), f"{chosen.sum()} clips"
            total = sum(map(precision, found.values()))
            weights[kind] = {key: precision(r) / total for key, r in found.items()}
            agreement[kind] = {key: round(r, 3) for key, r in found.items()}
        mean = combine(target, sources, kinds, Label(lines, weights, Line(1.0, 0.0))).values
        record[target] = {
            "lines": {key: asdict(line) for key, line in lines.items()},
            "weights": {kind: {key: round(w, 4) for key, w in of.items()} for kind, of in weights.items()},
            "widen": asdict(line_between(mean, anchor)),
            "agreement": agreement,
            "basis": basis,
        }
    return record


def main() -> None:
    """Read the sets, fit and write."""
    options = _options()

    def score(name: str, clips: Sequence[Excerpt]) -> Columns:
        return peers.score(options.peers, clips, options.work / "peers", name, options.jobs, lambda *_: None)

    data: Path = options.data
    sets = [csp835(data / "p835_csp835_refconditions", score)]
    if not options.without_noizeus:
        sets.append(noizeus(data / "p835_noizeus_refconditions_8k", score))
    sets += [
        codecs(data / "mushra_neural_codec", "mushra_mean", "MUSHRA codecs", score),
        codecs(data / "mos_opus_conditions", "mos_condition_mean", "Opus", score, SHORT),
    ]
    pools = [(one.sources, [one.kind] * len(one.sources["g_mos"])) for one in sets]
    pools.append(suppressed(data, options.work, options.pairs, score))
    if options.corpus:
        rows = read_rows(options.corpus)
        labels = {t.key: np.array([row[t.key] for row in rows], dtype=np.float64) for t in QUEST}
        scores = score("corpus", [excerpt(options.corpus, row) for row in rows])
        pools.append(({**labels, **scores}, [kinds_of(row["steps"]) for row in rows]))
    keys = (*(target.key for target in QUEST), *PREDICTORS)
    sources = {key: np.concatenate([columns[key] for columns, _ in pools]) for key in keys}
    kinds = [kind for _, of_clips in pools for kind in of_clips]
    further = " --corpus CORPUS" * bool(options.corpus) + " --without-noizeus" * options.without_noizeus
    record = {
        "about": "Written by research/fit_ensemble.py; do not edit.",
        "command": f"python -m research.fit_ensemble --data DATA --pairs {options.pairs}{further}",
        "date": datetime.date.today().isoformat(),
        "seed": SEED,
        "clips": len(kinds),
        "predictors": list(PREDICTORS),
        "labels": fit(sets, sources, kinds),
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(options.output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the rated sets")
    parser.add_argument("--corpus", type=Path, help="a corpus of a few hundred clips of all kinds")
    parser.add_argument(
        "--pairs", type=int, default=4, help="pairs of speech and noise of each suppressor condition"
    )
    parser.add_argument("--peers", type=Path, default=peers.PYTHON, help="Python with the predictors")
    parser.add_argument("--without-noizeus", action="store_true", help="omit the set with ratings per condition")
    parser.add_argument("--work", type=Path, default=Path("runs/labels"), help="folder for scores that are kept")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--output", type=Path, default=ENSEMBLE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
