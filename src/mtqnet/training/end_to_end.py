"""After MPL, beyond the paper: speech encoder and network learn together.

MPL learns on what a frozen encoder gives, once for each clip: epochs cost little, but what the encoder threw away
is lost. Here the encoder moves too, slower than the network behind it, for a few epochs. The labels are S-, N- and
G-MOS, true PESQ, STOI and SDI, and what peers say of a clip (their own word, or MOSA-Net's of it).

What is kept is a mean of the weights before and after (WiSE-FT: Wortsman et al., "Robust fine-tuning of zero-shot
models", CVPR 2022): on clips like those of training the later ones are better, on others the earlier. A mean of
weights says the same on a scale that is a little off; the clips that judge epochs set that right.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, named
from mtqnet.training import loop, losses, mpl
from mtqnet.training.config import Config
from mtqnet.training.dataset import Dataset
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.frontend import Clip
from mtqnet.training.network import Head, Network, Output, Trainable

LEAST_CLIPS = 100
"""Labelled clips that tell a scale: 800 tell it within 0.01, fewer than these would do harm"""


class EndToEnd(Trainable):
    """A network and the encoder before it, as one that learns."""

    def __init__(self, network: Network, encoder: SpeechEncoder, encoder_share: float, bf16: bool) -> None:
        """`encoder_share` of the learning rate is the encoder's; with `bf16` its products have 16 bits while it
        learns."""
        super().__init__()
        self.network, self.encoder = network, encoder.requires_grad_(True)
        heard = encoder.layers, encoder.pool
        self.config, self.targets = (network.config, encoder_share, bf16, heard), network.targets
        self.encoder_share, self.bf16 = encoder_share, bf16

    @property
    def heads(self) -> nn.ModuleDict:  # type: ignore[override]  # the network's own
        return self.network.heads

    def rates(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.encoder.parameters()), "share": self.encoder_share},
            {"params": list(self.network.parameters()), "share": 1.0},
        ]

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """Features (batch, rows, columns) each, what the encoder hears among them, and sample counts (batch,)."""
        narrow = self.bf16 and self.training
        with torch.autocast(samples.device.type, torch.bfloat16) if narrow else nullcontext():  # as `bf16` has it
            frames, counts = self.encoder(inputs[self.encoder.feature], samples)
        said: Output = self.network({**inputs, "encoder": frames.float(), "encoder_counts": counts}, samples)
        return said


def learn(
    config: Config,
    trained: mpl.Trained,
    encoder: SpeechEncoder,
    train: Dataset,
    validation: Dataset,
    out: Path,
    report: mpl.Report | None = None,
) -> tuple[Network, list[loop.Epoch]]:
    """The network with its six heads, and what each epoch gave; the encoder is changed in place.

    A checkpoint is kept in `out`. Raises UsageError where the stored features are not what the encoder hears.
    """
    if encoder.feature not in config.network.inputs:
        raise UsageError(
            f"tune_encoder = true: {config.encoder.name} hears {encoder.feature!r}, and so must the network"
        )
    said = {key: trained.pseudo[key] for key in config.peers.heads}
    train, validation = mpl.agreed(config, train.with_labels(said), validation)
    network = mpl.new_network(config, mpl.student_targets(config), encoder.width, config.seed)
    network.start_from(trained.teacher)  # for the heads of peers
    network.start_from(trained.student)
    whole = EndToEnd(network, encoder, config.encoder_share, config.machine.bf16_encoder)
    before = {name: weight.clone() for name, weight in whole.state_dict().items()}
    loss = partial(losses.multi_task, targets=whole.targets, config=config.tune_loss)
    judging = _heard(validation)
    history = loop.fit(
        whole, _heard(train), judging, loss, config.tune, config.seed + 2,
        out / "end-to-end.safetensors", partial(report, "encoder and network") if report else None, config.machine,
    )  # fmt: skip
    after = whole.state_dict()
    whole.load_state_dict({name: torch.lerp(before[name], after[name], config.tuned_share) for name in after})
    _as_stored(encoder)
    if 0 < config.tuned_share < 1:
        rescale(whole, judging)
    return network.only(KEYS).eval(), history


def _heard(data: Dataset) -> Dataset:
    """The same clips without the frames of the encoder as it was."""
    clips = [
        Clip(clip.samples, {name: view for name, view in clip.features.items() if name != "encoder"})
        for clip in data.clips
    ]
    return Dataset(clips, data.labels, data.weights)


def rescale(whole: EndToEnd, data: Dataset) -> None:
    """Gain and offset of each head such that its scores of these clips lie, by least squares, on their labels.

    A score is the mean of linear frame scores, so both go into the head's last layer. Heads with a sigmoid, and
    those with fewer than LEAST_CLIPS labels, stay as they are.
    """
    scores = loop.predict(whole, data)
    for target in named([key for key in whole.targets if key in data.labels]):
        head = cast(Head, whole.heads[target.key])
        truth, said = (target.to_training(values[target.key]) for values in (data.labels, scores))
        known = ~np.isnan(truth)
        if head.sigmoid or known.sum() < LEAST_CLIPS:
            continue
        gain, offset = np.polyfit(said[known], truth[known], 1)
        with torch.no_grad():
            head.score.weight *= float(gain)
            head.score.bias.copy_(float(gain) * head.score.bias + float(offset))


def _as_stored(encoder: SpeechEncoder) -> None:
    """Frozen again, its weights rounded to the 16 bits that both files of a model keep."""
    encoder.tuned = True
    with torch.no_grad():
        for weight in encoder.requires_grad_(False).eval().parameters():
            weight.copy_(weight.half().float())
