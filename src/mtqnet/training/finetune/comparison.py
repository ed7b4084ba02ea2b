"""Comparison of a fine-tuned model with the original one and with a model that it would replace; its intervals.

Intervals of the original model belong to other scores:

re-calibrated  with at least ENOUGH test ratings of a target: the shape of the original intervals is kept and
               their width is fitted again (split conformal, as in calibration.py)
widened        with fewer: wide enough for every test rating; for a target without ratings, by as much as nine
               in ten scores changed
dropped        if the original model has no intervals, and there are too few ratings to fit new ones
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.intervals import DISTANCE, Band, Intervals, terms
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import Target, named
from mtqnet.training import calibration
from mtqnet.training.evaluation import Figure, compare
from mtqnet.training.finetune import train
from mtqnet.training.finetune.data import Array, TuningData
from mtqnet.training.finetune.split import Plan
from mtqnet.training.trainer import lcc

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Change:
    """Change of the scores of one target without ratings, in its unit; for SDI of log10."""

    target: str
    recordings: int
    mean: float
    """Mean absolute change"""
    largest: float
    lcc: float
    """Pearson correlation of the scores before and after"""


@dataclass(frozen=True)
class Comparison:
    """Original and fine-tuned model on test recordings."""

    figures: list[Figure]
    """Of the targets with ratings, before and after"""
    changes: list[Change]
    """Of the targets without ratings"""


def compared(before: Mapping[str, Array], after: Mapping[str, Array], truth: Mapping[str, Array]) -> Comparison:
    """Compare scores of the same recordings, (recordings,) by target, with their ratings; NaN where unknown.

    DISTANCE in the scores is ignored.
    """
    targets = _targets(before)
    rated = [t for t in targets if t.key in truth and not np.isnan(truth[t.key]).all()]
    others = [t for t in targets if t not in rated]
    figures = [
        compare(when, target, truth[target.key], scores[target.key])
        for target in rated
        for when, scores in ((BEFORE, before), (AFTER, after))
    ]
    return Comparison(figures, [_change(target, before[target.key], after[target.key]) for target in others])


def check_folder(out: Path, force: bool) -> None:
    """Check that a model can be written into a folder.

    Raises:
        UsageError: If it is a file, or contains a model with another name.
        ModelError: If it contains a damaged model, which cannot be compared, and `force` is not set.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: use a folder")
    name = out.resolve().name
    if others := sorted(path.name for path in out.glob("*.onnx") if path.stem != name):
        raise UsageError(f"--out {out} contains the model {others[0]}: use a folder without another model")
    if force or not _model(out).is_file():
        return
    try:
        models.find(_model(out)).weights()
    except ModelError as error:
        raise ModelError(f"the model in {out} is damaged ({error}): --force replaces it") from error


def existing_error(out: Path, data: TuningData, files: Sequence[Path], plan: Plan, labels: str) -> float | None:
    """Return the error of the model in `out` on the test recordings of `plan`; None if there is no model.

    A model that was fine-tuned on the same table with the same test recordings has this error in its record.
    Any other scores the test recordings now; if it was trained on some of them, its error is too small, and
    --force replaces it.

    Args:
        out: The folder.
        data: The ratings.
        files: The test recordings.
        plan: How recordings were divided.
        labels: sha256 of the table.

    Raises:
        ModelError: If the model is damaged.
    """
    model = _model(out)
    if not model.is_file():
        return None
    record = models.find(model)
    tuning = json.loads(record.path.with_suffix(".json").read_text(encoding="utf-8")).get("tuning", {})
    same = tuning.get("labels", {}).get("sha256") == labels and tuning.get("split") == plan.description
    if same and tuning.get("tuned") == list(data.tuned):
        return float(tuning["error"]["after"])
    scored = list(Predictor(model, track=False).score_files(files))
    predicted = {key: np.array([_number(scores.value(key)) for scores in scored]) for key in data.tuned}
    return train.error(predicted, data, plan.test)


def _targets(scores: Mapping[str, Array]) -> list[Target]:
    """Targets of these scores, which may contain DISTANCE, too."""
    return list(named([key for key in scores if key != DISTANCE]))


def _change(target: Target, before: Array, after: Array) -> Change:
    one, other = target.compress(before), target.compress(after)
    size = np.abs(other - one)
    numbers = (round(float(value), 4) for value in (size.mean(), size.max(), lcc(one, other)))
    return Change(target.key, len(size), *numbers)


def _model(out: Path) -> Path:
    return out / f"{out.resolve().name}.onnx"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


ENOUGH = 20
"""Held-out ratings of a target. Split conformal intervals are valid from 9 on; with 20 the second largest error
determines the width, so that one outlier does not"""


@dataclass(frozen=True)
class TunedIntervals:
    """Intervals of the fine-tuned model, and how they were determined."""

    intervals: Intervals | None
    messages: Mapping[str, str]
    """By target, or for `all`"""


def tuned_intervals(
    original: Intervals | None,
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    truth: Mapping[str, Array],
) -> TunedIntervals:
    """Determine the intervals of a fine-tuned model.

    Args:
        original: Intervals of the original model.
        before: Scores of test recordings by the original model, (recordings,) by target, and their DISTANCE if the
            model measures it.
        after: The same by the fine-tuned model.
        truth: Ratings; NaN where unknown.
    """
    if original is None:
        return _fitted(after, truth)
    x = terms(list(named(list(original.bands))), after)
    x_before = terms(list(named(list(original.bands))), before)
    bands, messages = {}, {}
    for target in named(list(original.bands)):
        band, key = original.bands[target.key], target.key
        known = ~np.isnan(truth[key]) if key in truth else np.zeros(len(x), dtype=bool)
        if known.any():
            error = _distance(target, truth[key][known], after[key][known])
            bands[key], messages[key] = _by_ratings(band, error, x[known], original.coverage)
        else:
            change = _distance(target, before[key], after[key])
            bands[key], messages[key] = _by_change(band, change, x, x_before, original)
    return TunedIntervals(Intervals(original.coverage, bands), messages)


def _fitted(after: Mapping[str, Array], truth: Mapping[str, Array]) -> TunedIntervals:
    """Fit new intervals, if every target has enough ratings."""
    keys = [target.key for target in _targets(after)]
    fewest = min(int((~np.isnan(truth[key])).sum()) if key in truth else 0 for key in keys)
    if fewest < calibration.LEAST:
        message = (
            f"none: the original model has none, and not every score has {calibration.LEAST} held-out ratings to "
            "fit new ones"
        )
        return TunedIntervals(None, {"all": message})
    intervals = calibration.fit(after, truth, keys)
    return TunedIntervals(intervals, dict.fromkeys(keys, f"calibrated on at least {fewest} held-out recordings"))


def _by_ratings(band: Band, error: Array, x: Array, coverage: float) -> tuple[Band, str]:
    """Keep the original shape, as wide as the test ratings require."""
    ratio = error / replace(band, factor=1.0).half_width(x)
    if len(ratio) >= ENOUGH:
        factor = calibration.conformal_quantile(ratio, coverage)
        return replace(band, factor=factor), f"re-calibrated on {len(ratio)} held-out recordings"
    factor = max(band.factor, float(ratio.max()))
    widened = factor / band.factor - 1
    return replace(band, factor=factor), f"widened by {widened:.0%}: {len(ratio)} held-out ratings"


def _by_change(band: Band, change: Array, x: Array, x_before: Array, original: Intervals) -> tuple[Band, str]:
    """Wide enough to contain the original intervals, as often as these contain the label."""
    needed = (band.half_width(x_before) + change) / replace(band, factor=1.0).half_width(x)
    factor = max(band.factor, float(np.quantile(needed, original.coverage)))
    return replace(band, factor=factor), f"widened by {factor / band.factor - 1:.0%}: its scores changed"


def _distance(target: Target, one: Array, other: Array) -> Array:
    """(recordings,) twice -> absolute difference on the training scale."""
    return np.abs(target.to_training(one) - target.to_training(other))
