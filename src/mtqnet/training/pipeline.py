"""`mtqnet train`: from folders of speech and noise to a model that scores, by one configuration and a seed.

    corpus -> features -> MPL, and encoder and network together (mpl.py) -> ONNX -> evaluation, intervals

Every stage stores its result in the run's folder, so an interrupted run resumes:
    RUN/corpus/          clips and labels (corpus/build.py)
    RUN/features/        features of each clip
    RUN/*.safetensors    checkpoints
    RUN/time.json        seconds of each stage
    RUN/model/NAME.onnx, NAME.safetensors, NAME.json   the model for `--model`, its weights, and its record
    RUN/model/NAME.md    the model card, written from the record
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet import __version__
from mtqnet.causes import CAUSE_KEYS
from mtqnet.corpus.degradations import CODEC, SUPPRESSION, VOCODER, kinds_of
from mtqnet.errors import UsageError
from mtqnet.scoring.intervals import as_json
from mtqnet.targets import BY_KEY, OBJECTIVE
from mtqnet.training import data, evaluation, mpl, tables, trainer
from mtqnet.training import encoder as encoders
from mtqnet.training.config import Config, NewToolsConfig
from mtqnet.training.data import CALIBRATION, Clock, Row, RunPaths, Stage, labels_of
from mtqnet.training.evaluation import Predicted
from mtqnet.training.export import Exported, export
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Network
from mtqnet.training.ratings import RATED
from mtqnet.training.trainer import Epoch

LABELS_ARE = "S-, N- and G-MOS: 3QUEST-style, anchored on public P.835 ratings; PESQ, STOI and SDI: computed"
TESTS = ("test", "unseen", "unseen2", RATED)
EVALUATION = "evaluation"
"""Name of the last stage"""


@dataclass(frozen=True)
class Listener:
    """Functions that are called with the progress of a run."""

    stage: Stage
    epoch: mpl.Report
    note: Callable[[str], None] = lambda _: None
    """Called with what the user should know about the data"""


SILENT = Listener(lambda *_: None, lambda *_: None)


@dataclass(frozen=True)
class TrainedModel:
    """A trained network, and what its record contains about its training."""

    config: Config
    network: Network
    encoder: encoders.SpeechEncoder | None
    about: Mapping[str, object]
    encoder_in: str = ""
    """A model in the folder of the exported one whose .safetensors file contains the same encoder"""


@dataclass(frozen=True)
class FinishedRun:
    """Result of a run."""

    exported: Exported
    figures: list[evaluation.Figure]
    minutes: dict[str, float]
    """By stage, summed over all calls of a resumed run"""


def train(config: Config, paths: RunPaths, listener: Listener) -> FinishedRun:
    """Run all stages. Arguments as `learn`. Raises MtqnetError."""
    return learn(config, paths, listener)()


def learn(config: Config, paths: RunPaths, listener: Listener) -> Callable[[], FinishedRun]:
    """Run all stages up to the trained network. Several processes (trainer.py) call this together.

    Returns:
        A function that does the rest, for one process.
    """
    if not config.has_corpus and not config.ratings.labels:
        raise UsageError(
            f"the configuration '{config.name}' has no training data: it needs [corpus], or a table of ratings "
            "(--labels TABLE, or labels in [ratings])"
        )
    clock = Clock(paths.out / "time.json")
    with trainer.first_alone() as process:
        listener = timed(listener, clock) if process.first else SILENT
        front_end, pretrained = FrontEnd.of_config(config), None
        about: dict[str, Any] = {"labels": LABELS_ARE}
        if config.ratings.labels:
            prepared = tables.prepare(config, paths, listener.stage)
            for note in prepared.notes:
                listener.note(note)
            rows, train_set, validation = prepared.rows, prepared.train, prepared.validation
            pretrained = prepared.pretrained
            names = ", ".join(Path(name).name for name in config.ratings.labels)
            about["labels"] = f"ratings of listeners ({names})"
            about["ratings"] = {**prepared.about, "notes": list(prepared.notes)}
        else:
            rows = data.corpus_rows(config, paths, listener.stage)
            train_set, validation = (
                data.dataset(front_end, rows, split, paths, listener.stage) for split in ("train", "validation")
            )
    stage = mpl.MPL(config, train_set, validation, paths.out, listener.epoch, pretrained)
    trained = stage.run()
    network = trained.student
    about["best_epochs"] = {"student": best_epoch(trained.student_history).epoch}
    if trained.teacher_history:
        best = best_epoch(trained.teacher_history)
        about["teacher_lcc_validation"] = {t.key: round(best.lcc[t.key], 4) for t in OBJECTIVE}
        about["best_epochs"] = {"teacher": best.epoch, **about["best_epochs"]}
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    if config.tune_encoder and encoder is not None:
        network, history = stage.tune(trained, encoder)
        about["best_epochs"]["end_to_end"] = best_epoch(history).epoch
    elif network.distance is not None:
        network.distance.fit(trainer.embeddings(network, train_set))
    return partial(finish, TrainedModel(config, network, encoder, about), rows, paths, listener, clock)


def finish(model: TrainedModel, rows: list[Row], paths: RunPaths, listener: Listener, clock: Clock) -> FinishedRun:
    """Export a network, evaluate and calibrate the exported model on the other clips, and write its record."""
    config = model.config
    labels, unlabelled = (
        tuple(Path(name).name for name in names) for names in (config.ratings.labels, config.ratings.unlabelled)
    )
    stored = replace(  # no paths
        config, encoder=replace(config.encoder, weights=Path(config.encoder.weights).name),
        ratings=replace(config.ratings, labels=labels, unlabelled=unlabelled), pretrained=Path(config.pretrained).name,
    )  # fmt: skip
    parts = [model.network, *([model.encoder] if config.tune_encoder and model.encoder else [])]
    about = {
        "licence": _licence(config), "config": asdict(stored), "version": __version__, "seed": config.seed,
        "parameters": sum(p.numel() for part in parts for p in part.parameters()), "torch": torch.__version__,
        **model.about,
    }  # fmt: skip
    exported = export(
        model.network, model.encoder, config.name, paths.out / "model", about, config.int8, model.encoder_in
    )
    held_out = [row for row in rows if row["split"] != "train"]
    clock.seconds.pop(EVALUATION, None)  # every call repeats it completely
    predicted = evaluation.predict(
        exported.model, held_out, paths.corpus, lambda a, b: listener.stage(EVALUATION, a, b)
    )
    figures = evaluation.figures(held_out, predicted.scores)
    minutes = clock.minutes()
    record = json.loads(exported.record.read_text())
    record |= {"figures": [asdict(figure) for figure in figures], "minutes": minutes}
    record |= _tested(held_out, predicted, config.new_tools) | _causes(held_out, predicted)
    record |= _differences(held_out, predicted)
    record["local"] = config.student.mix > 0 or (config.tune_encoder and config.tune.mix > 0)
    record["kinds"] = sorted({step for row in rows if row["split"] == "train" for step in row["steps"]})
    exported.record.write_text(json.dumps(record, indent=1) + "\n")
    exported.record.with_suffix(".md").write_text(card_text(record), encoding="utf-8")
    return FinishedRun(exported, figures, minutes)


def timed(listener: Listener, clock: Clock) -> Listener:
    """Return the same listener; the time between its calls is added to the clock."""

    def epoch(network: str, result: Epoch, total: int) -> None:
        clock.tick(network)
        listener.epoch(network, result, total)

    return Listener(clock.timed(listener.stage), epoch, listener.note)


def best_epoch(history: list[Epoch]) -> Epoch:
    """Return the epoch with the lowest validation error."""
    return min(history, key=lambda epoch: epoch.validation_error)


def _causes(rows: list[Row], predicted: Predicted) -> dict[str, object]:
    """Return the calibration of the causes, and how well they are detected on the test clips."""
    if predicted.causes is None:
        return {}
    calibrating, tests = _indices(rows, (CALIBRATION,)), _indices(rows, TESTS)
    truth, fitted, probabilities = evaluation.present(rows), {}, predicted.causes.copy()
    for place, key in enumerate(CAUSE_KEYS):
        fitted[key] = evaluation.logistic(predicted.causes[calibrating, place], truth[calibrating, place])
        probabilities[:, place] = fitted[key](predicted.causes[:, place])
    return {
        "causes": {key: asdict(each) for key, each in fitted.items()},
        "cause_figures": evaluation.cause_figures([rows[index] for index in tests], probabilities[tests]),
    }


def _tested(rows: list[Row], predicted: Predicted, new_tools: NewToolsConfig) -> dict[str, object]:
    """Return the largest errors on the test clips and, with enough calibration clips, intervals and their coverage."""
    targets, selected = list(predicted.scores), evaluation.selected
    labels, tests, calibrating = labels_of(rows, targets), _indices(rows, TESTS), _indices(rows, (CALIBRATION,))
    tested = [rows[index] for index in tests]
    found: dict[str, object] = {"failures": evaluation.failures(tested, selected(tests, predicted.scores))}
    known = {key: np.isfinite(labels[key] + predicted.scores[key])[calibrating].sum() for key in targets}
    targets = [key for key in targets if known[key] >= evaluation.LEAST]
    if not targets:
        return found
    with_tool = [_with_tool(rows[index]) for index in calibrating]
    intervals = evaluation.fit(
        selected(calibrating, predicted.with_distance), selected(calibrating, labels), targets,
        factors={key: np.where(with_tool, vars(new_tools)[key], 1.0) for key in targets},
    )  # fmt: skip
    scores = selected(tests, predicted.with_distance)
    coverage = evaluation.by_kind(intervals, tested, scores, selected(tests, labels))
    return {**found, "intervals": as_json(intervals), "coverage": coverage}


def _differences(rows: list[Row], predicted: Predicted) -> dict[str, object]:
    """Return the error of differences between validation clips of the same speech; nothing without a corpus."""
    used = [n for n in _indices(rows, ("validation", CALIBRATION)) if "recipe" in rows[n]]
    if not used:
        return {}
    chosen, targets = np.array(used, dtype=np.int64), list(predicted.scores)
    labels = evaluation.selected(chosen, labels_of(rows, targets))
    speech = [json.loads(rows[n]["recipe"])["speech"] for n in used]
    errors = evaluation.difference_error(evaluation.selected(chosen, predicted.scores), labels, speech, targets)
    return {"difference_error": errors} if errors else {}


def _with_tool(row: Row) -> bool:
    """Whether a clip went through a codec or a suppressor."""
    return bool({CODEC, VOCODER, SUPPRESSION} & set(kinds_of(row.get("steps", ()))))


def _indices(rows: list[Row], splits: tuple[str, ...]) -> NDArray[np.int64]:
    return np.flatnonzero([row["split"] in splits for row in rows])


def _licence(config: Config) -> str:
    if "encoder" not in config.network.front_ends:
        return "MIT"
    if config.encoder.name == encoders.WHISPER:
        return "MIT; contains layers of OpenAI's Whisper tiny.en (MIT), see NOTICE"
    return f"contains layers of {config.encoder.name}, under the licence of that model"


LIMITS = (
    "The figures apply to recordings like those of the test splits: the same kinds of degradation, languages, devices "
    "and listeners. Scores of other recordings may have larger errors. Predictions are no replacement for a listening "
    "test."
)
NO_INTERVALS = (
    "None: intervals of a score need at least 40 calibration recordings with its label, which are every second "
    "validation recording of a table with 80 or more of them."
)


def card_text(record: Mapping[str, Any]) -> str:
    """Return the model card of a record as Markdown."""
    lines = [
        f"# Model card: {record['name']}", "",
        f"Predicts {', '.join(BY_KEY[key].name for key in record['targets'])} from a single recording. "
        f"`mtqnet score call.wav --model {record['name']}.onnx`", "",
        f"- Labels: {record.get('labels', 'unknown')}", f"- Licence: {record['licence']}",
        f"- Method: {record['config']['method']}, seed {record['config']['seed']}, mtqnet {record.get('version', '')}",
        f"- Parameters: {record.get('parameters', 'unknown')}", f"- sha256 of the graph: {record['sha256']}",
    ]  # fmt: skip
    if ratings := record.get("ratings"):
        splits = ", ".join(f"{count} {split}" for split, count in ratings["splits"].items())
        by = f"grouped by {ratings['by']}" if ratings["by"] else "not grouped"
        lines += ["", "## Training data", "", f"- {', '.join(ratings['tables'])}: {ratings['recordings']} recordings "
                  f"in {ratings['groups']} groups ({by}); {splits}",
                  f"- Segments without ratings: {ratings['unlabelled']}"]  # fmt: skip
        if teacher := ratings.get("teacher"):
            lines.append(f"- Pseudo labels by {teacher['name']} (sha256 {teacher['sha256'][:12]})")
            lines += [
                f"    - LCC with true {BY_KEY[key].name.split()[0]} on {each['clips']} segments: {each['lcc']:.3f}"
                for key, each in teacher["figures"].items()
            ]
        lines += [f"- Note: {note}" for note in ratings["notes"]]
    lines += [
        "",
        "## Figures",
        "",
        "| split | score | recordings | LCC | SRCC | RMSE |",
        "|---|---|---|---|---|---|",
    ]
    for f in record["figures"]:
        numbers = " | ".join(f"{f[name]:.3f}" for name in ("lcc", "srcc", "rmse"))
        lines.append(f"| {f['split']} | {BY_KEY[f['target']].name} | {f['clips']} | {numbers} |")
    intervals = NO_INTERVALS
    if "intervals" in record:
        covered = [row for row in record.get("coverage", []) if ":" not in row["kind"]]
        parts = [f"{row['kind']} {BY_KEY[row['target']].name} {row['share']:.2f}" for row in covered]
        labels = ", ".join(parts) or "not measured"
        intervals = f"90 % prediction intervals. Fraction of the labels inside: {labels}."
    return "\n".join([*lines, "", "## Intervals", "", intervals, "", "## Limits", "", LIMITS, ""])
