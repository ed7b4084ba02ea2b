"""`mtqnet train`: from folders of speech and noise to a model that scores, by one configuration and a seed.

    corpus -> features -> MOSA-Net -> pseudo labels -> MTQ-Net -> encoder and network together -> ONNX -> figures

Every stage leaves whole files in the run's folder and finds them again, so a killed run goes on where it was:
    RUN/corpus/      clips and labels (corpus/build.py)
    RUN/features/    what the frozen front end gives for each clip
    RUN/peers/       what other predictors say of clips, where they are teachers
    RUN/*.safetensors  checkpoints of both networks, and of encoder and network together
    RUN/time.json    seconds of each stage
    RUN/model/       NAME.onnx, NAME.json (with the figures) and NAME.safetensors: what `--model` takes
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mtqnet import __version__
from mtqnet.audio.reading import Excerpt
from mtqnet.corpus import peers
from mtqnet.corpus.table import excerpt
from mtqnet.targets import OBJECTIVE
from mtqnet.training import encoder as encoders
from mtqnet.training import end_to_end, frontend, loop, mpl, parallel, prepare
from mtqnet.training.clock import Clock
from mtqnet.training.config import Config
from mtqnet.training.finish import SILENT, Listener, Made, Row, Run, finish, judging_and_calibrating, timed
from mtqnet.training.prepare import Place, dataset

LABELS_ARE = "S-, N- and G-MOS: 3QUEST-style, anchored on public P.835 ratings; PESQ, STOI and SDI: computed"


def train(config: Config, place: Place, listener: Listener, peers_python: Path = peers.PYTHON) -> Run:
    """Run all stages.

    `peers_python` is the interpreter of an environment with the peers (corpus/peers.py), where the configuration
    has them as teachers. Raises MtqnetError.
    """
    return learn(config, place, listener, peers_python)()


def learn(
    config: Config, place: Place, listener: Listener, peers_python: Path = peers.PYTHON
) -> Callable[[], Run]:
    """All stages up to the trained network; gives back what does the rest, for one process.

    Several processes (parallel.py) call this together.
    """
    clock = Clock(place.out / "time.json")
    with parallel.first_alone() as share:
        listener = timed(listener, clock) if share.first else SILENT
        rows = judging_and_calibrating(prepare.labelled_rows(config, place, listener.stage, peers_python))
        front_end = frontend.FrontEnd.of(config)
        train, validation = (
            dataset(front_end, rows, split, place, listener.stage).with_labels(
                prepare.peers_said(
                    config.peers,
                    _clips(rows, split, place),
                    split,
                    place.out / "peers",
                    peers_python,
                    place.jobs,
                    listener.stage,
                )
            )
            for split in ("train", "validation")
        )
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    width = encoder.width if encoder is not None else 0
    trained = mpl.run(config, train, validation, width, place.out, listener.epoch)
    about = _about(config, trained)
    network = trained.student
    if config.tune_encoder and encoder is not None:
        network, history = end_to_end.learn(config, trained, encoder, train, validation, place.out, listener.epoch)
        about["best_epochs"] = {**about["best_epochs"], "end_to_end": _best(history)}
        about["parameters"] = sum(p.numel() for part in (network, encoder) for p in part.parameters())
    return partial(finish, Made(config, network, encoder, about), rows, place, listener, clock)


def _clips(rows: list[Row], split: str, place: Place) -> list[Excerpt]:
    return [excerpt(place.corpus, row) for row in rows if row["split"] == split]


def _about(config: Config, trained: mpl.Trained) -> dict[str, Any]:
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
