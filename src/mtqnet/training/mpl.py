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

Beyond the paper:

- Existing models can be additional teachers (ExistingModelsConfig): MOSA-Net is also trained on their scores of
  some clips, predicts them for all others, and MTQ-Net has a head for them that is removed in the end.
- MPL.tune trains the speech encoder together with the network. In MPL it is frozen and its frames are computed once,
  so epochs are cheap, but what the encoder discards is lost. The labels are S-, N- and G-MOS, true PESQ, STOI and
  SDI, and the scores of existing models (or MOSA-Net's predictions of them). The result is an average of the weights
  before and after (WiSE-FT: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022): the tuned weights
  are more accurate on clips like those of training, the earlier ones on other recordings. Averaged weights predict
  on a slightly different scale, which is corrected on the validation clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus import ensemble
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring.models import ModelRecord
from mtqnet.targets import BY_KEY, KEYS, OBJECTIVE, PEERS, QUEST, named
from mtqnet.training import export, losses, trainer
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config
from mtqnet.training.data import Stage, model_scores
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Head, Network, Output, Trainable
from mtqnet.training.trainer import Epoch

Report = Callable[[str, Epoch, int], None]
"""Called after each epoch with the name of the network, the result of the epoch and the number of epochs"""

QUEST_KEYS = tuple(target.key for target in QUEST)
LEAST_CLIPS = 100
"""Fewest labelled clips for the correction of the scale: 800 determine it within 0.01, fewer than these do harm"""


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
        is_mpl, known, teacher_history = self.config.method == "mpl", self.pretrained, list[Epoch]()
        if known is None:
            teacher, teacher_history = self.train_teacher()
            known = Pretrained(self.pseudo_labels(teacher) if is_mpl else {}, teacher)
        pseudo_labels = known.labels if is_mpl else {}
        student, history = self.train_student(pseudo_labels, known.network)
        return Trained(known.network, student, pseudo_labels, teacher_history, history)

    def train_teacher(self) -> tuple[Network, list[Epoch]]:
        """Pretrain MOSA-Net on true PESQ, STOI and SDI."""
        config, targets = self.config, (*(t.key for t in OBJECTIVE), *self.config.existing_models.heads)
        without_causes = replace(config, network=replace(config.network, causes=False, distance=False))
        teacher = new_network(without_causes, targets, self.train.encoder_width, config.seed)
        if config.initial:
            teacher.start_from(export.load_weights(config.initial).network)
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
    def student_targets(self) -> tuple[str, ...]:
        """Targets of MTQ-Net: with MPL the six scores and those of existing models, otherwise S-, N- and G-MOS.

        Without those of S-, N- and G-MOS that no training clip has a label of.
        """
        mpl = self.config.method == "mpl"
        keys = (*KEYS, *self.config.existing_models.heads) if mpl else QUEST_KEYS
        labels = self.train.labels
        absent = [key for key in QUEST_KEYS if key in labels and np.isnan(labels[key]).all()]
        return tuple(key for key in keys if key not in absent)

    def tune(self, trained: Trained, encoder: SpeechEncoder) -> tuple[Network, list[Epoch]]:
        """Train encoder and network together after both stages; the encoder is changed in place.

        Returns:
            The network with the heads of the six scores, and the results of all epochs.

        Raises:
            UsageError: If the stored features do not contain the encoder's input.
        """
        config = self.config
        if encoder.feature not in config.network.front_ends:
            raise UsageError(
                f"tune_encoder = true: the input of {config.encoder.name} is {encoder.feature!r}, which must be one "
                f"of network.front_ends, found {', '.join(config.network.front_ends)}"
            )
        known = {key: trained.pseudo_labels[key] for key in config.existing_models.heads if trained.pseudo_labels}
        train = ensemble_labels(config, self.train.with_labels(known)).without("encoder")
        validation = self.validation.without("encoder")
        network = new_network(config, self.student_targets, encoder.width, config.seed)
        if trained.teacher is not None:
            network.start_from(trained.teacher)  # for the heads of existing models
        network.start_from(trained.student)
        both = EndToEnd(network, encoder, config.encoder_rate, config.machine.bf16_encoder)
        before = {name: weight.clone() for name, weight in both.state_dict().items()}
        history = trainer.fit(
            both, train, validation, losses.MultiTaskLoss(both.targets, config.tune_loss), config.tune,
            config.seed + 2, self.folder / "end-to-end.safetensors", self.report_of("encoder and network"),
            config.machine,
        )  # fmt: skip
        after = both.state_dict()
        both.load_state_dict({name: torch.lerp(before[name], after[name], config.tuned_weight) for name in after})
        encoder.tuned = True
        with torch.no_grad():
            for weight in encoder.requires_grad_(False).eval().parameters():
                weight.copy_(weight.half().float())  # the 16 bits that the model's files contain
        if 0 < config.tuned_weight < 1:
            rescale(both, validation)
        if network.distance is not None:
            network.distance.fit(trainer.embeddings(both, train))
        return network.only([key for key in both.targets if key in KEYS]).eval(), history

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


def pretrained_labels(
    record: ModelRecord, clips: Sequence[Excerpt], folder: Path, name: str, jobs: int, stage: Stage
) -> Labels:
    """Stage 1 of MPL: a pretrained model predicts PESQ, STOI and SDI of clips; NaN where it refuses one.

    The predictions are stored in `folder`.

    Raises:
        ModelError: If the model does not predict PESQ, STOI and SDI.
    """
    keys = [target.key for target in OBJECTIVE]
    if missing := [BY_KEY[key].name for key in keys if key not in record.targets]:
        raise ModelError(
            f"the model '{record.name}' does not predict {missing[0]}: choose another one with --teacher"
        )
    scores = model_scores(record, clips, folder, name, jobs, partial(stage, f"MOSA-Net predicts, {name}"))
    return {key: scores[key] for key in keys}


def initial_network(config: Config, model: str) -> Network:
    """Return the network of a pretrained MOSA-Net, from which MTQ-Net starts.

    Raises:
        UsageError: If its dimensions or its front end differ from those of the configuration.
    """
    opened = export.load_weights(model)
    free = ("causes", "distance", "dropout", "input_dropout")
    own, theirs = vars(config.network), vars(opened.network.config)
    different = [f"{name} = {theirs[name]!r}" for name in own if name not in free and own[name] != theirs[name]]
    if different or opened.front_end.key != FrontEnd.of_config(config).key:
        raise UsageError(
            f"method = 'transfer' and transfer = true start from the weights of '{opened.record.name}', whose "
            f"network has other dimensions or another front end: {', '.join(different) or '[encoder]'}; use its "
            "values in [network] and [encoder], or method = 'mpl' with transfer = false"
        )
    return opened.network


class EndToEnd(Trainable):
    """An encoder and a network as one trainable network."""

    def __init__(self, network: Network, encoder: SpeechEncoder, encoder_rate: float, bf16: bool) -> None:
        """Combine both; the weights of the encoder become trainable, with `encoder_rate` times the learning rate.

        With `bf16`, the encoder's matrix products use bfloat16 in training.
        """
        super().__init__()
        self.network, self.encoder = network, encoder.requires_grad_(True)
        frames = encoder.layers, encoder.pool
        self.config, self.targets = (network.config, encoder_rate, bf16, frames), network.targets
        self.encoder_rate, self.bf16 = encoder_rate, bf16

    @property
    def heads(self) -> nn.ModuleDict:  # type: ignore[override]  # those of the network
        return self.network.heads

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [
            {"params": list(self.encoder.parameters()), "lr": learning_rate * self.encoder_rate},
            {"params": list(self.network.parameters()), "lr": learning_rate},
        ]

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """As Network.forward, with the encoder's input feature instead of its frames."""
        narrow = (
            torch.autocast(samples.device.type, torch.bfloat16) if self.bf16 and self.training else nullcontext()
        )
        with narrow:  # or as `bf16` set it
            frames, counts = self.encoder(inputs[self.encoder.feature], samples)
        output: Output = self.network({**inputs, "encoder": frames.float(), "encoder_counts": counts}, samples)
        return output


def rescale(network: EndToEnd, data: Dataset) -> None:
    """Correct gain and offset of each head by least squares on the labels of these clips.

    A score is the mean of linear frame scores, so gain and offset can be applied to the last layer of its head.
    Heads with fewer than LEAST_CLIPS labels are not changed.
    """
    scores = trainer.predict(network, data)
    for target in named([key for key in network.targets if key in data.labels]):
        head = cast(Head, network.heads[target.key])
        truth, predicted = (target.to_training(values[target.key]) for values in (data.labels, scores))
        known = ~np.isnan(truth)
        if known.sum() < LEAST_CLIPS:
            continue
        gain, offset = np.polyfit(predicted[known], truth[known], 1)
        with torch.no_grad():
            head.score.weight *= float(gain)
            head.score.bias.copy_(float(gain) * head.score.bias + float(offset))
