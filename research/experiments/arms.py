"""One arm and one seed -> its scores of every clip of every test, stored on disk.

OUT/teachers/DIGEST/SEED/mosa-net.safetensors   MOSA-Net of a seed, and its scores of all training clips
OUT/arms/DIGEST/SEED.npz                        scores by test and target; seconds; how the training went
DIGEST names all that the scores depend on, so that an arm of two tables is run once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet.cli.terminal import Stage
from mtqnet.corpus import ensemble
from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, QUEST, named
from mtqnet.training import encoder as encoders
from mtqnet.training import losses, mpl, trainer
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config
from mtqnet.training.model import Network
from research.experiments.material import TESTS, Material, hidden, noisy, shown
from research.experiments.pooled import MeanPooled, Ridge
from research.experiments.study import PEERS, Arm, configured

SPLITS = ("validation", *TESTS)
"""What every arm scores; validation, so that choices can be made without looking at a test"""
RECIPE = 2
"""Raised when code changes what an arm learns: results of before are not taken for results of now"""

QUEST_KEYS = tuple(target.key for target in QUEST)


@dataclass(frozen=True)
class Lab:
    """Folders of the runs and of their inputs."""

    base: Config
    material: Material
    out: Path
    corpus_digest: str

    def config(self, arm: Arm, seed: int) -> Config:
        return replace(configured(self.base, arm, arm.says), seed=seed)

    def result(self, arm: Arm, seed: int) -> Path:
        """Where an arm's scores are kept."""
        told = {name: value for name, value in asdict(arm).items() if name not in ("says", "against")}
        return self.out / "arms" / self._digest([told, asdict(configured(self.base, arm, ""))]) / f"{seed}.npz"

    def teacher_folder(self, config: Config) -> Path:
        """Where the MOSA-Net of a configuration and its seed is kept."""
        facts = [
            asdict(config.network),
            asdict(config.encoder),
            asdict(config.teacher),
            asdict(config.teacher_loss),
            asdict(config.existing_models),
        ]
        return self.out / "teachers" / self._digest(facts) / str(config.seed)

    def peers_said(
        self, config: Config, split: str, python: Path = ensemble.PYTHON, jobs: int = 0, stage: Stage | None = None
    ) -> Labels:
        """Scores of a split by the peers that are teachers of an arm; schedule.py computes them before any arm runs."""
        if not config.existing_models.heads:  # most arms: nothing of the corpus is read for them
            return {}
        clips = self.material.test(split).clips
        scored = clips[: config.existing_models.clips or None] if split == "train" else clips
        keys, tell = config.existing_models.heads, stage or (lambda *_: None)
        scores = ensemble.score(
            python, scored, self.out / "peers", split, jobs, partial(tell, f"existing models, {split}"),
            ensemble.predictors_of(keys),
        )  # fmt: skip
        return padded({key: scores[key] for key in keys}, len(clips))

    def _digest(self, facts: object) -> str:
        text = json.dumps([RECIPE, self.corpus_digest, facts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def padded(scores: Labels, clips: int) -> Labels:
    """Extend the scores of the first clips to (clips,) by NaN."""
    return {key: np.concatenate([values, np.full(clips - len(values), np.nan)]) for key, values in scores.items()}


@dataclass(frozen=True)
class Result:
    """Result of one run."""

    scores: Mapping[str, Labels]
    """By split and target, in the target's own unit, (clips,) each"""
    seconds: float
    """Of one core, the teacher's not counted"""
    history: list[dict[str, object]]
    """By epoch, for networks"""


def run(lab: Lab, arm: Arm, seed: int) -> Path:
    """Train an arm with a seed and score all tests; at once if that was done before. A killed run is resumed."""
    target = lab.result(arm, seed)
    if target.exists():
        return target
    started = time.monotonic()
    config, folder = lab.config(arm, seed), target.with_suffix(".run")
    scores, history = _scores(lab, arm, config, folder)
    _write(target, Result(scores, time.monotonic() - started, [vars(epoch) for epoch in history]))
    shutil.rmtree(folder, ignore_errors=True)
    return target


def read(path: Path) -> Result:
    """What `run` wrote."""
    with np.load(path) as stored:
        about = json.loads(str(stored["about"]))
        scores: dict[str, dict[str, NDArray[np.float64]]] = {}
        for name in stored.files:
            split, _, key = name.partition("/")
            if key:
                scores.setdefault(split, {})[key] = stored[name]
    return Result(scores, about["seconds"], about["history"])


def teach(lab: Lab, config: Config) -> tuple[Network, Labels, list[trainer.Epoch]]:
    """MOSA-Net of this configuration and its seed, its scores of all training clips, how it went. Kept on disk."""
    folder = lab.teacher_folder(config)
    train, validation = (
        lab.material.dataset(split, config).with_labels(lab.peers_said(config, split))
        for split in ("train", "validation")
    )
    stage = mpl.MPL(config, train, validation, folder)
    teacher, history = stage.train_teacher()
    kept = folder / "pseudo.npz"
    if not kept.exists():
        _write_whole(kept, dict(stage.pseudo_labels(teacher)))
    with np.load(kept) as stored:
        return teacher, {key: stored[key] for key in stored.files}, history


def _scores(lab: Lab, arm: Arm, config: Config, folder: Path) -> tuple[Mapping[str, Labels], list[trainer.Epoch]]:
    if arm.kind in PEERS:
        raise UsageError(f"{arm.kind} is scored by its own code, not trained")
    sets = {split: lab.material.dataset(split, config) for split in SPLITS}
    if arm.kind == "ridge":
        ridge = Ridge(_training_set(lab, arm, config), sets["validation"])
        return {split: _within(ridge.predict(data)) for split, data in sets.items()}, []
    if arm.kind == "teacher":
        network, _, history = teach(lab, config)
    elif arm.kind == "network":
        network, history = _learn(lab, arm, config, folder)
    else:
        return _pooled(lab, arm, config, sets, folder)
    return {split: _within(trainer.predict(network, data)) for split, data in sets.items()}, history


def _learn(lab: Lab, arm: Arm, config: Config, folder: Path) -> tuple[Network, list[trainer.Epoch]]:
    train = _training_set(lab, arm, config)
    validation = lab.material.dataset("validation", config)
    teacher = teach(lab, config)[0] if config.transfer else None
    if arm.objective == "none" and not config.existing_models.heads:
        config = replace(config, method="transfer" if config.transfer else "scratch", transfer=False)
    if config.existing_models.heads:
        validation = validation.with_labels(lab.peers_said(config, "validation"))
    return mpl.MPL(config, train, validation, folder).train_student({}, teacher)


def _pooled(
    lab: Lab, arm: Arm, config: Config, sets: Mapping[str, Dataset], folder: Path
) -> tuple[Mapping[str, Labels], list[trainer.Epoch]]:
    train = _training_set(lab, arm, config)
    encoder = encoders.load(config.encoder) if arm.kind == "fine_tuned" else train.encoder_width
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = MeanPooled(config, QUEST_KEYS, encoder)
    loss = losses.MultiTaskLoss(QUEST_KEYS, config.loss)
    history = trainer.fit(
        network, train, sets["validation"], loss, config.student, config.seed, folder / "pooled.safetensors"
    )
    return {split: _within(trainer.predict(network, data)) for split, data in sets.items()}, history


def _training_set(lab: Lab, arm: Arm, config: Config) -> Dataset:
    """The training clips of an arm with the labels that it may see."""
    train = lab.material.dataset("train", config)
    places = shown(train, arm.labelled, config.seed)
    labels: Labels = {key: train.labels[key] for key in KEYS}
    if arm.rater_noise:
        labels = {**labels, **noisy(train.labels, config.seed)}
    labels = {**labels, **hidden(Dataset(train.clips, labels), places)}
    if arm.objective == "pseudo":
        labels = {**labels, **teach(lab, config)[1]}
    elif arm.objective == "none":
        labels = {target.key: labels[target.key] for target in QUEST}
    made = Dataset(train.clips, labels)
    return made if arm.unlabelled else made.take(places)


def _within(scores: Labels) -> Labels:
    """Scores as they would be served: within each target's range."""
    return {t.key: np.clip(scores[t.key], t.low, t.high) for t in named(list(scores))}


def _write(path: Path, result: Result) -> None:
    arrays = {f"{split}/{key}": v for split, scores in result.scores.items() for key, v in scores.items()}
    about = json.dumps({"seconds": round(result.seconds, 3), "history": result.history})
    _write_whole(path, {**arrays, "about": np.array(about)})


def _write_whole(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_suffix(".tmp.npz")
    np.savez(partial_file, **arrays)  # type: ignore[arg-type]
    partial_file.replace(path)
