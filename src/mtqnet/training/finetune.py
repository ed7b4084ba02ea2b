"""`mtqnet finetune`: a model learns from somebody's ratings, and keeps what they say nothing of.

    table of ratings -> recordings as scoring hears them -> features -> what the model says of them: the anchor
    -> how many epochs, by leaving out -> tuned network -> held against the model on recordings that were held out
    -> ONNX, intervals, record

The parts stand in tuning/. Features are kept in a folder of their own, so that a second call finds them.
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
from mtqnet.cli.bars import Stage
from mtqnet.errors import ModelError, UsageError
from mtqnet.evaluation.ratings import RatingTable
from mtqnet.scoring import batch
from mtqnet.scoring.intervals import as_json
from mtqnet.targets import BY_KEY
from mtqnet.training import frontend, weights
from mtqnet.training.clock import Clock
from mtqnet.training.export import export
from mtqnet.training.network import Network
from mtqnet.training.tuning import fit, groups, judged, margins, rival, sound
from mtqnet.training.tuning.fit import TuneConfig
from mtqnet.training.tuning.groups import Plan
from mtqnet.training.tuning.judged import Judged
from mtqnet.training.tuning.margins import Margins
from mtqnet.training.tuning.material import Array, Material, Sound, material, scores
from mtqnet.training.tuning.ratings import Rated, rated
from mtqnet.training.weights import Opened

LEAST = 10
"""Rated recordings: fewer tell a model nothing that its next call would not contradict."""
SAME_ERROR = 1e-4
"""Of the error on what was held out: a graph and a network of the same weights round apart"""
LABELS_ARE = "tuned on ratings of {targets} ({recordings} recordings of {file}); before that: {parent}"


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    table: RatingTable
    audio: Path
    """Folder that the table's names are told from"""
    out: Path
    """Folder of the tuned model; its name is the model's"""
    work: Path
    """Folder of features and windows"""
    model: str = "base"
    by: str = ""
    """Column of the groups; empty: every recording is its own"""
    hold_out: tuple[str, ...] = ()
    """Groups that test; none: a fifth of the recordings"""
    each: bool = False
    """Whether every group tests once"""
    targets: tuple[str, ...] = ()
    """Keys of the ratings to learn; none: all that the table has"""
    unlabelled: Path | None = None
    """Folder of audio that anchors the other scores too"""
    tuning: TuneConfig = field(default_factory=TuneConfig)
    force: bool = False
    """Whether a worse model takes the place of a better one"""
    jobs: int = 0
    command: str = ""
    """For the record"""


@dataclass(frozen=True)
class Outcome:
    """What came out."""

    tuned: tuple[str, ...]
    """Keys of the scores that learnt"""
    judged: Judged
    plan: Plan
    margins: Margins
    weighed_by: str
    epochs: int
    recordings: int
    refused: list[tuple[Path, str]]
    """Recordings that cannot be scored, and why"""
    reason: str
    """Why nothing was written; empty: the model is in its folder"""


def finetune(order: Order, stage: Stage) -> Outcome:
    """Run all stages. Raises MtqnetError."""
    rival.need_place(order.out, order.force)
    clock = Clock(order.work / f"{order.out.resolve().name}.time.json")
    clock.path.unlink(missing_ok=True)  # the record tells this call's time
    stage = clock.timed(stage)
    parent = weights.load(order.model)
    ratings = rated(order.table, order.audio, order.by)
    tuned = _tuned(order, parent, ratings)
    ratings = ratings.take(ratings.with_any(tuned))
    heard = sound.hear(ratings.paths, order.work / "windows", partial(stage, "recordings"))
    _need_enough(heard, order)
    ratings = ratings.take(heard.places)
    plan = groups.plan(ratings.groups, order.by, order.hold_out, order.each)
    clips = _features(parent, heard, order, "rated", stage)
    place = Sound(clips, heard.of, heard.shares, len(heard.places))
    data = material(
        parent.network, place, ratings.labels, ratings.weights, tuned, _unlabelled(parent, order, stage)
    )
    done = _rounds(parent.network, data, ratings, plan, order.tuning, stage)
    truth = {key: values[plan.test] for key, values in ratings.labels.items()}
    made = margins.margins(parent.record.intervals, done.before, done.after, truth)
    outcome = Outcome(
        tuned, judged.judge(done.before, done.after, truth), plan, made, ratings.weighed_by, done.epochs,
        len(ratings.paths), heard.refused, reason="",
    )  # fmt: skip
    errors = fit.error(done.before, data, plan.test), fit.error(done.after, data, plan.test)
    reason = "" if order.force else _reason(order, data, ratings, plan, done.epochs, errors)
    if reason:
        return replace(outcome, reason=reason)
    _write(order, parent, done.network, outcome, _tuning(order, data, outcome, errors), clock)
    return outcome


def _tuned(order: Order, parent: Opened, ratings: Rated) -> tuple[str, ...]:
    """Heads that learn. Raises UsageError where the table has no ratings of them."""
    there = tuple(key for key in parent.record.targets if key in ratings.labels)
    if missing := [key for key in order.targets if key not in there]:
        raise UsageError(f"--target {missing[0]}: the table has ratings of {', '.join(there) or 'no score'} only")
    if not there:
        raise UsageError(f"'{parent.record.name}' has none of the scores that {order.table.path} rates")
    return tuple(key for key in there if key in order.targets) or there


def _need_enough(heard: sound.Heard, order: Order) -> None:
    if len(heard.places) < LEAST:
        why = f"; {heard.refused[0][0]}: {heard.refused[0][1]}" if heard.refused else ""
        raise UsageError(
            f"{order.table.path} has {len(heard.places)} rated recordings that can be scored, tuning needs "
            f"{LEAST}{why}"
        )


def _features(parent: Opened, heard: sound.Heard, order: Order, name: str, stage: Stage) -> list[frontend.Clip]:
    store = order.work / "features"
    return frontend.compute(
        parent.front_end, heard.pieces, store, name, partial(stage, f"features, {name}"), order.jobs
    )


def _unlabelled(parent: Opened, order: Order, stage: Stage) -> list[frontend.Clip]:
    """Pieces of the further audio; recordings that cannot be scored are left out."""
    if order.unlabelled is None:
        return []
    paths = batch.find(order.unlabelled)
    heard = sound.hear(paths, order.work / "windows", partial(stage, "unlabelled recordings"))
    return _features(parent, heard, order, "unlabelled", stage) if heard.pieces else []


@dataclass(frozen=True)
class _Tuned:
    """The network that is kept, and scores of all recordings that judge (plan.test) by networks that never saw
    them."""

    network: Network
    epochs: int
    before: dict[str, Array]
    after: dict[str, Array]


def _rounds(
    network: Network, data: Material, ratings: Rated, plan: Plan, config: TuneConfig, stage: Stage
) -> _Tuned:
    """All rounds of the plan, and the tuning that is kept: of a single round that is its own."""
    before, after = [], []
    places = [each.train for each in plan.rounds] + ([plan.final] if len(plan.rounds) > 1 else [])
    for number, learning in enumerate(places):
        progress = partial(stage, f"tuning {number + 1} of {len(places)}")
        found = fit.search(network, data, learning, ratings.groups, config, progress)
        tuned = fit.tune(network, data, learning, found.epochs, config)
        if number < len(plan.rounds):
            test = plan.rounds[number].test
            before.append(scores(network, data.sound, test))
            after.append(scores(tuned, data.sound, test))
    return _Tuned(tuned, found.epochs, _joined(before), _joined(after))


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _reason(
    order: Order, data: Material, ratings: Rated, plan: Plan, epochs: int, errors: tuple[float, float]
) -> str:
    """Why the tuned model should not be kept; empty: it should."""
    before, after = errors
    if epochs == 0 or not after < before:
        return (
            f"the tuned model is no better than '{order.model}' on what was held out (error {after:.4f}, before "
            f"{before:.4f}): nothing was written; --force writes it all the same"
        )
    there = rival.error(order.out, data, [ratings.paths[place] for place in plan.test], plan, _digest(order))
    if there is not None and there <= after + SAME_ERROR:
        return (
            f"{order.out} holds a model that is as good or better on what was held out (error {there:.4f}, this "
            f"one {after:.4f}): it stays; --force replaces it"
        )
    return ""


def _tuning(order: Order, data: Material, outcome: Outcome, errors: tuple[float, float]) -> dict[str, object]:
    """What the record says of how the model came about."""
    columns = {key: order.table.ratings[key].column for key in order.table.ratings}
    return {
        "labels": {"file": order.table.path.name, "sha256": _digest(order), "columns": columns},
        "recordings": outcome.recordings,
        "tuned": list(outcome.tuned),
        "split": outcome.plan.words,
        "weights": outcome.weighed_by,
        "epochs": outcome.epochs,
        "unlabelled_pieces": len(data.unlabelled),
        "options": asdict(order.tuning),
        "error": {"before": round(errors[0], 6), "after": round(errors[1], 6)},
        "figures": [asdict(figure) for figure in outcome.judged.figures],
        "moved": [asdict(moved) for moved in outcome.judged.moved],
        "intervals": dict(outcome.margins.told),
        "forced": order.force,
        "command": order.command,
    }


def _write(
    order: Order, parent: Opened, network: Network, outcome: Outcome, tuning: Mapping[str, object], clock: Clock
) -> None:
    """Export beside the features, then put the three files in place."""
    name = order.out.resolve().name
    told = [BY_KEY[key].name for key in outcome.tuned]
    after = [
        {**asdict(figure), "split": "held out"}
        for figure in outcome.judged.figures
        if figure.split == judged.AFTER
    ]
    labels = LABELS_ARE.format(
        targets=", ".join(told), recordings=outcome.recordings, file=order.table.path.name,
        parent=parent.about.get("labels", "unknown"),
    )  # fmt: skip
    about = {
        "licence": parent.record.licence,
        "config": {**parent.about["config"], "name": name},
        "version": __version__,
        "labels": labels,
        "seed": order.tuning.seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "parent": {"name": parent.record.name, "sha256": parent.record.sha256},
        "tuning": tuning,
        "figures": after,
        "minutes": clock.minutes(),
        "torch": torch.__version__,
    }
    if outcome.margins.intervals is not None:
        about["intervals"] = as_json(outcome.margins.intervals)
    order.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=order.work, prefix="model-") as folder:  # tunings may share what is heard
        made = Path(folder)
        export(network, parent.encoder, name, made, about, parent.int8)
        for suffix in (".safetensors", ".json", ".onnx"):
            partial = order.out / f"{name}{suffix}.tmp"
            shutil.copyfile(made / f"{name}{suffix}", partial)
            partial.replace(order.out / f"{name}{suffix}")


def _digest(order: Order) -> str:
    try:
        return hashlib.sha256(order.table.path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{order.table.path} went away meanwhile ({error.strerror})") from error
