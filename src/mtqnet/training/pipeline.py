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

from pathlib import Path

import numpy as np
import torch

from mtqnet import __version__
from mtqnet.corpus import peers
from mtqnet.corpus.table import excerpt, read_rows
from mtqnet.targets import OBJECTIVE
from mtqnet.training import encoder as encoders
from mtqnet.training import frontend, loop, mpl
from mtqnet.training.clock import Clock
from mtqnet.training.config import Config
from mtqnet.training.dataset import Labels
from mtqnet.training.finish import Listener, Made, Row, Run, finish, judging_and_calibrating, timed
from mtqnet.training.prepare import build_corpus, dataset

LABELS_ARE = "S-, N- and G-MOS: 3QUEST-style, anchored on public P.835 ratings; PESQ, STOI and SDI: computed"


def train(
    config: Config, data: Path, out: Path, listener: Listener, jobs: int = 0, peers_python: Path = peers.PYTHON
) -> Run:
    """Run all stages. `data` is the folder that the configuration's sources lie in.

    `peers_python` is the interpreter of an environment with the peers (corpus/peers.py), where the configuration
    has them as teachers.
    """
    clock = Clock(out / "time.json")
    listener = timed(listener, clock)
    table = build_corpus(config.corpus, data, out / "corpus", listener.stage, jobs)
    rows = judging_and_calibrating(read_rows(table))
    front_end = frontend.FrontEnd.of(config)
    sets = {split: dataset(front_end, rows, split, out, listener.stage, jobs) for split in ("train", "validation")}
    sets = {
        split: data.with_labels(_said(config, rows, split, out, listener, jobs, peers_python))
        for split, data in sets.items()
    }
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    width = encoder.width if encoder is not None else 0
    trained = mpl.run(config, sets["train"], sets["validation"], width, out, listener.epoch)
    made = Made(config, trained.student, encoder, _about(config, trained))
    return finish(made, rows, out, listener, clock)


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


def _about(config: Config, trained: mpl.Trained) -> dict[str, object]:
    teacher = min(trained.teacher_history, key=lambda e: e.validation_error)
    return {
        "version": __version__,
        "labels": LABELS_ARE,
        "seed": config.seed,
        "parameters": sum(p.numel() for p in trained.student.parameters()),
        "teacher_lcc_validation": {t.key: round(teacher.lcc[t.key], 4) for t in OBJECTIVE},
        "best_epochs": {"teacher": teacher.epoch, "student": _best(trained.student_history)},
        "torch": torch.__version__,
    }


def _best(history: list[loop.Epoch]) -> int:
    return min(history, key=lambda e: e.validation_error).epoch
