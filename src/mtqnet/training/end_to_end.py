"""Training of the speech encoder together with the network, after MPL and beyond the paper.

In MPL the encoder is frozen and its frames are computed once, so epochs are cheap, but what the encoder discards
is lost. Here the encoder is trained too, with a smaller learning rate, for a few epochs. The labels are S-, N- and
G-MOS, true PESQ, STOI and SDI, and the scores of existing models (or MOSA-Net's predictions of them).

The result is an average of the weights before and after (WiSE-FT: Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022): the tuned weights are more accurate on clips like those of training, the earlier
ones on other recordings. Averaged weights predict on a slightly different scale, which is corrected on the
validation clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, named
from mtqnet.training import losses, mpl, trainer
from mtqnet.training.batches import Dataset
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.model import Head, Network, Output, Trainable

LEAST_CLIPS = 100
"""Fewest labelled clips for the correction of the scale: 800 determine it within 0.01, fewer than these do harm"""


class EndToEnd(Trainable):
    """An encoder and a network as one trainable network."""

    def __init__(self, network: Network, encoder: SpeechEncoder, encoder_rate: float, bf16: bool) -> None:
        """Combine both.

        Args:
            network: The network.
            encoder: Its encoder; its weights become trainable.
            encoder_rate: Factor of the learning rate for the encoder.
            bf16: Whether the encoder's matrix products use bfloat16 in training.
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
        narrow = self.bf16 and self.training
        with (
            torch.autocast(samples.device.type, torch.bfloat16) if narrow else nullcontext()
        ):  # or as `bf16` set it
            frames, counts = self.encoder(inputs[self.encoder.feature], samples)
        output: Output = self.network({**inputs, "encoder": frames.float(), "encoder_counts": counts}, samples)
        return output


@dataclass(frozen=True)
class Tuned:
    """A network with the heads of the six scores, its encoder, and the results of all epochs."""

    network: Network
    encoder: SpeechEncoder
    history: list[trainer.Epoch]


def tune(stage: mpl.MPL, trained: mpl.Trained, encoder: SpeechEncoder, folder: Path) -> Tuned:
    """Train encoder and network together.

    Args:
        stage: Configuration and clips of the MPL training.
        trained: Its result.
        encoder: The encoder, which is changed in place.
        folder: Where a checkpoint is stored.

    Raises:
        UsageError: If the stored features do not contain the encoder's input.
    """
    config = stage.config
    if encoder.feature not in config.network.front_ends:
        raise UsageError(
            f"tune_encoder = true: the input of {config.encoder.name} is {encoder.feature!r}, which must be one "
            f"of network.front_ends, found {', '.join(config.network.front_ends)}"
        )
    known = {key: trained.pseudo_labels[key] for key in config.existing_models.heads if trained.pseudo_labels}
    train = mpl.ensemble_labels(config, stage.train.with_labels(known)).without("encoder")
    validation = stage.validation.without("encoder")
    network = mpl.new_network(config, stage.student_targets, encoder.width, config.seed)
    if trained.teacher is not None:
        network.start_from(trained.teacher)  # for the heads of existing models
    network.start_from(trained.student)
    both = EndToEnd(network, encoder, config.encoder_rate, config.machine.bf16_encoder)
    before = {name: weight.clone() for name, weight in both.state_dict().items()}
    history = trainer.fit(
        both, train, validation, losses.MultiTaskLoss(both.targets, config.tune_loss), config.tune,
        config.seed + 2, folder / "end-to-end.safetensors", stage.report_of("encoder and network"), config.machine,
    )  # fmt: skip
    after = both.state_dict()
    both.load_state_dict({name: torch.lerp(before[name], after[name], config.tuned_weight) for name in after})
    _freeze_as_stored(encoder)
    if 0 < config.tuned_weight < 1:
        rescale(both, validation)
    if network.distance is not None:
        network.distance.fit(trainer.embeddings(both, train))
    return Tuned(network.only([key for key in both.targets if key in KEYS]).eval(), encoder, history)


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


def _freeze_as_stored(encoder: SpeechEncoder) -> None:
    """Freeze the encoder and round its weights to the 16 bits that the model's files contain."""
    encoder.tuned = True
    with torch.no_grad():
        for weight in encoder.requires_grad_(False).eval().parameters():
            weight.copy_(weight.half().float())
