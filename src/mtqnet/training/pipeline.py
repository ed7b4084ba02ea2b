"""`mtqnet train`: from folders of speech and noise to a model that scores, by one configuration and a seed.

    corpus -> features -> MPL (mpl.py) -> encoder and network together (end_to_end.py) -> ONNX -> evaluation,
    intervals

Every stage stores its result in the run's folder, so an interrupted run resumes:
    RUN/corpus/          clips and labels (corpus/build.py)
    RUN/features/        features of each clip
    RUN/existing/        scores of existing models, if they are additional teachers
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
from mtqnet.corpus import peers
from mtqnet.errors import UsageError
from mtqnet.labels.ensemble import CODEC, SUPPRESSION, VOCODER, kinds_of
from mtqnet.scoring.intervals import as_json
from mtqnet.targets import BY_KEY, OBJECTIVE
from mtqnet.training import calibration, end_to_end, evaluation, mpl, parallel, tables, trainer
from mtqnet.training import encoder as encoders
from mtqnet.training.batches import labels_of
from mtqnet.training.config import Config, NewToolsConfig
from mtqnet.training.data import (
    CALIBRATION,
    Clock,
    Row,
    RunPaths,
    Stage,
    corpus_rows,
    dataset,
    excerpts,
    existing_scores,
)
from mtqnet.training.evaluation import Predicted
from mtqnet.training.export import Exported, export
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Network
from mtqnet.training.trainer import Epoch

LABELS_ARE = "S-, N- and G-MOS: 3QUEST-style, anchored on public P.835 ratings; PESQ, STOI and SDI: computed"
TESTS = ("test", "unseen", "unseen2", tables.RATED)
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


def train(
    config: Config, paths: RunPaths, listener: Listener, existing_python: Path = peers.PYTHON
) -> FinishedRun:
    """Run all stages. Arguments as `learn`. Raises MtqnetError."""
    return learn(config, paths, listener, existing_python)()


def learn(
    config: Config, paths: RunPaths, listener: Listener, existing_python: Path = peers.PYTHON
) -> Callable[[], FinishedRun]:
    """Run all stages up to the trained network. Several processes (parallel.py) call this together.

    Args:
        config: The configuration.
        paths: Where to read and write.
        listener: Called with the progress.
        existing_python: Interpreter of an environment with the existing models (corpus/peers.py), if the
            configuration uses them as teachers.

    Returns:
        A function that does the rest, for one process.
    """
    if not config.has_corpus and not config.ratings.labels:
        raise UsageError(
            f"the configuration '{config.name}' has no training data: it needs [corpus], or a table of ratings "
            "(--labels TABLE, or labels in [ratings])"
        )
    clock = Clock(paths.out / "time.json")
    if config.ratings.labels:
        listener = timed(listener, clock)
        return _learn_from_tables(config, paths, listener, clock)
    with parallel.first_alone() as process:
        listener = timed(listener, clock) if process.first else SILENT
        rows = corpus_rows(config, paths, listener.stage, existing_python)
        front_end = FrontEnd.of_config(config)
        train_set, validation = (
            dataset(front_end, rows, split, paths, listener.stage).with_labels(
                existing_scores(
                    config.existing_models, excerpts(rows, split, paths), split, paths.out / "existing",
                    existing_python, paths.jobs, listener.stage,
                )
            )
            for split in ("train", "validation")
        )  # fmt: skip
    stage = mpl.MPL(config, train_set, validation, paths.out, listener.epoch)
    trained = stage.run()
    network, about = trained.student, _about(config, trained)
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    if config.tune_encoder and encoder is not None:
        tuned = end_to_end.tune(stage, trained, encoder, paths.out)
        network = tuned.network
        about["best_epochs"] = {**about["best_epochs"], "end_to_end": _best(tuned.history).epoch}
        about["parameters"] = sum(p.numel() for part in (network, encoder) for p in part.parameters())
    elif network.distance is not None:
        network.distance.fit(trainer.embeddings(network, train_set))
    return partial(finish, TrainedModel(config, network, encoder, about), rows, paths, listener, clock)


def _learn_from_tables(
    config: Config, paths: RunPaths, listener: Listener, clock: Clock
) -> Callable[[], FinishedRun]:
    """Run all stages up to the trained network for tables of ratings, with or without a corpus."""
    prepared = tables.prepare(config, paths, listener.stage)
    for note in prepared.notes:
        listener.note(note)
    stage = mpl.MPL(
        config, prepared.train, prepared.validation, paths.out, listener.epoch, prepared.pretrained
    )  # fmt: skip
    trained = stage.run()
    network, about = trained.student, _about(config, trained)
    about["labels"] = f"ratings of listeners ({', '.join(Path(name).name for name in config.ratings.labels)})"
    about["ratings"] = {**prepared.about, "notes": list(prepared.notes)}
    if network.distance is not None:
        network.distance.fit(trainer.embeddings(network, prepared.train))
    front_end = FrontEnd.of_config(config)
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    return partial(finish, TrainedModel(config, network, encoder, about), prepared.rows, paths, listener, clock)


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
    about = {"licence": _licence(config), "config": asdict(stored), **model.about}
    exported = export(
        model.network, model.encoder, config.name, paths.out / "model", about, config.int8, model.encoder_in
    )
    held_out = [row for row in rows if row["split"] != "train"]
    clock.reset(EVALUATION)
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
    write_card(exported.record)
    return FinishedRun(exported, figures, minutes)


def timed(listener: Listener, clock: Clock) -> Listener:
    """Return the same listener; the time between its calls is added to the clock."""

    def epoch(network: str, result: Epoch, total: int) -> None:
        clock.tick(network)
        listener.epoch(network, result, total)

    return Listener(clock.timed(listener.stage), epoch, listener.note)


def _about(config: Config, trained: mpl.Trained) -> dict[str, Any]:
    about: dict[str, Any] = {
        "version": __version__,
        "labels": LABELS_ARE,
        "seed": config.seed,
        "parameters": sum(p.numel() for p in trained.student.parameters()),
        "best_epochs": {"student": _best(trained.student_history).epoch},
        "torch": torch.__version__,
    }
    if trained.teacher_history:
        teacher = _best(trained.teacher_history)
        about["teacher_lcc_validation"] = {t.key: round(teacher.lcc[t.key], 4) for t in OBJECTIVE}
        about["best_epochs"] = {"teacher": teacher.epoch, **about["best_epochs"]}
    return about


def _best(history: list[Epoch]) -> Epoch:
    return min(history, key=lambda epoch: epoch.validation_error)


def _causes(rows: list[Row], predicted: Predicted) -> dict[str, object]:
    """Return the calibration of the causes, and how well they are detected on the test clips."""
    if predicted.causes is None:
        return {}
    calibrating, tests = _indices(rows, (CALIBRATION,)), _indices(rows, TESTS)
    truth, fitted, probabilities = evaluation.present(rows), {}, predicted.causes.copy()
    for place, key in enumerate(CAUSE_KEYS):
        fitted[key] = calibration.logistic(predicted.causes[calibrating, place], truth[calibrating, place])
        probabilities[:, place] = fitted[key](predicted.causes[:, place])
    figures = evaluation.cause_figures([rows[index] for index in tests], probabilities[tests])
    return {
        "causes": {key: asdict(each) for key, each in fitted.items()},
        "cause_figures": [asdict(figure) for figure in figures],
    }


def _tested(rows: list[Row], predicted: Predicted, new_tools: NewToolsConfig) -> dict[str, object]:
    """Return the largest errors on the test clips and, with enough calibration clips, intervals and their
    coverage."""
    targets = list(predicted.scores)
    labels = labels_of(rows, targets)
    tests = _indices(rows, TESTS)
    tested, scores = [rows[index] for index in tests], calibration.selected(tests, predicted.with_distance)
    failures: dict[str, object] = {
        "failures": [
            asdict(failure)
            for failure in evaluation.failures(tested, calibration.selected(tests, predicted.scores))
        ]
    }
    calibrating = _indices(rows, (CALIBRATION,))
    known = {key: np.isfinite(labels[key] + predicted.scores[key])[calibrating].sum() for key in targets}
    targets = [key for key in targets if known[key] >= calibration.LEAST]
    if not targets:
        return failures
    with_tool = [_with_tool(rows[index]) for index in calibrating]
    intervals = calibration.fit(
        calibration.selected(calibrating, predicted.with_distance),
        calibration.selected(calibrating, labels),
        targets,
        factors={key: np.where(with_tool, vars(new_tools)[key], 1.0) for key in targets},
    )
    coverage = calibration.by_kind(intervals, tested, scores, calibration.selected(tests, labels))
    return {**failures, "intervals": as_json(intervals), "coverage": [asdict(row) for row in coverage]}


def _differences(rows: list[Row], predicted: Predicted) -> dict[str, object]:
    """Return the error of differences between validation clips of the same speech; nothing without a corpus."""
    used = [n for n in _indices(rows, ("validation", CALIBRATION)) if "recipe" in rows[n]]
    if not used:
        return {}
    chosen = np.array(used, dtype=np.int64)
    targets = list(predicted.scores)
    errors = calibration.difference_error(
        calibration.selected(chosen, predicted.scores),
        calibration.selected(chosen, labels_of(rows, targets)),
        [json.loads(rows[n]["recipe"])["speech"] for n in used],
        targets,
    )
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


def write_card(record: Path) -> Path:
    """Write the card of a record and return its path."""
    card = record.with_suffix(".md")
    card.write_text(card_text(json.loads(record.read_text(encoding="utf-8"))), encoding="utf-8")
    return card


def card_text(record: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    targets = ", ".join(BY_KEY[key].name for key in record["targets"])
    lines = [
        f"# Model card: {record['name']}", "",
        f"Predicts {targets} from a single recording. `mtqnet score call.wav --model {record['name']}.onnx`", "",
        f"- Labels: {record.get('labels', 'unknown')}", f"- Licence: {record['licence']}",
        f"- Method: {record['config']['method']}, seed {record['config']['seed']}, mtqnet {record.get('version', '')}",
        f"- Parameters: {record.get('parameters', 'unknown')}", f"- sha256 of the graph: {record['sha256']}",
    ]  # fmt: skip
    lines += _data(record.get("ratings", {}))
    lines += ["", "## Figures", "", *_figures(record["figures"])]
    lines += ["", "## Intervals", "", _intervals(record), "", "## Limits", "", LIMITS, ""]
    return "\n".join(lines)


def _data(ratings: Mapping[str, Any]) -> list[str]:
    if not ratings:
        return []
    splits = ", ".join(f"{count} {split}" for split, count in ratings["splits"].items())
    by = f"grouped by {ratings['by']}" if ratings["by"] else "not grouped"
    lines = ["", "## Training data", "", f"- {', '.join(ratings['tables'])}: {ratings['recordings']} recordings in "
             f"{ratings['groups']} groups ({by}); {splits}",
             f"- Segments without ratings: {ratings['unlabelled']}"]  # fmt: skip
    if teacher := ratings.get("teacher"):
        lines.append(f"- Pseudo labels by {teacher['name']} (sha256 {teacher['sha256'][:12]})")
        lines += [
            f"    - LCC with true {BY_KEY[key].name.split()[0]} on {each['clips']} segments: {each['lcc']:.3f}"
            for key, each in teacher["figures"].items()
        ]
    return [*lines, *(f"- Note: {note}" for note in ratings["notes"])]


def _figures(figures: list[Mapping[str, Any]]) -> list[str]:
    lines = ["| split | score | recordings | LCC | SRCC | RMSE |", "|---|---|---|---|---|---|"]
    for f in figures:
        numbers = " | ".join(f"{f[name]:.3f}" for name in ("lcc", "srcc", "rmse"))
        lines.append(f"| {f['split']} | {BY_KEY[f['target']].name} | {f['clips']} | {numbers} |")
    return lines


def _intervals(record: Mapping[str, Any]) -> str:
    if "intervals" not in record:
        return (
            "None: intervals of a score need at least 40 calibration recordings with its label, which are every second "
            "validation recording of a table with 80 or more of them."
        )
    covered = [row for row in record.get("coverage", []) if ":" not in row["kind"]]
    parts = [f"{row['kind']} {BY_KEY[row['target']].name} {row['share']:.2f}" for row in covered]
    return f"90 % prediction intervals. Fraction of the labels inside: {', '.join(parts) or 'not measured'}."
