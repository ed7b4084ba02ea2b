"""Scores of an exported model against labels: correlations and errors, causes, and prediction intervals.

Intervals are those of split conformal prediction with input-dependent width (scoring/intervals.py). Calibration
clips are not used for training or for the choice of the best epoch. On one half of them a ridge regression predicts
the logarithm of the error from the scores; the other half determines the factor by which the intervals must be
widened to contain COVERAGE of the labels. Then the halves are exchanged, so that every clip contributes to the
quantile.

Calibration clips contain the codecs and suppressors of the training, but recordings of users often contain others.
So the errors of clips with such tools are multiplied by a factor that was measured with each tool left out of the
training (NewToolsConfig; research/left_out_tools.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import log_ndtr

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.causes import CAUSE_KEYS, Calibration, log_odds
from mtqnet.corpus.table import read_clip
from mtqnet.errors import AudioError, ModelError
from mtqnet.scoring.intervals import DISTANCE, Band, Intervals, terms
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.targets import QUEST, Target, named
from mtqnet.training.data import labels_of, parts_of
from mtqnet.training.trainer import lcc

WORST = 3
"""Number of clips with the largest errors that are listed for each score and split"""
COVERAGE = 0.9
LEAST = 40
"""Fewest calibration clips"""
KIND_LEAST = 50
"""Fewest clips of a kind of processing for which the coverage is reported"""
PENALTY = 10.0
"""Penalty of the ridge regression, in clips"""
ENOUGH = 20
"""Held-out ratings of a target. Split conformal intervals are valid from 9 on; with 20 the second largest error
determines the width, so that one outlier does not"""
SMALLEST = 1e-3
"""Smallest error on the training scale whose logarithm is used"""

Array = NDArray[np.float64]
Values = Mapping[str, Array]
Row = Mapping[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Figure:
    """One row of a table of results."""

    split: str
    target: str
    clips: int
    lcc: float
    """Pearson correlation; of log10 for SDI"""
    srcc: float
    """Spearman correlation"""
    rmse: float
    """In the target's unit; of log10 for SDI"""


@dataclass(frozen=True)
class Predicted:
    """Scores of clips by a model; NaN for a clip that is refused, such as one of 36,000 that is too quiet."""

    scores: Values
    """(clips,) by target"""
    distance: Array | None
    """(clips,): distance from the training clips; None for a model that does not measure it"""
    causes: Array | None
    """(clips, causes): probabilities; None for a model without causes"""

    @property
    def with_distance(self) -> Values:
        """Scores and, if it is known, the distance."""
        return self.scores if self.distance is None else {**self.scores, DISTANCE: self.distance}


def predict(model: Path, rows: Sequence[Row], root: Path, progress: Progress | None = None) -> Predicted:
    """Score clips of the corpus in the folder `root` by an exported model, an .onnx file.

    Raises:
        ModelError: If a clip cannot be read, or the model refuses all.
    """
    predictor = Predictor(str(model))
    keys, causes = predictor.record.targets, predictor.record.causes
    scored: list[Scores] = []
    for done, row in enumerate(rows, start=1):
        try:
            samples = read_clip(root, row)
        except AudioError as error:
            raise ModelError(f"{row.get('id') or row.get('file')} cannot be read: {error}") from error
        scored.append(predictor.score(samples, SAMPLE_RATE))
        if progress:
            progress(done, len(rows))
    table = np.array([[score.value(key) for key in keys] for score in scored], dtype=np.float64)
    if np.isnan(table).all():
        raise ModelError(f"none of the {len(rows)} held-out clips can be scored: {scored[-1].error}")
    distance = np.array([score.distance for score in scored], dtype=np.float64)
    kinds = np.array([[score.causes.get(key, np.nan) for key in causes] for score in scored])
    return Predicted(
        dict(zip(keys, table.T, strict=True)), distance if predictor.record.distance else None,
        kinds if causes else None,
    )  # fmt: skip


def figures(rows: Sequence[Row], predicted: Values) -> list[Figure]:
    """Compare the scores of these clips with their labels, split by split."""
    labels = labels_of(rows, list(predicted))
    splits = np.array([row["split"] for row in rows])
    return [
        compare(split, target, labels[target.key][splits == split], predicted[target.key][splits == split])
        for split in dict.fromkeys(splits.tolist())
        for target in named(list(predicted))
        if np.isfinite(labels[target.key][splits == split]).any()
    ]


def compare(split: str, target: Target, truth: Array, predicted: Array) -> Figure:
    """Compare labels and scores (clips,); clips without a label or a score are ignored.

    A correlation is NaN if it is not defined, because one side is constant.
    """
    known = ~np.isnan(truth) & ~np.isnan(predicted)
    y, x = target.compress(truth[known]), target.compress(predicted[known])
    values = (lcc(y, x), lcc(stats.rankdata(y), stats.rankdata(x)), float(np.sqrt(np.mean((y - x) ** 2))))
    return Figure(split, target.key, int(known.sum()), *(round(value, 4) for value in values))


def failures(rows: Sequence[Row], predicted: Values) -> list[dict[str, Any]]:
    """Return the WORST clips for each of S-, N- and G-MOS and each split, with their processing (`steps`), label and
    score, the largest error first."""
    labels = labels_of(rows, list(predicted))
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        indices = np.flatnonzero([row["split"] == split for row in rows])
        for key in (target.key for target in QUEST if target.key in predicted):
            error = np.abs(predicted[key] - labels[key])[indices]
            order = np.argsort(-error, kind="stable")[:WORST]  # NaN is last
            for index in indices[order[~np.isnan(error[order])]]:
                label, score = (round(float(values[key][index]), 2) for values in (labels, predicted))
                clip, steps = str(rows[index]["id"]), tuple(rows[index]["steps"])
                found.append({"split": split, "clip": clip, "steps": steps, "target": key, "label": label,
                              "score": score})  # fmt: skip
    return found


def cause_figures(rows: Sequence[Row], probabilities: Array) -> list[dict[str, Any]]:
    """Compare the probabilities of causes (clips, causes) with the recipes, split by split.

    Returns:
        Split, cause, number of clips and of those that have it (`present`), area under the receiver operating
        characteristic (`auc`), and mean squared error of the probability (`brier`).
    """
    truth, splits = present(rows), np.array([row["split"] for row in rows])
    found = []
    for split in dict.fromkeys(splits.tolist()):
        for place, cause in enumerate(CAUSE_KEYS):
            known = (splits == split) & ~np.isnan(truth[:, place]) & ~np.isnan(probabilities[:, place])
            y, p = truth[known, place], probabilities[known, place]
            brier = round(float(np.mean((y - p) ** 2)), 4) if len(y) else math.nan
            found.append({"split": split, "cause": cause, "clips": len(y), "present": int(y.sum()),
                          "auc": round(auc(y, p), 4), "brier": brier})  # fmt: skip
    return found


def present(rows: Sequence[Row]) -> Array:
    """Return which causes clips have anywhere, (clips, causes): 1, 0, or NaN for unknown."""
    parts = parts_of(rows)
    return np.fmax(parts.outside, parts.inside) + 0 * parts.outside + 0 * parts.inside


def auc(truth: Array, score: Array) -> float:
    """Return the probability that a positive has a higher score than a negative; NaN if one of both is missing."""
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return math.nan
    ranks = stats.rankdata(score)
    return float((ranks[truth > 0].sum() - positives * (positives + 1) / 2) / positives / (len(truth) - positives))


def fit(
    scores: Values, labels: Values, targets: Sequence[str], seed: int = 0, factors: Values | None = None
) -> Intervals:
    """Fit the intervals of these targets on the scores and labels of calibration clips, (clips,) by target.

    The seed is that of the division into halves; `factors` multiply the errors, (clips,) by target.

    Raises:
        ModelError: If a target has too few labels.
    """
    chosen = list(named(list(targets)))
    x = terms(chosen, scores)
    first = np.random.default_rng(seed).permutation(len(x)) < len(x) // 2
    bands = {}
    for target in chosen:
        error = np.abs(target.to_training(labels[target.key]) - target.to_training(scores[target.key]))
        known = ~np.isnan(labels[target.key]) & ~np.isnan(x).any(axis=1)
        if known.sum() < LEAST:
            raise ModelError(
                f"intervals of {target.name} need at least {LEAST} calibration clips with a label, found {known.sum()}"
            )
        if factors is not None:
            error = factors[target.key] * error
        bands[target.key] = _band(x[known], error[known], first[known])
    return Intervals(COVERAGE, bands)


def covered(kind: str, intervals: Intervals, scores: Values, labels: Values) -> list[dict[str, Any]]:
    """Return the coverage of the intervals on clips that were not used for calibration; NaN in either is ignored.

    Returns:
        By target: `kind`, which names the clips, number of clips, `share` of the labels inside the interval, and mean
        width in the target's unit, for SDI of log10.
    """
    low, high = intervals.ends(scores)
    rows = []
    for target in named(list(intervals.bands)):
        key, truth = target.key, np.clip(labels[target.key], target.low, target.high)
        known = ~np.isnan(truth) & ~np.isnan(scores[key])
        if known.any():
            inside = ((truth >= low[key]) & (truth <= high[key]))[known]
            width = (target.compress(high[key]) - target.compress(low[key]))[known]
            share, mean = round(float(inside.mean()), 4), round(float(width.mean()), 4)
            rows.append({"kind": kind, "target": key, "clips": int(known.sum()), "share": share, "width": mean})
    return rows


def by_kind(intervals: Intervals, rows: Sequence[Row], scores: Values, labels: Values) -> list[dict[str, Any]]:
    """Return the coverage on each split, and on each kind of processing (column `steps`) with enough clips."""
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        inside = np.array([row["split"] == split for row in rows])
        parts = {split: inside}
        for kind in sorted({step for row in rows if row["split"] == split for step in row["steps"]}):
            processed = inside & np.array([kind in row["steps"] for row in rows])
            if processed.sum() >= KIND_LEAST:
                parts[f"{split}: {kind}"] = processed
        for name, which in parts.items():
            found += covered(name, intervals, selected(which, scores), selected(which, labels))
    return found


def selected(which: NDArray[np.bool_] | NDArray[np.int64], values: Values) -> Values:
    """Return the values of some clips."""
    return {key: array[which] for key, array in values.items()}


def ridge(x: Array, y: Array, penalty: float) -> Array:
    """Solve a ridge regression: (rows, columns), (rows,) or (rows, targets) -> (columns,) or (columns,
    targets)."""
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y), dtype=np.float64)


def logistic(probabilities: Array, truth: Array) -> Calibration:
    """Fit the calibration of a probability (Platt 1999), with a small penalty on the distance from the identity.

    Args:
        probabilities: (clips,)
        truth: (clips,): 1, 0, or NaN for unknown.
    """
    known = ~np.isnan(truth) & ~np.isnan(probabilities)
    y = truth[known]
    if not len(y) or not 0 < y.mean() < 1:
        return Calibration()
    odds = log_odds(probabilities[known])

    def loss(x: Array) -> float:
        z = x[0] * odds + x[1]
        penalty = (x[0] - 1) ** 2 + x[1] ** 2
        return float(np.sum(np.logaddexp(0, z) - y * z) + penalty)

    slope, offset = optimize.minimize(loss, np.array([1.0, 0.0])).x
    return Calibration(float(slope), float(offset))


def difference_error(
    scores: Values, labels: Values, speech: Sequence[str], targets: Sequence[str]
) -> dict[str, float]:
    """Fit the error of differences between clips of the same speech by the order of their labels.

    The probability that the second clip is better than the first is Phi(d / s) for the difference d of their scores; s
    is fitted by maximum likelihood (probit regression without an offset).

    Args:
        scores: Scores of clips, (clips,) by target.
        labels: Their labels; NaN where unknown.
        speech: Recording of speech that each clip was made from.
        targets: Keys of the targets.

    Returns:
        s by target, in the unit of the target, of log10 for SDI. Targets with fewer than LEAST pairs are omitted.
    """
    of_speech: dict[str, list[int]] = {}
    for index, name in enumerate(speech):
        of_speech.setdefault(name, []).append(index)
    pairs = [pair for group in of_speech.values() for pair in combinations(group, 2)]
    if not pairs:
        return {}
    first, second = np.array(pairs).T
    found = {}
    for target in named(list(targets)):
        score, label = target.compress(scores[target.key]), target.compress(labels[target.key])
        d, better = score[second] - score[first], np.sign(label[second] - label[first])
        known = np.isfinite(d) & np.isfinite(better) & (better != 0)
        if known.sum() < LEAST:
            continue
        signed = d[known] * better[known]

        def loss(log_s: float, signed: Array = signed) -> float:
            return -float(log_ndtr(signed / math.exp(log_s)).sum())

        fit = optimize.minimize_scalar(loss, bounds=(math.log(0.01), math.log(10.0)), method="bounded")
        found[target.key] = round(math.exp(float(fit.x)), 4)
    return found


def conformal_quantile(ratios: Array, coverage: float) -> float:
    """Return the factor that split conformal prediction applies: a quantile of errors divided by widths."""
    index = min(math.ceil((len(ratios) + 1) * coverage), len(ratios)) - 1
    return float(np.sort(ratios)[index])


def _band(x: Array, error: Array, first: NDArray[np.bool_]) -> Band:
    """Fit expected errors on each half, and the width on the ratios of the errors of the other half to them."""
    ratio = np.empty(len(error))
    for half in (first, ~first):
        ratio[half] = error[half] / _expected_error(x[~half], error[~half], x).half_width(x[half])
    return replace(_expected_error(x, error, x), factor=conformal_quantile(ratio, COVERAGE))


def _expected_error(x: Array, error: Array, all_terms: Array) -> Band:
    """Fit the expected error as a function of the terms; `all_terms` limit the range of the result."""
    size = np.log(np.maximum(error, SMALLEST))
    mean = float(size.mean())
    weights = ridge(x, size - mean, PENALTY)
    weights[0] += mean  # so the penalty pulls towards the mean width, not towards the width 1
    exponent = all_terms @ weights
    return Band(tuple(weights.tolist()), float(exponent.min()), float(exponent.max()), 1.0)


@dataclass(frozen=True)
class TunedIntervals:
    """Intervals of a fine-tuned model, and how they were determined."""

    intervals: Intervals | None
    messages: Mapping[str, str]
    """By target, or for `all`"""


def tuned_intervals(original: Intervals | None, before: Values, after: Values, truth: Values) -> TunedIntervals:
    """Determine the intervals of a fine-tuned model; those of the original model belong to other scores.

    With at least ENOUGH test ratings of a target, the shape of the original intervals is kept and their width is
    fitted again. With fewer, they are widened to contain every test rating, and without ratings by as much as nine in
    ten scores changed. If the original model has no intervals, new ones are fitted.

    Args:
        original: Intervals of the original model.
        before: Scores of test recordings by the original model, (recordings,) by target, and their DISTANCE if the
            model measures it.
        after: The same by the fine-tuned model.
        truth: Ratings; NaN where unknown.
    """
    if original is None:
        keys = [key for key in after if key != DISTANCE]
        fewest = min(int((~np.isnan(truth[key])).sum()) if key in truth else 0 for key in keys)
        if fewest >= LEAST:
            message = f"calibrated on at least {fewest} held-out recordings"
            return TunedIntervals(fit(after, truth, keys), dict.fromkeys(keys, message))
        message = (
            f"none: the original model has none, and not every score has {LEAST} held-out ratings to fit new ones"
        )
        return TunedIntervals(None, {"all": message})
    targets = tuple(named(list(original.bands)))
    x, x_before = terms(list(targets), after), terms(list(targets), before)
    bands, messages = {}, {}
    for target in targets:
        key, band = target.key, original.bands[target.key]
        scores, width = target.to_training(after[key]), replace(band, factor=1.0).half_width(x)
        known = ~np.isnan(truth[key]) if key in truth else np.zeros(len(x), dtype=bool)
        if known.any():
            ratio = np.abs(target.to_training(truth[key][known]) - scores[known]) / width[known]
            needed, why = float(ratio.max()), f"{len(ratio)} held-out ratings"
        else:
            change = np.abs(target.to_training(before[key]) - scores)
            ratio = (band.half_width(x_before) + change) / width
            needed, why = float(np.quantile(ratio, original.coverage)), "its scores changed"
        if known.sum() >= ENOUGH:
            factor = conformal_quantile(ratio, original.coverage)
            messages[key] = f"re-calibrated on {len(ratio)} held-out recordings"
        else:
            factor = max(band.factor, needed)
            messages[key] = f"widened by {factor / band.factor - 1:.0%}: {why}"
        bands[key] = replace(band, factor=factor)
    return TunedIntervals(Intervals(original.coverage, bands), messages)
