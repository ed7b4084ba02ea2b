"""`mtqnet train`: from folders of speech and noise to a model that scores, by one configuration and a seed.

    corpus -> features -> MOSA-Net -> pseudo labels -> MTQ-Net -> ONNX -> figures

Every stage leaves whole files in the run's folder and finds them again, so a killed run goes on where it was:
    RUN/corpus/      clips and labels (corpus/build.py)
    RUN/features/    what the frozen front end gives for each clip
    RUN/peers/       what other predictors say of clips, where they are teachers
    RUN/*.safetensors  checkpoints of both networks
    RUN/time.json    seconds of each stage
    RUN/model/       NAME.onnx, NAME.json (with the figures) and NAME.safetensors: what `--model` takes
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from mtqnet import __version__
from mtqnet.bars import Stage
from mtqnet.corpus import build as corpus
from mtqnet.corpus import peers
from mtqnet.corpus.pool import Sources
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import excerpt, read_rows
from mtqnet.targets import KEYS, OBJECTIVE
from mtqnet.training import encoder as encoders
from mtqnet.training import evaluate, frontend, loop, mpl
from mtqnet.training.clock import Clock
from mtqnet.training.config import Config, CorpusConfig
from mtqnet.training.dataset import Dataset, Labels, labels_of
from mtqnet.training.export import Exported, export

Row = dict[str, Any]

LABELS_ARE = "S-, N- and G-MOS: 3QUEST-style, anchored on public P.835 ratings; PESQ, STOI and SDI: computed"


@dataclass(frozen=True)
class Listener:
    """Whom a run tells how it goes."""

    stage: Stage
    epoch: mpl.Report


@dataclass(frozen=True)
class Run:
    """What a run made."""

    exported: Exported
    figures: list[evaluate.Figure]
    minutes: dict[str, float]
    """By stage, over all calls that made it: a resumed run adds up."""


def train(
    config: Config, data: Path, out: Path, listener: Listener, jobs: int = 0, peers_python: Path = peers.PYTHON
) -> Run:
    """Run all stages. `data` is the folder that the configuration's sources lie in.

    `peers_python` is the interpreter of an environment with the peers (corpus/peers.py), where the configuration
    has them as teachers.
    """
    clock = Clock(out / "time.json")
    listener = timed(listener, clock)
    table = build_corpus(config.corpus, data, out / "corpus", listener, jobs)
    rows = read_rows(table)
    front_end = frontend.FrontEnd.of(config)
    sets = {split: _dataset(front_end, rows, split, out, listener, jobs) for split in ("train", "validation")}
    sets = {
        split: data.with_labels(_said(config, rows, split, out, listener, jobs, peers_python))
        for split, data in sets.items()
    }
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    width = encoder.width if encoder is not None else 0
    trained = mpl.run(config, sets["train"], sets["validation"], width, out, listener.epoch)
    return _finish(config, trained, encoder, rows, out, listener, clock)


def timed(listener: Listener, clock: Clock) -> Listener:
    """The same listener, with the time between its calls written down."""

    def stage(name: str, done: int, total: int) -> None:
        clock.tick(name)
        listener.stage(name, done, total)

    def epoch(network: str, result: loop.Epoch, total: int) -> None:
        clock.tick(network)
        listener.epoch(network, result, total)

    return Listener(stage, epoch)


def build_corpus(config: CorpusConfig, data: Path, out: Path, listener: Listener, jobs: int = 0) -> Path:
    """The corpus of a configuration; its table."""
    sources = Sources(
        tuple(data / folder for folder in config.speech),
        tuple(data / folder for folder in config.noise),
        tuple(data / folder for folder in config.rooms),
    )
    clips = {split: getattr(config, split) for split in SPLITS}
    order = corpus.Order(sources, clips, config.seed, config.split_seed)
    return corpus.build(order, out, jobs=jobs, progress=lambda a, b: listener.stage("corpus", a, b)).table


def _dataset(
    front_end: frontend.FrontEnd, rows: list[Row], split: str, out: Path, listener: Listener, jobs: int
) -> Dataset:
    of_split = [row for row in rows if row["split"] == split]
    sources = [excerpt(out / "corpus", row) for row in of_split]
    clips = frontend.compute(
        front_end, sources, out / "features", split, lambda a, b: listener.stage(f"features, {split}", a, b), jobs
    )
    return Dataset(clips, labels_of(of_split, KEYS))


def _said(
    config: Config, rows: list[Row], split: str, out: Path, listener: Listener, jobs: int, python: Path
) -> Labels:
    """What the peers that are teachers say of a split: of its first clips in training, of all that validate."""
    keys = config.peers.heads
    if not keys:
        return {}
    clips = [excerpt(out / "corpus", row) for row in rows if row["split"] == split]
    asked = clips[: config.peers.clips or None] if split == "train" else clips
    scores = peers.score(
        python, asked, out / "peers", split, jobs, lambda a, b: listener.stage(f"peers, {split}", a, b),
        peers.predictors_of(keys),
    )  # fmt: skip
    unknown = np.full(len(clips) - len(asked), np.nan)
    return {key: np.concatenate([scores[key], unknown]) for key in keys}


def _finish(
    config: Config,
    trained: mpl.Trained,
    encoder: encoders.SpeechEncoder | None,
    rows: list[Row],
    out: Path,
    listener: Listener,
    clock: Clock,
) -> Run:
    """Export, evaluate through the exported file, and write what is known of the model beside it."""
    folder = out / "model"
    made = export(trained.student, encoder, config.name, folder, _about(config, trained))
    held_out = [row for row in rows if row["split"] != "train"]
    figures = evaluate.figures(
        made.model, held_out, out / "corpus", lambda a, b: listener.stage("evaluation", a, b)
    )
    minutes = clock.minutes()
    record = json.loads(made.record.read_text())
    record |= {"figures": [asdict(figure) for figure in figures], "minutes": minutes}
    made.record.write_text(json.dumps(record, indent=1) + "\n")
    weights = {name: tensor.contiguous() for name, tensor in trained.student.state_dict().items()}
    save_file(weights, folder / f"{config.name}.safetensors", {"network": json.dumps(asdict(config.network))})
    return Run(made, figures, minutes)


def _about(config: Config, trained: mpl.Trained) -> dict[str, object]:
    teacher = min(trained.teacher_history, key=lambda e: e.validation_error)
    return {
        "version": __version__,
        "licence": _licence(config),
        "labels": LABELS_ARE,
        "seed": config.seed,
        "config": asdict(config),
        "parameters": sum(p.numel() for p in trained.student.parameters()),
        "teacher_lcc_validation": {t.key: round(teacher.lcc[t.key], 4) for t in OBJECTIVE},
        "best_epochs": {"teacher": teacher.epoch, "student": _best(trained.student_history)},
        "torch": torch.__version__,
    }


def _licence(config: Config) -> str:
    if "encoder" not in config.network.front_ends:
        return "MIT"
    if config.encoder.name == encoders.WHISPER:
        return "MIT; contains layers of OpenAI's Whisper tiny.en (MIT), see NOTICE"
    return f"contains layers of {config.encoder.name}, under the licence of that model"


def _best(history: list[loop.Epoch]) -> int:
    return min(history, key=lambda e: e.validation_error).epoch
