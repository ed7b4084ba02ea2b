"""`mtqnet train` with a [distil] section: a small network learns what a large model says. The pseudo-label idea once
more.

    corpus -> the model's scores of every clip -> small network -> ONNX -> figures, intervals

The model's scores are pseudo labels of all six targets. Where a clip has labels of its own, both are mixed on the
training scale; clips without labels cost nothing but the mixing of their sound. As in pipeline.py every stage
leaves whole files in the run's folder and finds them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from mtqnet import __version__
from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.table import excerpt
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, named
from mtqnet.training import encoder as encoders
from mtqnet.training import frontend, hints, loop, losses, mpl, parallel, pieces
from mtqnet.training.clock import Clock
from mtqnet.training.config import Config
from mtqnet.training.dataset import Dataset, Labels
from mtqnet.training.finish import SILENT, Listener, Made, Run, finish, judging_and_calibrating, timed
from mtqnet.training.network import Network, Trainable
from mtqnet.training.prepare import Place, dataset, labelled_rows

LABELS_ARE = (
    "scores of {teacher}, mixed ({share:.0%}) with its own kind of labels: S-, N- and G-MOS: 3QUEST-style, "
    "anchored on public P.835 ratings; PESQ, STOI and SDI: computed"
)


def distil(config: Config, place: Place, listener: Listener) -> Run:
    """Run all stages. Raises MtqnetError."""
    return taught(config, place, listener)()


def taught(config: Config, place: Place, listener: Listener) -> Callable[[], Run]:
    """All stages up to the trained network; gives back what does the rest, for one process.

    Several processes (parallel.py) call this together.
    """
    teacher = models.find(config.distil.teacher)
    if missing := [key for key in KEYS if key not in teacher.targets]:
        raise UsageError(f"the teacher {teacher.name!r} does not score {', '.join(missing)}")
    if config.distil.hint:
        hints.need(teacher, config.network)  # before hours of work
    clock = Clock(place.out / "time.json")
    with parallel.first_alone() as share:
        listener = timed(listener, clock) if share.first else SILENT
        rows = judging_and_calibrating(labelled_rows(config, place, listener.stage))
        front_end = frontend.FrontEnd.of(config)
        train, validation = (
            dataset(front_end, rows, split, place, listener.stage) for split in ("train", "validation")
        )
        clips = [excerpt(place.corpus, row) for row in rows if row["split"] == "train"]
        store = place.out / "taught"
        said = teach(teacher, clips, store, place.jobs, partial(listener.stage, "teacher"))
        heard: list[hints.Frames] = []
        if config.distil.hint:
            heard = hints.hear(
                teacher, clips, store, place.jobs, partial(listener.stage, "what the teacher hears")
            )
    train = train.with_labels(mixed(train.labels, said, config.distil.share))
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    width = encoder.width if encoder else 0
    network, history = learn(config, train, validation, width, place.out, listener, heard)
    best = min(history, key=lambda epoch: epoch.validation_error).epoch
    about = {
        "version": __version__,
        "labels": LABELS_ARE.format(teacher=teacher.name, share=config.distil.share),
        "seed": config.seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "best_epochs": {"student": best},
        "torch": torch.__version__,
    }
    return partial(finish, Made(config, network, encoder, about), rows, place, listener, clock)


def learn(
    config: Config, train: Dataset, validation: Dataset, encoder_width: int, out: Path, listener: Listener,
    heard: Sequence[hints.Frames] = (),
) -> tuple[Network, list[loop.Epoch]]:  # fmt: skip
    """The small network on whatever labels `train` carries, all targets alike; and on what its teacher `heard`."""
    network = mpl.new_network(config, KEYS, encoder_width, config.seed)
    learning: Trainable = network
    loss: loop.Loss = partial(losses.supervised, targets=KEYS, config=config.loss)
    if heard:
        train = hints.hinted(train, heard)
        learning = hints.Hinted(network, heard[0].shape[1], hints.variance(heard))
        loss = partial(hints.loss, targets=KEYS, config=config.loss, weight=config.distil.hint)
    report = partial(listener.epoch, "small")
    history = loop.fit(
        learning, train, validation, loss, config.student, config.seed, out / "small.safetensors", report,
        config.machine,
    )  # fmt: skip
    return network, history


def mixed(labels: Labels, said: Labels, share: float) -> Labels:
    """The teacher's scores and a clip's own labels, `share` of the former; one alone where the other is NaN."""
    made = {}
    for target in named(list(KEYS)):
        own, teacher = target.to_training(labels[target.key]), target.to_training(said[target.key])
        made[target.key] = target.from_training(
            np.where(np.isnan(own), teacher, np.where(np.isnan(teacher), own, share * teacher + (1 - share) * own))
        )
    return made


def teach(
    teacher: models.ModelRecord, clips: Sequence[Excerpt], store: Path, jobs: int, progress: pieces.Progress
) -> Labels:
    """What the teacher says of these clips, (clips,) by target, NaN where it refuses one; kept in `store`.

    Raises ModelError where it refuses all.
    """
    name = f"{teacher.sha256[:12]}-{{}}.npy"
    files = pieces.fill(clips, store, name, partial(_keep, str(teacher.path)), jobs, progress)
    whole = np.concatenate([np.load(file) for file in files])
    if np.isnan(whole).all():
        raise ModelError(f"the teacher {teacher.name!r} scores none of these {len(clips)} clips: are they silent?")
    return {key: whole[:, teacher.targets.index(key)] for key in KEYS}


def _keep(model: str, piece: pieces.Piece) -> None:
    """Write (clips, targets of the model); NaN for a clip that is refused: one in 36,000 is too quiet."""
    file, clips = piece
    predictor = _predictor(model)
    scored = [predictor.score(read_excerpt(clip), SAMPLE_RATE) for clip in clips]
    rows = [[scores.value(key) for key in predictor.record.targets] for scores in scored]
    np.save(pieces.unfinished(file), np.array(rows, dtype=np.float64))
    pieces.unfinished(file).replace(file)


@lru_cache(maxsize=1)
def _predictor(model: str) -> Predictor:
    """One a worker process, with one thread."""
    return Predictor(model, threads=1)
