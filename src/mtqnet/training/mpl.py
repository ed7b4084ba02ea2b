"""Multi-task pseudo-label learning (MPL) of MTQ-Net: Zezario et al., ICASSP 2024, arXiv 2308.09262.

The sentences of the abstract, in other words, and where they are in this file:

    MTQ-Net predicts the three scores of 3QUEST: S-, N- and G-MOS        QUEST in targets.py
    MPL has two stages                                                   MPL.run
    1. a pretrained MOSA-Net predicts pseudo labels (PESQ, STOI, SDI)    Pretrained (the shipped `mosa-net`), or
                                                                         MPL.train_teacher, MPL.pseudo_labels
    2. multi-task training on both kinds of labels                       MPL.train_student
       supervised loss on S-, N- and G-MOS, semi-supervised loss on the  losses.MultiTaskLoss
       pseudo labels, both Huber losses
    compared with training from scratch                                  method = "scratch"
    compared with knowledge transfer                                     method = "transfer"
    compared with other losses                                           LossConfig.kind

MTQ-Net is not trained on true values of PESQ, STOI and SDI: its labels are S-, N- and G-MOS and the pseudo labels,
and its best epoch has the lowest error of S-, N- and G-MOS on the validation clips. Clips without S-, N- and G-MOS
labels can be used too; they contribute to the semi-supervised loss only.

Beyond the paper, existing models can be additional teachers (ExistingModelsConfig): MOSA-Net is also trained on
their scores of some clips, predicts them for all others, and MTQ-Net has a head for them that is removed in the
end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mtqnet.errors import UsageError
from mtqnet.labels import ensemble
from mtqnet.targets import KEYS, OBJECTIVE, PEERS, QUEST, named
from mtqnet.training import losses, trainer, weights
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config
from mtqnet.training.model import Network
from mtqnet.training.trainer import Epoch

Report = Callable[[str, Epoch, int], None]
"""Called after each epoch with the name of the network, the result of the epoch and the number of epochs"""

QUEST_KEYS = tuple(target.key for target in QUEST)


@dataclass(frozen=True)
class Trained:
    """Both networks with the weights of their best epochs."""

    teacher: Network | None
    """MOSA-Net; method = "scratch" has no teacher"""
    student: Network
    """MTQ-Net"""
    pseudo_labels: Labels
    """The teacher's predictions of every training clip; empty unless method = "mpl" """
    teacher_history: list[Epoch]
    student_history: list[Epoch]


@dataclass(frozen=True)
class Pretrained:
    """MOSA-Net that was trained before."""

    labels: Labels
    """Its predictions of the training clips, (clips,) by target: the pseudo labels"""
    network: Network | None = None
    """Its network, if MTQ-Net starts from it"""


@dataclass(frozen=True)
class MPL:
    """Multi-task pseudo-label learning on one set of training and validation clips."""

    config: Config
    train: Dataset
    """Training clips with true labels; NaN where unknown"""
    validation: Dataset
    folder: Path
    """Checkpoints; a second run continues an interrupted one"""
    report: Report | None = None
    pretrained: Pretrained | None = None
    """MOSA-Net that was trained before, such as the shipped `mosa-net`; None: it is trained on these clips"""

    def run(self) -> Trained:
        """Run both stages, or the comparison that `method` names."""
        if self.config.method == "scratch":
            student, history = self.train_student({})
            return Trained(None, student, {}, [], history)
        if self.pretrained is not None:
            pseudo_labels = self.pretrained.labels if self.config.method == "mpl" else {}
            student, history = self.train_student(pseudo_labels, self.pretrained.network)
            return Trained(self.pretrained.network, student, pseudo_labels, [], history)
        teacher, teacher_history = self.train_teacher()
        pseudo_labels = self.pseudo_labels(teacher) if self.config.method == "mpl" else {}
        student, history = self.train_student(pseudo_labels, teacher)
        return Trained(teacher, student, pseudo_labels, teacher_history, history)

    def train_teacher(self) -> tuple[Network, list[Epoch]]:
        """Pretrain MOSA-Net on true PESQ, STOI and SDI."""
        config, targets = self.config, self.teacher_targets
        without_causes = replace(config, network=replace(config.network, causes=False, distance=False))
        teacher = new_network(without_causes, targets, self.train.encoder_width, config.seed)
        if config.initial:
            teacher.start_from(weights.load(config.initial).network)
        history = trainer.fit(
            teacher, self.train, self.validation, losses.supervised(targets, config.teacher_loss), config.teacher,
            config.seed, self.folder / "mosa-net.safetensors", self.report_of("MOSA-Net"), config.machine,
        )  # fmt: skip
        return teacher, history

    def pseudo_labels(self, teacher: Network) -> Labels:
        """Stage 1: MOSA-Net predicts the pseudo labels of every training clip, limited to each target's range.

        Scores of existing models that are known are used instead of MOSA-Net's prediction of them.
        """
        scores = trainer.predict(teacher, self.train)
        pseudo = {t.key: scores[t.key].clip(t.low, t.high) for t in named(teacher.targets)}
        for key in (target.key for target in PEERS):
            if key in pseudo and key in self.train.labels:
                known = self.train.labels[key]
                pseudo[key] = np.where(np.isnan(known), pseudo[key], known)
        return pseudo

    def train_student(self, pseudo_labels: Labels, teacher: Network | None = None) -> tuple[Network, list[Epoch]]:
        """Stage 2: train MTQ-Net on S-, N- and G-MOS labels and pseudo labels together.

        Args:
            pseudo_labels: Labels (clips,) that are added to those of the training clips, by target.
            teacher: MOSA-Net, for initialisation.

        Returns:
            The network with the heads of the six scores (three without MPL), and the results of all epochs.

        Raises:
            UsageError: If MTQ-Net is to be initialised from a missing MOSA-Net.
        """
        config, targets = self.config, self.student_targets
        train = ensemble_labels(config, self.train.with_labels(pseudo_labels))
        student = new_network(config, targets, train.encoder_width, config.seed + 1)
        if config.initialised_from_teacher:
            if teacher is None:
                raise UsageError("transfer = true needs MOSA-Net to initialise from: train it first")
            student.start_from(teacher)
        history = trainer.fit(
            student, train, self.validation, losses.MultiTaskLoss(targets, config.loss), config.student,
            config.seed + 1, self.folder / "mtq-net.safetensors", self.report_of("MTQ-Net"), config.machine,
        )  # fmt: skip
        return student.only([key for key in targets if key in KEYS]), history

    @property
    def teacher_targets(self) -> tuple[str, ...]:
        """Targets of MOSA-Net: PESQ, STOI, SDI, and the scores of existing models."""
        return (*(target.key for target in OBJECTIVE), *self.config.existing_models.heads)

    @property
    def student_targets(self) -> tuple[str, ...]:
        """Targets of MTQ-Net: with MPL the six scores and those of existing models, otherwise S-, N- and G-MOS.

        Without those of S-, N- and G-MOS that no training clip has a label of.
        """
        mpl = self.config.method == "mpl"
        keys = (*KEYS, *self.config.existing_models.heads) if mpl else QUEST_KEYS
        labels = self.train.labels
        absent = [key for key in QUEST_KEYS if key in labels and np.isnan(labels[key]).all()]
        return tuple(key for key in keys if key not in absent)

    def report_of(self, network: str) -> trainer.EpochReport | None:
        """Return the function that reports the epochs of this network."""
        return partial(self.report, network) if self.report else None


def ensemble_labels(config: Config, train: Dataset) -> Dataset:
    """Replace S-, N- and G-MOS labels by the label ensemble, and weight them by its agreement.

    Scores of existing models must be among the labels, known or predicted. Without `existing_models.ensemble` the
    clips are returned unchanged. The labels of the other splits are the ensemble from the beginning (data.py).
    """
    if not config.existing_models.ensemble:
        return train
    if not train.kinds:
        raise UsageError(
            "existing_models.ensemble = true needs a simulated corpus: its recipes tell the processing"
        )
    agreed = ensemble.ensemble_labels(train.labels, train.kinds)
    agreement = {key: ensemble.loss_weights(label.disagreement) for key, label in agreed.items()}
    labels = {**train.labels, **{key: label.values for key, label in agreed.items()}}
    return replace(train, labels=labels, weights={**train.weights, **agreement})


def new_network(config: Config, targets: tuple[str, ...], encoder_width: int, seed: int) -> Network:
    """Return a network with random weights that depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config.network, targets, encoder_width)
