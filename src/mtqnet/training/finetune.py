"""`mtqnet finetune`: a model is trained on ratings without changing the scores that have no ratings.

    table of ratings -> segments as in scoring -> features -> predictions of the original model
    -> number of epochs by cross-validation -> fine-tuned network (tuning.py) -> comparison on test recordings
    -> ONNX, intervals (evaluation.py), record

Segments and features are stored in a folder of their own, which a second call uses again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mtqnet import __version__
from mtqnet.errors import ModelError, UsageError
from mtqnet.evaluation.ratings import RatingTable
from mtqnet.scoring import batch, models
from mtqnet.scoring.intervals import DISTANCE, as_json
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import BY_KEY, named
from mtqnet.training import evaluation, features, tuning
from mtqnet.training.batches import Labels
from mtqnet.training.data import Clock, Stage
from mtqnet.training.evaluation import Figure, TunedIntervals
from mtqnet.training.export import Opened, export, load_weights
from mtqnet.training.model import Network
from mtqnet.training.ratings import (
    Rated,
    check_groups,
    divided,
    first_groups,
    rated,
    scorable,
    segments,
)
from mtqnet.training.trainer import lcc
from mtqnet.training.tuning import Array, Indices, Sound, TuneConfig, TuningData

BEFORE, AFTER = "before", "after"
TEST_SHARE = 0.2
"""Fraction of test recordings; the last group may make it larger"""
MOST_NAMED = 10
"""Groups that a message names"""
MOST_ROUNDS = 10
"""Largest number of rounds; if there are more groups, several are tested at a time"""
SAME_ERROR = 1e-4
"""Differences of the error up to this are ignored, because a graph and a network of the same weights round
differently"""
KEPT = ("causes", "local", "kinds")
"""Entries of the record that fine-tuning does not change"""


@dataclass(frozen=True)
class Options:
    """Options of a fine-tuning."""

    table: RatingTable
    audio: Path
    """Folder that the table's file names are relative to"""
    out: Path
    """Folder of the fine-tuned model; its name is the model's"""
    work: Path
    """Folder of segments and features"""
    model: str = "base"
    by: str = ""
    """Grouping column; empty: every recording is a group"""
    hold_out: tuple[str, ...] = ()
    """Groups for testing; empty: a fifth of the recordings"""
    each: bool = False
    """Whether every group is held out once"""
    targets: tuple[str, ...] = ()
    """Targets to train on ratings; empty: all that the table has"""
    unlabelled: Path | None = None
    """Folder of audio without ratings, which regularises the other targets"""
    tuning: TuneConfig = field(default_factory=TuneConfig)
    force: bool = False
    """Whether the model is written even if another one is better"""
    jobs: int = 0
    """Number of processes; 0 is one per core"""
    command: str = ""
    """Command line, for the record"""


@dataclass(frozen=True)
class Plan:
    """All trainings of a fine-tuning."""

    tests: tuple[Indices, ...]
    """Test recordings of each round; a round is trained on all others"""
    final: Indices
    """Recordings on which the resulting model is trained"""
    description: str
    """How recordings were divided, for people"""

    @property
    def test(self) -> Indices:
        """All test recordings, in the order of the rounds."""
        return np.concatenate(self.tests)


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
class Outcome:
    """Result of a fine-tuning."""

    tuned: tuple[str, ...]
    """Targets that were trained on ratings"""
    figures: list[Figure]
    """Of the targets with ratings on the test recordings, before and after"""
    changes: list[Change]
    """Of the targets without ratings"""
    plan: Plan
    intervals: TunedIntervals
    weighting: str
    """How ratings were weighted, for people"""
    epochs: int
    recordings: int
    refused: list[tuple[Path, str]]
    """Recordings that cannot be scored, and the reasons"""
    reason: str
    """Why no model was written; empty: the model is in its folder"""


def finetune(options: Options, stage: Stage) -> Outcome:
    """Run all stages; `stage` is called with the progress. Raises MtqnetError."""
    _check_folder(options.out, options.force)
    times = options.work / f"{options.out.resolve().name}.time.json"
    times.unlink(missing_ok=True)  # the record contains the time of this call
    clock = Clock(times)
    stage = clock.timed(stage)
    original = load_weights(options.model)
    known = rated(options.table, options.audio, options.by)
    tuned = _targets(options, original, known)
    windows, table = options.work / "windows", str(options.table.path)
    known, cut = scorable(known, tuned, windows, partial(stage, "recordings"), table)
    plan = divide(known.groups, options.by, options.hold_out, options.each)
    compute = partial(features.compute, original.front_end, folder=options.work / "features", jobs=options.jobs)
    clips = compute(cut.clips, name="rated", progress=partial(stage, "features, rated"))
    unlabelled: list[features.Clip] = []
    if options.unlabelled is not None:
        more = segments(batch.find(options.unlabelled), windows, partial(stage, "unlabelled recordings"))
        if more.clips:
            unlabelled = compute(more.clips, name="unlabelled", progress=partial(stage, "features, unlabelled"))
    sound = Sound.of(cut, clips)
    data = tuning.tuning_data(original.network, sound, known.labels, known.weights, tuned, unlabelled)
    network, epochs, before, after = _rounds(original.network, data, known, plan, options.tuning, stage)
    truth = {key: values[plan.test] for key, values in known.labels.items()}
    intervals = evaluation.tuned_intervals(original.record.intervals, before, after, truth)
    outcome = Outcome(
        tuned, *compared(before, after, truth), plan, intervals, known.weighting, epochs, len(known.paths),
        cut.refused, reason="",
    )  # fmt: skip
    errors = tuning.error(before, data, plan.test), tuning.error(after, data, plan.test)
    if not options.force and (reason := _reason(options, data, known, plan, epochs, errors)):
        return replace(outcome, reason=reason)
    _write(options, original, network, outcome, data, errors, clock)
    return outcome


def divide(groups: Sequence[str], by: str, hold_out: Sequence[str], each: bool) -> Plan:
    """Divide recordings into training and test data.

    Args:
        groups: Group of each recording.
        by: Name of the grouping column, for messages; empty: every recording is a group.
        hold_out: Groups for testing; empty: a fifth of the recordings.
        each: Whether every group is tested once, and the resulting model is trained on all recordings.

    Raises:
        UsageError: If there is only one group, or a group in `hold_out` does not exist.
    """
    check_groups(groups, by)
    if each and hold_out:
        raise UsageError("--hold-out each already holds out every group: omit the other groups")
    names, everything = set(groups), np.arange(len(groups))
    if each:
        parts = tuple(divided(everything, groups, MOST_ROUNDS))
        what, result = by or "recording", "the resulting model is trained on all recordings"
        description = f"each of {len(names)} groups ({what}) was held out once; {result}"
        if len(parts) < len(names):
            description = f"{len(names)} groups ({what}) were held out in {len(parts)} parts, each once; {result}"
        return Plan(parts, everything, description)
    if unknown := [name for name in hold_out if name not in names]:
        known = ", ".join([*sorted(names)[:MOST_NAMED], *(["..."] if len(names) > MOST_NAMED else [])])
        if not by:
            raise UsageError(
                f"--hold-out: no recording is {unknown[0]!r}: name the grouping column with --by, or give one of the "
                f"recordings: {known}"
            )
        raise UsageError(f"--hold-out: no recording has {by} {unknown[0]!r}; known values: {known}")
    chosen = set(hold_out) or first_groups(groups, TEST_SHARE * len(groups))
    if chosen == names:
        raise UsageError(
            "--hold-out names every group, so that no recording is left for training: delete one of them"
        )
    test = np.flatnonzero([name in chosen for name in groups])
    listed = ", ".join(sorted(chosen)[:5]) + (", ..." if len(chosen) > 5 else "")
    description = f"{len(test)} of {len(groups)} recordings are held out: those whose {by} is {listed}"
    if not by:
        description = (
            f"{len(test)} of {len(groups)} recordings are held out, not complete groups, because --by was not given: "
            "the same speaker or condition may be in training and held-out data, which makes the results too optimistic"
        )
    return Plan((test,), np.setdiff1d(everything, test), description)


def compared(before: Labels, after: Labels, truth: Labels) -> tuple[list[Figure], list[Change]]:
    """Compare scores of the same recordings, (recordings,) by target, with their ratings; NaN where unknown.

    Returns:
        Figures of the targets with ratings before and after, and changes of all others; DISTANCE is ignored.
    """
    figures, changes = [], []
    for target in named([key for key in before if key != DISTANCE]):
        key = target.key
        if key in truth and not np.isnan(truth[key]).all():
            for when, scores in ((BEFORE, before), (AFTER, after)):
                figures.append(evaluation.compare(when, target, truth[key], scores[key]))
        else:
            one, other = target.compress(before[key]), target.compress(after[key])
            size = np.abs(other - one)
            numbers = (round(float(value), 4) for value in (size.mean(), size.max(), lcc(one, other)))
            changes.append(Change(key, len(size), *numbers))
    return figures, changes


def _check_folder(out: Path, force: bool) -> None:
    """Raise UsageError if no model can be written into a folder; ModelError if a damaged one cannot be compared."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: use a folder")
    if others := sorted(path.name for path in out.glob("*.onnx") if path != _model(out)):
        raise UsageError(f"--out {out} contains the model {others[0]}: use a folder without another model")
    if force or not _model(out).is_file():
        return
    try:
        models.find(_model(out)).weights()
    except ModelError as error:
        raise ModelError(f"the model in {out} is damaged ({error}): --force replaces it") from error


def _model(out: Path) -> Path:
    return out / f"{out.resolve().name}.onnx"


def _targets(options: Options, original: Opened, ratings: Rated) -> tuple[str, ...]:
    """Return the targets that are trained. Raises UsageError if the table has no ratings of them."""
    there = tuple(key for key in original.record.targets if key in ratings.labels)
    if missing := [key for key in options.targets if key not in there]:
        raise UsageError(f"{missing[0]}: the table has ratings of {', '.join(there) or 'no score'} only")
    if not there:
        raise UsageError(
            f"the model '{original.record.name}' predicts none of the scores that {options.table.path} has "
            "ratings of: choose another model"
        )
    return tuple(key for key in there if key in options.targets) or there


def _rounds(
    network: Network, data: TuningData, ratings: Rated, plan: Plan, config: TuneConfig, stage: Stage
) -> tuple[Network, int, dict[str, Array], dict[str, Array]]:
    """Run all rounds of the plan, and the training of the resulting model, which for one round is its own.

    Returns:
        The resulting network, its epochs, and scores and distances of all test recordings before and after, by
        networks that were not trained on them.
    """
    found: list[list[dict[str, Array]]] = []
    everything = np.arange(len(ratings.names))
    trainings = [np.setdiff1d(everything, test) for test in plan.tests]
    if len(plan.tests) > 1:
        trainings.append(plan.final)
    for number, recordings in enumerate(trainings):
        progress = partial(stage, f"fine-tuning {number + 1} of {len(trainings)}")
        epochs, _ = tuning.search(network, data, recordings, ratings.groups, config, progress)
        tuned = tuning.tune(network, data, recordings, epochs, config)
        if number < len(plan.tests):
            test = plan.tests[number]
            both = (network, tuned)
            found.append([
                tuning.scores(one, data.sound, test) | tuning.distances(one, data.sound, test) for one in both
            ])  # fmt: skip
    before, after = (
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for parts in zip(*found, strict=True)
    )
    return tuned, epochs, before, after


def _reason(
    options: Options, data: TuningData, ratings: Rated, plan: Plan, epochs: int, errors: tuple[float, float]
) -> str:
    """Return why the fine-tuned model is not written; empty if it is."""
    before, after = errors
    if epochs == 0 or not after < before:
        return (
            f"the fine-tuned model is no better than '{options.model}' on the held-out recordings (error "
            f"{after:.4f}, before {before:.4f}), so it was not written: --force writes it anyway"
        )
    if not _model(options.out).is_file():
        return ""
    existing = _existing_error(options, data, [ratings.paths[index] for index in plan.test], plan)
    if existing > after + SAME_ERROR:
        return ""
    return (
        f"{options.out} contains a model that is as good or better on the held-out recordings (error "
        f"{existing:.4f}, new model {after:.4f}), so it was not replaced: --force replaces it"
    )


def _existing_error(options: Options, data: TuningData, files: Sequence[Path], plan: Plan) -> float:
    """Return the error of the model in the folder on the test recordings.

    A model that was fine-tuned on the same table with the same test recordings has this error in its record.
    Any other scores the test recordings now; if it was trained on some of them, its error is too small.
    """
    model = _model(options.out)
    tuned = json.loads(model.with_suffix(".json").read_text(encoding="utf-8")).get("tuning", {})
    same = tuned.get("labels", {}).get("sha256") == _digest(options) and tuned.get("split") == plan.description
    if same and tuned.get("tuned") == list(data.tuned):
        return float(tuned["error"]["after"])
    scored = list(Predictor(model, track=False).score_files(files))
    predicted = {key: np.array([scores.value(key) for scores in scored], dtype=np.float64) for key in data.tuned}
    return tuning.error(predicted, data, plan.test)


def _write(
    options: Options, original: Opened, network: Network, outcome: Outcome, data: TuningData,
    errors: tuple[float, float], clock: Clock,
) -> None:  # fmt: skip
    """Export into a temporary folder, then copy the three files to their folder."""
    name, table = options.out.resolve().name, options.table
    about = {
        "licence": original.record.licence,
        "config": {**original.about["config"], "name": name},
        "version": __version__,
        "labels": f"tuned on ratings of {', '.join(BY_KEY[key].name for key in outcome.tuned)} ({outcome.recordings} "
        f"recordings of {table.path.name}); before that: {original.about.get('labels', 'unknown')}",
        "seed": options.tuning.seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "parent": {"name": original.record.name, "sha256": original.record.sha256},
        "tuning": {
            "labels": {
                "file": table.path.name, "sha256": _digest(options),
                "columns": {key: ratings.column for key, ratings in table.ratings.items()},
            },
            "recordings": outcome.recordings,
            "tuned": list(outcome.tuned),
            "split": outcome.plan.description,
            "weights": outcome.weighting,
            "epochs": outcome.epochs,
            "unlabelled_pieces": len(data.unlabelled),
            "options": asdict(options.tuning),
            "error": {"before": round(errors[0], 6), "after": round(errors[1], 6)},
            "figures": [asdict(figure) for figure in outcome.figures],
            "moved": [asdict(change) for change in outcome.changes],
            "intervals": dict(outcome.intervals.messages),
            "forced": options.force,
            "command": options.command,
        },
        "figures": [{**asdict(f), "split": "held out"} for f in outcome.figures if f.split == AFTER],
        "minutes": clock.minutes(),
        "torch": torch.__version__,
        **{key: original.about[key] for key in KEPT if key in original.about},
    }  # fmt: skip
    if outcome.intervals.intervals is not None:
        about["intervals"] = as_json(outcome.intervals.intervals)
    options.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(
        dir=options.work, prefix="model-"
    ) as folder:  # several calls may share the work folder
        export(network, original.encoder, name, Path(folder), about, original.int8)
        for suffix in (".safetensors", ".json", ".onnx"):
            unfinished = options.out / f"{name}{suffix}.tmp"
            shutil.copyfile(Path(folder) / f"{name}{suffix}", unfinished)
            unfinished.replace(options.out / f"{name}{suffix}")


def _digest(options: Options) -> str:
    try:
        return hashlib.sha256(options.table.path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"cannot read {options.table.path} again ({error.strerror}): do not move the table during the run"
        ) from error
