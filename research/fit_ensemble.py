"""Fit the label ensemble (src/mtqnet/corpus/ensemble.py) and write ensemble.json.

    python -m research.fit_ensemble --data DATA --peers PYTHON [--corpus CORPUS]

Kinds of processing with ratings. The agreement of a source is, over clips,
    CSP835           SIG, BAK, OVRL   background noise (conditions with Q = 40 dB), modulated noise (SNR = 40 dB): the
                                      root of the coefficient of determination, on talkers that were left out
    NOIZEUS          the same ratings and kinds, of a test at 8 kHz with its own scale: correlation
    Opus             S and G by the rated quality: correlation, codec
    MUSHRA           the same: neural codec or vocoder
Several sets with the same kind count alike. The weights are moved towards the labeller alone until, in each set, the
ensemble is as good as the labeller over the means of the conditions: error at most TOLERANCE_MOS larger on CSP835
(left-out talkers), correlation or rank correlation not lower on the others.

After noise suppression no ratings are public. The lines are those of background noise, because residual noise remains,
and the weights are those, on a grid, whose least correlation with the predictors of the same quality is highest. It
is taken over the means of the suppressor conditions of the validation split (research/witnesses.py).

For other kinds the agreement is the correlation with the mean of the sources of other families (the labeller, DNSMOS,
Distill-MOS) over validation clips of a corpus that have this kind, but neither background noise nor suppression.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt, read
from mtqnet.corpus import ensemble
from mtqnet.corpus.degradations import CODEC, KINDS, MODULATED, NOISE, SUPPRESSION, VOCODER, kinds_of
from mtqnet.corpus.ensemble import PREDICTORS, SOURCES, STORE, WEIGHTS, Columns, Line
from mtqnet.corpus.table import excerpt, read_rows
from mtqnet.labels.speech import curves
from mtqnet.labels.three_signal import label, label_two
from mtqnet.targets import QUEST
from research import witnesses
from research.labeller import fit as fit_labeller
from research.labeller.rated import make, read_rated

SEED = 0
"""Seed of the reference conditions that are rendered for the labeller"""
CLEANEST_DB = 40
"""dB: a condition with this SNR has only modulated noise, one with this Q only background noise."""
SHORT = "vb_"
"""Clips of the Opus set that are used: sentences of VoiceBank, as the predictors take long for long clips"""
LEAST_CLIPS = 10
"""A kind of processing with fewer clips gets the agreement over all clips."""
FAMILY = {"dnsmos_sig": "dnsmos", "dnsmos_bak": "dnsmos", "dnsmos_ovrl": "dnsmos", "dnsmos_p808": "dnsmos"}
"""Sources whose errors are alike, because they were trained on the same ratings; other sources are alone"""
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Parts of the weights by agreement that are tried; the rest goes to the labeller"""
TOLERANCE_MOS = 0.015
"""MOS by which the error over conditions may exceed that of the labeller"""
STEP = 0.1
"""Grid of the weights after suppression"""
LEAST_LABELLER = {"s_mos": 0.1, "n_mos": 0.5, "g_mos": 0.1}
"""Least weight of the labeller after suppression. It knows the noise exactly, and BAK is the only other source of N."""
LEAST_ALONE = {"s_mos": 0.5, "n_mos": 0.8, "g_mos": 0.0}
"""Least weight of the labeller in kinds without ratings. P.808 and Distill-MOS rate the whole recording, also the noise
in it; and BAK falls with distortion of the speech more than listeners' ratings do (modulated noise)."""

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
    conditions: Sequence[str]
    """(clips,)"""
    talkers: Sequence[str] = ()
    """(clips,) where the ratings are on the MOS scale of the labels; otherwise empty"""
    left_out: Columns = field(default_factory=dict)
    """Labels of each speaker by curves that were fitted to the other speakers"""

    @property
    def kind(self) -> tuple[str, ...]:
        """All kinds of the set"""
        return tuple(self.kinds)

    def over_conditions(self, values: Array, chosen: NDArray[np.bool_]) -> Array:
        """Means of the conditions over the chosen clips, in order of their names."""
        names = np.array(self.conditions)
        return np.array([np.mean(values[chosen & (names == name)]) for name in sorted(set(names[chosen]))])


def csp835(folder: Path, score: Score) -> Rated:
    """CSP835: rated SIG, BAK and OVRL per clip."""
    rated = read_rated(folder, SEED)
    measured = fit_labeller.measure(rated, curves())
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    made, left_out = (
        dict(zip(("s_mos", "n_mos", "g_mos"), columns, strict=True))
        for columns in (
            fit_labeller.predict(measured, curves()),
            fit_labeller.left_out_scores(rated, measured, curves()),
        )
    )
    sources = {**made, **score(folder.name, [Excerpt(folder / row["file"]) for row in rows])}
    ratings = {"s_mos": rated.sig, "n_mos": rated.bak, "g_mos": rated.ovrl}
    return Rated("CSP835", sources, ratings, _reference_kinds(rows), rated.condition, rated.talker, left_out)


def noizeus(folder: Path, score: Score) -> Rated:
    """NOIZEUS at 8 kHz: ratings per condition. Its cleanest condition replaces the missing clean speech."""
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
    names = {"s_mos": "sig_mos_condition", "n_mos": "bak_mos_condition", "g_mos": "ovrl_mos_condition"}
    ratings = {key: np.array([float(row[name]) for row in rows]) for key, name in names.items()}
    return Rated("NOIZEUS", sources, ratings, _reference_kinds(rows), [row["condition"] for row in rows])


def codecs(folder: Path, column: str, name: str, kind: str, score: Score, prefix: str = "") -> Rated:
    """Coded speech without background, rated as a whole; of the clips whose names begin with `prefix`."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("clip", "").startswith(prefix)]
    made = []
    for row in rows:
        clean, coded = (read(folder / row[key]).samples for key in ("clean_ref", "file"))
        made.append(label_two(clean, coded))
    sources = {**_of(made), **score(folder.name, [Excerpt(folder / row["file"]) for row in rows])}
    rated = np.array([float(row[column]) for row in rows])
    chosen = {kind: np.ones(len(rows), dtype=bool)}
    return Rated(name, sources, {"s_mos": rated, "g_mos": rated}, chosen, [row["condition"] for row in rows])


def suppressed(data: Path, work: Path, pairs: int, score: Score) -> tuple[Columns, list[witnesses.Case]]:
    """Sources and cases of the suppressor conditions from speakers and noises of the validation split."""
    cases = [case for case in witnesses.cases(data, work / "validation", "validation") if case.number < pairs]
    witnesses.build(cases)
    sources = {
        **witnesses.labelled(cases, witnesses.labels_now),
        **score("forms", [Excerpt(case.processed) for case in cases]),
    }
    return sources, cases


def _of(made: Sequence[object]) -> dict[str, Array]:
    """Labels of the labeller as columns."""
    return {target.key: np.array([getattr(quest, target.key) for quest in made]) for target in QUEST}


def _reference_kinds(rows: Sequence[Mapping[str, str]]) -> dict[str, NDArray[np.bool_]]:
    """The clips with background noise alone, and those with modulated noise alone; clean speech is in both."""
    clean = np.array([row["mnru_q_db"] == "clean" for row in rows])
    quiet = np.array([row["snr_db"] == str(CLEANEST_DB) for row in rows])
    undistorted = np.array([row["mnru_q_db"] == str(CLEANEST_DB) for row in rows])
    return {NOISE: clean | undistorted, MODULATED: clean | quiet}


@dataclass(frozen=True)
class Found:
    """One label for one kind of processing, as it is written."""

    lines: Mapping[str, Line]
    weights: Mapping[str, float]
    agreement: Mapping[str, float]
    basis: str

    def record(self) -> dict[str, object]:
        return {
            "lines": {key: {k: round(v, 4) for k, v in asdict(line).items()} for key, line in self.lines.items()},
            "weights": {key: round(weight, 4) for key, weight in self.weights.items()},
            "agreement": {key: round(r, 3) for key, r in self.agreement.items()},
            "basis": self.basis,
        }


@dataclass(frozen=True)
class Pool:
    """All clips with the scores of all sources."""

    sources: Columns
    kinds: Sequence[tuple[str, ...]]
    cases: Sequence[witnesses.Case]
    """Suppressor conditions, which are the first clips"""

    def lines(self, target: str) -> dict[str, Line]:
        """Each source to the mean and standard deviation of the labeller, over all clips."""
        anchor = self.sources[target]
        return {
            key: UNCHANGED if key == target else line_between(self.sources[key], anchor) for key in SOURCES[target]
        }


UNCHANGED = Line(1.0, 0.0)


def fit(sets: Sequence[Rated], pool: Pool, shares: Sequence[float] = SHARES) -> dict[str, dict[str, Found]]:
    """The ensemble of each label and kind."""
    made: dict[str, dict[str, Found]] = {}
    for target in SOURCES:
        lines = pool.lines(target)
        of_kinds: dict[str, Found] = {}
        for group in dict.fromkeys(one.kind for one in sets if target in one.ratings):
            rating = [one for one in sets if one.kind == group and target in one.ratings]
            of_kinds |= by_ratings(target, rating, lines, pool, shares)
        of_kinds[SUPPRESSION] = by_predictors(target, of_kinds[NOISE], pool)
        for kind in KINDS:
            if kind not in of_kinds:
                of_kinds[kind] = by_others(target, kind, lines, pool)
        made[target] = {kind: of_kinds[kind] for kind in KINDS}
    return made


def by_ratings(
    target: str, sets: Sequence[Rated], lines: Mapping[str, Line], pool: Pool, shares: Sequence[float]
) -> dict[str, Found]:
    """Lines and weights from the ratings of sets with the same kinds."""
    kinds = sets[0].kind
    scaled = {(one.name, kind): left_out_sources(one, target, kind, lines) for one in sets for kind in kinds}
    agreement = {
        kind: {
            key: float(
                np.mean([agreement_with_ratings(one, target, kind, scaled[one.name, kind][key]) for one in sets])
            )
            for key in SOURCES[target]
        }
        for kind in kinds
    }
    for share in shares:
        weights = {kind: moved(target, normalised(agreement[kind]), share) for kind in kinds}
        if all(as_good(one, target, weights, {kind: scaled[one.name, kind] for kind in kinds}) for one in sets):
            break
    basis = "ratings: " + ", ".join(one.name for one in sets) + f"; share {share}"
    mos = [one for one in sets if one.talkers]
    made = {}
    for kind in kinds:
        fitted = least_squares_lines(mos[0], target, kind) if mos else spread(target, lines, weights[kind], pool)
        made[kind] = Found(fitted, weights[kind], agreement[kind], basis)
    return made


def moved(target: str, weights: Mapping[str, float], share: float) -> dict[str, float]:
    """Weights of which all but a share goes to the labeller."""
    return {key: share * weight + (1 - share) * (key == target) for key, weight in weights.items()}


def least_squares_lines(one: Rated, target: str, kind: str) -> dict[str, Line]:
    """From each source to the ratings; the labeller was fitted to them already."""
    chosen, rating = one.kinds[kind], one.ratings[target]
    return {
        key: UNCHANGED if key == target else least_squares(one.sources[key][chosen], rating[chosen])
        for key in SOURCES[target]
    }


def left_out_sources(one: Rated, target: str, kind: str, lines: Mapping[str, Line]) -> dict[str, Array]:
    """The sources on the scale of the label. With MOS ratings each speaker by lines fitted to the other speakers."""
    if not one.talkers:
        return {key: lines[key](one.sources[key]) for key in SOURCES[target]}
    talkers, rating = np.array(one.talkers), one.ratings[target]
    made = {target: one.left_out[target]}
    for key in SOURCES[target][1:]:
        made[key] = np.empty_like(rating)
        for talker in sorted(set(one.talkers)):
            train = one.kinds[kind] & (talkers != talker)
            line = least_squares(one.sources[key][train], rating[train])
            made[key][talkers == talker] = line(one.sources[key][talkers == talker])
    return made


def precision(agreement: float) -> float:
    """Weight before normalisation of a source whose correlation with the truth is `agreement`."""
    r = min(max(agreement, 0.0), 0.99)
    return r**2 / (1 - r**2)


def line_between(x: Array, y: Array) -> Line:
    """Return the line that standardises x to the mean and standard deviation of y, over the clips that have both."""
    both = ~np.isnan(x) & ~np.isnan(y)
    spread = float(np.std(x[both]))
    slope = float(np.std(y[both])) / spread if spread > 0 else 0.0
    return Line(slope, float(np.mean(y[both]) - slope * np.mean(x[both])))


def agreement_with_ratings(one: Rated, target: str, kind: str, values: Array) -> float:
    """Agreement of a source with the ratings of one set, over the clips of a kind."""
    x, y = values[one.kinds[kind]], one.ratings[target][one.kinds[kind]]
    if not one.talkers:
        return correlation(x, y)
    return float(np.sqrt(max(0.0, 1 - float(np.mean((x - y) ** 2)) / float(np.var(y)))))


def as_good(
    one: Rated, target: str, weights: Mapping[str, Mapping[str, float]], scaled: Mapping[str, Columns]
) -> bool:
    """Whether the ensemble agrees with the ratings over conditions as well as the labeller does.

    In each kind by itself, and over the whole set, whose clips have all its kinds.
    """
    means = {
        kind: np.sum([weight * scaled[kind][key] for key, weight in of.items()], axis=0)
        for kind, of in weights.items()
    }
    tests = [(mean, one.kinds[kind]) for kind, mean in means.items()]
    tests.append((np.mean(list(means.values()), axis=0), np.ones(len(one.conditions), dtype=bool)))
    return all(_as_good(one, target, mean, scaled[one.kind[0]][target], chosen) for mean, chosen in tests)


def _as_good(one: Rated, target: str, mean: Array, labeller: Array, chosen: NDArray[np.bool_]) -> bool:
    rated, ensemble, alone = (
        one.over_conditions(values, chosen) for values in (one.ratings[target], mean, labeller)
    )
    if one.talkers:
        errors = [float(np.sqrt(np.mean((values - rated) ** 2))) for values in (ensemble, alone)]
        return errors[0] <= errors[1] + TOLERANCE_MOS
    return rank(ensemble, rated) >= rank(alone, rated)


def by_predictors(target: str, noise: Found, pool: Pool) -> Found:
    """Lines of background noise, and the weights with the highest least agreement with the predictors."""
    keys = SOURCES[target]
    of_cases = {key: noise.lines[key](pool.sources[key][: len(pool.cases)]) for key in keys}
    unprocessed = np.array([case.suppressor == "none" for case in pool.cases])
    noisy = np.sum([weight * of_cases[key] for key, weight in noise.weights.items()], axis=0)
    predictors = [predictor for of, predictor in witnesses.PAIRS if of == target]

    def agreement(values: Array) -> dict[str, float]:
        made = {}
        for predictor in predictors:
            of_predictor = pool.sources[predictor][: len(pool.cases)]
            found = witnesses.agreement("", target, predictor, pool.cases, values, of_predictor)
            made[predictor] = found.lcc_middle if target == "s_mos" else found.lcc
        return made

    best, weights = -1.0, dict.fromkeys(keys, 0.0)
    for tried in grid(len(keys)):
        if tried[0] < LEAST_LABELLER[target] - 1e-9:
            continue
        mean = np.sum([weight * of_cases[key] for key, weight in zip(keys, tried, strict=True)], axis=0)
        least = min(agreement(np.where(unprocessed, noisy, mean)).values())
        if least > best:
            best, weights = least, dict(zip(keys, tried, strict=True))
    alone = {key: min(agreement(np.where(unprocessed, noisy, of_cases[key])).values()) for key in keys}
    return Found(noise.lines, weights, alone, f"predictors, {len(pool.cases)} clips: {best:.3f}")


def grid(parts: int) -> list[tuple[float, ...]]:
    """All weights in multiples of STEP that sum to 1."""
    steps = round(1 / STEP)
    counts = itertools.product(range(steps + 1), repeat=parts - 1)
    return [(*(n * STEP for n in of), (steps - sum(of)) * STEP) for of in counts if sum(of) <= steps]


def by_others(target: str, kind: str, lines: Mapping[str, Line], pool: Pool) -> Found:
    """Weights from the agreement of each source with the sources of other families."""
    scaled = {key: lines[key](pool.sources[key]) for key in SOURCES[target]}
    chosen = np.array([kind in of_clip and not {NOISE, SUPPRESSION} & {*of_clip} for of_clip in pool.kinds])
    if chosen.sum() < LEAST_CLIPS:
        chosen[:] = True
    agreement = agreement_with_others(target, scaled, chosen)
    weights = normalised(agreement)
    if weights[target] < (least := LEAST_ALONE[target]):
        others = (1 - least) / (1 - weights[target])
        weights = {key: least if key == target else others * weight for key, weight in weights.items()}
    return Found(spread(target, lines, weights, pool), weights, agreement, f"{chosen.sum()} clips")


def agreement_with_others(target: str, scaled: Columns, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """Correlation of each source with the mean of the sources of other families, over the chosen clips."""
    found = {}
    for key in SOURCES[target]:
        others = [other for other in SOURCES[target] if FAMILY.get(other, other) != FAMILY.get(key, key)]
        mean = np.mean([scaled[other][chosen] for other in others], axis=0)
        found[key] = correlation(scaled[key][chosen], mean)
    return found


def spread(target: str, lines: Mapping[str, Line], weights: Mapping[str, float], pool: Pool) -> dict[str, Line]:
    """The lines with a common factor that gives the weighted mean the deviation of the labeller over all clips.

    Averaging shrinks the variance.
    """
    mean = np.sum([weight * lines[key](pool.sources[key]) for key, weight in weights.items()], axis=0)
    widen = line_between(mean, pool.sources[target])
    return {
        key: Line(widen.slope * line.slope, widen.slope * line.offset + widen.offset)
        for key, line in lines.items()
    }


def normalised(agreement: Mapping[str, float]) -> dict[str, float]:
    """Precisions as weights that sum to 1."""
    total = sum(map(precision, agreement.values()))
    return {key: precision(r) / total for key, r in agreement.items()}


def least_squares(x: Array, y: Array) -> Line:
    """Line from x to y."""
    slope, offset = np.polyfit(x, y, 1)
    return Line(float(slope), float(offset))


def correlation(x: Array, y: Array) -> float:
    """Pearson correlation."""
    return float(np.corrcoef(x, y)[0, 1])


def rank(x: Array, y: Array) -> float:
    """Spearman correlation."""
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)


def main() -> None:
    """Read the sets, fit and write."""
    options = command_line()
    sets, pool = collected(options)
    command = f"python -m research.fit_ensemble --data DATA --pairs {options.pairs}"
    command += f" --corpus CORPUS --clips {options.clips}" * bool(options.corpus)
    write(fit(sets, pool), command, len(pool.kinds), options.output)
    print(options.output)


def collected(options: argparse.Namespace) -> tuple[list[Rated], Pool]:
    """The rated sets, and all clips with the scores of all sources."""

    def score(name: str, clips: Sequence[Excerpt]) -> Columns:
        return ensemble.score(options.peers, clips, options.work / "peers", name, options.jobs, lambda *_: None)

    data: Path = options.data
    sets = [
        csp835(data / "p835_csp835_refconditions", score),
        noizeus(data / "p835_noizeus_refconditions_8k", score),
        codecs(data / "mushra_neural_codec", "mushra_mean", "MUSHRA", VOCODER, score),
        codecs(data / "mos_opus_conditions", "mos_condition_mean", "Opus", CODEC, score, SHORT),
    ]
    of_cases, cases = suppressed(data, options.work, options.pairs, score)
    pools = [(of_cases, [witnesses.kinds(case) for case in cases])]
    pools += [(one.sources, [one.kind] * len(one.conditions)) for one in sets]
    if options.corpus:
        rows = [row for row in read_rows(options.corpus) if row["split"] == "validation"][: options.clips]
        labels = {t.key: np.array([row[t.key] for row in rows], dtype=np.float64) for t in QUEST}
        clips = [excerpt(options.corpus, row) for row in rows]
        scores = ensemble.score(
            options.peers, clips, options.corpus / STORE, "validation", options.jobs, lambda *_: None
        )
        pools.append(({**labels, **scores}, [kinds_of(row["steps"]) for row in rows]))
    return sets, pooled(pools, cases)


def pooled(pools: Sequence[tuple[Columns, Sequence[tuple[str, ...]]]], cases: Sequence[witnesses.Case]) -> Pool:
    """All clips; those of the cases are the first."""
    keys = (*(target.key for target in QUEST), *PREDICTORS)
    sources = {key: np.concatenate([columns[key] for columns, _ in pools]) for key in keys}
    return Pool(sources, [kind for _, of_clips in pools for kind in of_clips], cases)


def write(found: Mapping[str, Mapping[str, Found]], command: str, clips: int, path: Path) -> None:
    """Write ensemble.json."""
    record = {
        "about": "Written by research/fit_ensemble.py; do not edit.",
        "command": command,
        "date": datetime.date.today().isoformat(),
        "seed": SEED,
        "clips": clips,
        "predictors": list(PREDICTORS),
        "labels": {target: {kind: one.record() for kind, one in of.items()} for target, of in found.items()},
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def command_line() -> argparse.Namespace:
    """Options of this command and of research/ensemble_alternatives.py."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the rated sets")
    parser.add_argument("--corpus", type=Path, help="a corpus, whose validation clips are used")
    parser.add_argument("--clips", type=int, default=500, help="validation clips of the corpus")
    parser.add_argument(
        "--pairs", type=int, default=4, help="pairs of speech and noise of each suppressor condition"
    )
    parser.add_argument("--peers", type=Path, default=ensemble.PYTHON, help="Python with the predictors")
    parser.add_argument("--work", type=Path, default=Path("runs/labels"), help="folder for scores that are kept")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
