"""`mtqnet finetune`: a model is trained on ratings without changing the scores that have no ratings.

    table of ratings -> segments as in scoring -> features -> predictions of the original model
    -> number of epochs by cross-validation -> fine-tuned network -> comparison on test recordings
    -> ONNX, intervals, record

Segments and features are stored in a folder of their own, which a second call uses again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mtqnet import __version__
from mtqnet.errors import ModelError, UsageError
from mtqnet.evaluation.ratings import RatingTable
from mtqnet.scoring import batch
from mtqnet.scoring.intervals import as_json
from mtqnet.targets import BY_KEY
from mtqnet.training import features, weights
from mtqnet.training.data import Clock, Stage
from mtqnet.training.export import export
from mtqnet.training.finetune import comparison, split, train
from mtqnet.training.finetune.comparison import AFTER, Comparison, TunedIntervals, tuned_intervals
from mtqnet.training.finetune.data import (
    Array,
    Rated,
    Segments,
    Sound,
    TuningData,
    distances,
    rated,
    scores,
    segments,
    tuning_data,
)
from mtqnet.training.finetune.split import Plan
from mtqnet.training.finetune.train import TuneConfig
from mtqnet.training.model import Network
from mtqnet.training.weights import Opened

LEAST = 10
"""Fewest rated recordings"""
SAME_ERROR = 1e-4
"""Differences of the error up to this are ignored, because a graph and a network of the same weights round
differently"""
KEPT = ("causes", "local", "kinds")
"""Entries of the record that fine-tuning does not change"""
LABELS_ARE = "tuned on ratings of {targets} ({recordings} recordings of {file}); before that: {original}"


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
class Outcome:
    """Result of a fine-tuning."""

    tuned: tuple[str, ...]
    """Targets that were trained on ratings"""
    comparison: Comparison
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
    """Run all stages.

    Args:
        options: What to do.
        stage: Called with the progress.

    Raises:
        MtqnetError: If the table, the recordings or a model cannot be used.
    """
    comparison.check_folder(options.out, options.force)
    clock = Clock(options.work / f"{options.out.resolve().name}.time.json")
    clock.path.unlink(missing_ok=True)  # the record contains the time of this call
    stage = clock.timed(stage)
    original = weights.load(options.model)
    ratings = rated(options.table, options.audio, options.by)
    tuned = _targets(options, original, ratings)
    ratings = ratings.take(ratings.with_any(tuned))
    cut = segments(ratings.paths, options.work / "windows", partial(stage, "recordings"))
    _check_number(cut, options)
    ratings = ratings.take(cut.scorable)
    plan = split.plan(ratings.groups, options.by, options.hold_out, options.each)
    sound = Sound(_features(original, cut, options, "rated", stage), cut.recording, cut.shares, len(cut.scorable))
    data = tuning_data(
        original.network, sound, ratings.labels, ratings.weights, tuned, _unlabelled(original, options, stage)
    )
    done = _rounds(original.network, data, ratings, plan, options.tuning, stage)
    truth = {key: values[plan.test] for key, values in ratings.labels.items()}
    intervals = tuned_intervals(original.record.intervals, done.before, done.after, truth)
    outcome = Outcome(
        tuned, comparison.compared(done.before, done.after, truth), plan, intervals, ratings.weighting,
        done.epochs, len(ratings.paths), cut.refused, reason="",
    )  # fmt: skip
    errors = train.error(done.before, data, plan.test), train.error(done.after, data, plan.test)
    reason = "" if options.force else _reason(options, data, ratings, plan, done.epochs, errors)
    if reason:
        return replace(outcome, reason=reason)
    _write(options, original, done.network, outcome, _record(options, data, outcome, errors), clock)
    return outcome


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


def _check_number(cut: Segments, options: Options) -> None:
    if len(cut.scorable) < LEAST:
        why = f" (for example {cut.refused[0][0]}: {cut.refused[0][1]})" if cut.refused else ""
        raise UsageError(
            f"{options.table.path} has {len(cut.scorable)} rated recordings that can be scored{why}; fine-tuning "
            f"needs at least {LEAST}"
        )


def _features(original: Opened, cut: Segments, options: Options, name: str, stage: Stage) -> list[features.Clip]:
    return features.compute(
        original.front_end, cut.clips, options.work / "features", name, partial(stage, f"features, {name}"),
        options.jobs,
    )  # fmt: skip


def _unlabelled(original: Opened, options: Options, stage: Stage) -> list[features.Clip]:
    """Return the features of the unlabelled audio; recordings that cannot be scored are skipped."""
    if options.unlabelled is None:
        return []
    paths = batch.find(options.unlabelled)
    cut = segments(paths, options.work / "windows", partial(stage, "unlabelled recordings"))
    return _features(original, cut, options, "unlabelled", stage) if cut.clips else []


@dataclass(frozen=True)
class _Tuned:
    """The resulting network, and scores and distances of all test recordings by networks not trained on them."""

    network: Network
    epochs: int
    before: dict[str, Array]
    after: dict[str, Array]


def _rounds(
    network: Network, data: TuningData, ratings: Rated, plan: Plan, config: TuneConfig, stage: Stage
) -> _Tuned:
    """Run all rounds of the plan, and the training of the resulting model, which for one round is its own."""
    before: list[dict[str, Array]] = []
    after: list[dict[str, Array]] = []
    trainings = [each.train for each in plan.rounds] + ([plan.final] if len(plan.rounds) > 1 else [])
    for number, recordings in enumerate(trainings):
        progress = partial(stage, f"fine-tuning {number + 1} of {len(trainings)}")
        found = train.search(network, data, recordings, ratings.groups, config, progress)
        tuned = train.tune(network, data, recordings, found.epochs, config)
        if number < len(plan.rounds):
            test = plan.rounds[number].test
            for parts, one in ((before, network), (after, tuned)):
                parts.append(scores(one, data.sound, test) | distances(one, data.sound, test))
    return _Tuned(tuned, found.epochs, _joined(before), _joined(after))


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


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
    files = [ratings.paths[index] for index in plan.test]
    existing = comparison.existing_error(options.out, data, files, plan, _digest(options))
    if existing is not None and existing <= after + SAME_ERROR:
        return (
            f"{options.out} contains a model that is as good or better on the held-out recordings (error "
            f"{existing:.4f}, new model {after:.4f}), so it was not replaced: --force replaces it"
        )
    return ""


def _record(
    options: Options, data: TuningData, outcome: Outcome, errors: tuple[float, float]
) -> dict[str, object]:
    """Return the entry `tuning` of the model's record."""
    columns = {key: ratings.column for key, ratings in options.table.ratings.items()}
    return {
        "labels": {"file": options.table.path.name, "sha256": _digest(options), "columns": columns},
        "recordings": outcome.recordings,
        "tuned": list(outcome.tuned),
        "split": outcome.plan.description,
        "weights": outcome.weighting,
        "epochs": outcome.epochs,
        "unlabelled_pieces": len(data.unlabelled),
        "options": asdict(options.tuning),
        "error": {"before": round(errors[0], 6), "after": round(errors[1], 6)},
        "figures": [asdict(figure) for figure in outcome.comparison.figures],
        "moved": [asdict(change) for change in outcome.comparison.changes],
        "intervals": dict(outcome.intervals.messages),
        "forced": options.force,
        "command": options.command,
    }


def _write(
    options: Options,
    original: Opened,
    network: Network,
    outcome: Outcome,
    tuning: Mapping[str, object],
    clock: Clock,
) -> None:
    """Export into a temporary folder, then copy the three files to their folder."""
    name = options.out.resolve().name
    figures = [figure for figure in outcome.comparison.figures if figure.split == AFTER]
    labels = LABELS_ARE.format(
        targets=", ".join(BY_KEY[key].name for key in outcome.tuned), recordings=outcome.recordings,
        file=options.table.path.name, original=original.about.get("labels", "unknown"),
    )  # fmt: skip
    about = {
        "licence": original.record.licence,
        "config": {**original.about["config"], "name": name},
        "version": __version__,
        "labels": labels,
        "seed": options.tuning.seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "parent": {"name": original.record.name, "sha256": original.record.sha256},
        "tuning": tuning,
        "figures": [{**asdict(figure), "split": "held out"} for figure in figures],
        "minutes": clock.minutes(),
        "torch": torch.__version__,
        **{key: original.about[key] for key in KEPT if key in original.about},
    }
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
