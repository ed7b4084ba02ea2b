"""Multi-task pseudo-label learning, in one page (Zezario et al., ICASSP 2024, arXiv 2308.09262).

"MPL consists of two stages: obtaining pseudo-label scores from a pretrained model and performing multi-task
learning" is what the abstract says in other words. Here:

    teach     trains the pretrained model, MOSA-Net, on true PESQ, STOI and SDI
    annotate  lets it score every training clip: the pseudo labels
    learn     trains MTQ-Net on S-, N- and G-MOS (supervised) and the pseudo labels (semi-supervised) together

The loss of `learn` is in losses.py. MTQ-Net sees no true PESQ, STOI or SDI: its steps come from S/N/G labels and
the teacher's, its best epoch from the S/N/G labels of the validation clips. Clips may carry pseudo labels alone.

Beyond the paper, other predictors can be teachers too (PeersConfig): what they say of some clips is a further
target of MOSA-Net, which then says it of all, and a further head of MTQ-Net that is dropped in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mtqnet.errors import UsageError
from mtqnet.targets import G_MOS, KEYS, OBJECTIVE, PEERS, named
from mtqnet.training import consensus, loop, losses
from mtqnet.training.config import Config
from mtqnet.training.dataset import Dataset, Labels
from mtqnet.training.network import Network

Report = Callable[[str, loop.Epoch, int], None]
"""Called after each epoch: which network, what it gave, epochs in all."""


@dataclass(frozen=True)
class Trained:
    """Both networks at their best, and how they got there."""

    teacher: Network
    student: Network
    pseudo: Labels
    """What the teacher says of every training clip"""
    teacher_history: list[loop.Epoch]
    student_history: list[loop.Epoch]


def run(
    config: Config,
    train: Dataset,
    validation: Dataset,
    encoder_width: int,
    out: Path,
    report: Report | None = None,
) -> Trained:
    """All of MPL. Checkpoints are kept in `out`; a second call goes on where the first stopped."""
    teacher, teacher_history = teach(config, train, validation, encoder_width, out, report)
    pseudo = annotate(teacher, train)
    learnt, history = learn(config, train, pseudo, validation, encoder_width, out, report, teacher)
    return Trained(teacher, learnt, pseudo, teacher_history, history)


def teacher_targets(config: Config) -> tuple[str, ...]:
    """What MOSA-Net learns: PESQ, STOI, SDI, and scores of peers if they are teachers."""
    return (*(target.key for target in OBJECTIVE), *config.peers.heads)


def student_targets(config: Config) -> tuple[str, ...]:
    """What MTQ-Net learns: the six, and scores of peers if they are teachers."""
    return (*KEYS, *config.peers.heads)


def teach(
    config: Config,
    train: Dataset,
    validation: Dataset,
    encoder_width: int,
    out: Path,
    report: Report | None = None,
) -> tuple[Network, list[loop.Epoch]]:
    """Stage 1 a: MOSA-Net on true PESQ, STOI and SDI."""
    targets = teacher_targets(config)
    network = new_network(config, targets, encoder_width, config.seed)
    loss = partial(losses.supervised, targets=targets, config=config.teacher_loss)
    history = loop.fit(
        network, train, validation, loss, config.teacher, config.seed,
        out / "mosa-net.safetensors", partial(report, "MOSA-Net") if report else None, config.machine,
    )  # fmt: skip
    return network, history


def annotate(teacher: Network, clips: Dataset) -> Labels:
    """Stage 1 b: what the teacher says of every clip, within each target's range; a peer's own word goes first."""
    scores = loop.predict(teacher, clips)
    pseudo = {t.key: scores[t.key].clip(t.low, t.high) for t in named(teacher.targets)}
    for target in PEERS:
        if target.key in pseudo and target.key in clips.labels:
            own = clips.labels[target.key]
            pseudo[target.key] = np.where(np.isnan(own), pseudo[target.key], own)
    return pseudo


def learn(
    config: Config,
    train: Dataset,
    pseudo: Labels,
    validation: Dataset,
    encoder_width: int,
    out: Path,
    report: Report | None = None,
    teacher: Network | None = None,
) -> tuple[Network, list[loop.Epoch]]:
    """Stage 2: MTQ-Net on S/N/G labels and pseudo labels together; from the teacher's weights if asked to.

    With a consensus, the G-MOS labels of both sets are that. The network that is left has the six heads alone.
    """
    train, validation = agreed(config, train.with_labels(pseudo), validation)
    targets = student_targets(config)
    network, history = student(config, targets, train, validation, encoder_width, out, report, teacher)
    return network.only(KEYS), history


def agreed(config: Config, train: Dataset, validation: Dataset) -> tuple[Dataset, Dataset]:
    """Both with G-MOS labels that are a consensus with the peers, where the configuration asks for it."""
    if not config.peers.consensus:
        return train, validation
    made = consensus.fit(train.labels[G_MOS.key], train.labels, config.peers.consensus)
    train, validation = (
        data.with_labels({G_MOS.key: made.label(data.labels[G_MOS.key], data.labels)})
        for data in (train, validation)
    )
    return train, validation


def student(
    config: Config,
    targets: tuple[str, ...],
    train: Dataset,
    validation: Dataset,
    encoder_width: int,
    out: Path,
    report: Report | None = None,
    teacher: Network | None = None,
) -> tuple[Network, list[loop.Epoch]]:
    """A network with heads for these targets, on whatever labels the clips carry."""
    network = new_network(config, targets, encoder_width, config.seed + 1)
    if config.transfer:
        if teacher is None:
            raise UsageError("transfer = true needs a teacher to start from")
        network.start_from(teacher)
    loss = partial(losses.multi_task, targets=targets, config=config.loss)
    history = loop.fit(
        network, train, validation, loss, config.student, config.seed + 1,
        out / "mtq-net.safetensors", partial(report, "MTQ-Net") if report else None, config.machine,
    )  # fmt: skip
    return network, history


def new_network(config: Config, targets: tuple[str, ...], encoder_width: int, seed: int) -> Network:
    """A network of the family with weights drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config.network, targets, encoder_width)
