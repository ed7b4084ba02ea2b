"""The family of MOSA-Net and MTQ-Net, read from top to bottom.

    branches      STFT magnitude · sinc filter bank · log-mel -> convolutions;  speech encoder -> dense
    merge         side by side at one frame rate (`channel`), or in a row along time (`time`, the paper)
    BLSTM, dense
    for each target: self-attention -> a score for each frame -> their mean is the utterance's score

Sources: Zezario et al., MOSA-Net, IEEE TASLP 31, 2023, and its released code; MTQ-Net,
ICASSP 2024. The two differ in their targets alone: MOSA-Net has PESQ, STOI and SDI, MTQ-Net
these and S-, N- and G-MOS. Scores live on the training scale of targets.py.

Padding: every layer sees zeros beyond a clip's end, as it would see beyond the clip itself; attention and
LSTM see nothing there. So a clip's score does not depend on what it was batched with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from mtqnet.audio.features import MEL_BANDS, MEL_HOP, SPECTRUM_BINS, SPECTRUM_HOP
from mtqnet.errors import UsageError
from mtqnet.targets import TRAINING_SPAN
from mtqnet.training.config import NetworkConfig
from mtqnet.training.dropout import Dropout
from mtqnet.training.masks import frame_mask, halved, masked_mean, reversed_within
from mtqnet.training.sinc import SincBank

LOGMEL_SHIFT, LOGMEL_SCALE = 4.0, 0.5
"""log10 mel power of speech lies around -4; so the convolutions see numbers around 0."""


class Output(NamedTuple):
    """On the training scale, targets in the network's order."""

    values: Tensor
    """(batch, targets)"""
    frames: Tensor
    """(batch, frames, targets); padding is zero."""
    counts: Tensor
    """(batch,) real frames"""
    apart: Tensor | None = None
    """(batch,) distance from what a teacher hears (hints.py), where the inputs tell that"""


class Trainable(nn.Module):
    """What the loop trains: `forward` gives an Output; what belongs to single targets is in `heads`."""

    config: object
    """Whatever tells it from others with the same targets"""
    targets: tuple[str, ...]
    heads: nn.ModuleDict

    def rates(self) -> list[dict[str, Any]]:
        """Groups of weights for the optimiser; `share` is what a group takes of the learning rate."""
        return [{"params": list(self.parameters()), "share": 1.0}]

    def start_from(self, other: Trainable) -> None:
        """Take the trunk of a network of the same dimensions, and the heads of the targets that both have."""
        mine = self.state_dict()
        self.load_state_dict({**mine, **{name: w for name, w in other.state_dict().items() if name in mine}})

    def only(self, targets: Sequence[str]) -> Self:
        """A copy with the heads of these targets alone: what was learned beside them stays in the trunk."""
        kept = copy.deepcopy(self)
        kept.targets = tuple(targets)
        kept.heads = nn.ModuleDict({key: kept.heads[key] for key in targets})
        return kept

    def freeze_trunk(self, frozen: bool) -> None:
        """Whether the heads learn alone."""
        heads = {id(weight) for weight in self.heads.parameters()}
        for weight in self.parameters():
            weight.requires_grad_(not frozen or id(weight) in heads)


class Network(Trainable):
    """MOSA-Net or MTQ-Net, by its targets."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig, targets: Sequence[str], encoder_width: int = 0) -> None:
        super().__init__()
        self.config, self.targets = config, tuple(targets)
        self.branches = nn.ModuleDict({name: _branch(name, config, encoder_width) for name in config.front_ends})
        self.images = ConvStack(config, _bands(config)) if _bands(config) else None
        widths = [
            config.adapter if name == "encoder" else cast(ConvStack, self.images).width
            for name in config.front_ends
        ]
        if config.merge == "time" and len(set(widths)) > 1:
            raise UsageError(f"branches merged along time must be equally wide, not {widths}")
        self.lstm = MaskedBiLSTM(sum(widths) if config.merge == "channel" else widths[0], config.lstm)
        self.input_norm = nn.LayerNorm(self.lstm.width) if config.norm else nn.Identity()
        self.input_dropout = Dropout(config.input_dropout)
        self.dense = nn.Linear(2 * config.lstm, config.dense)
        self.dropout = Dropout(config.dropout)
        self.heads = nn.ModuleDict({key: Head(config.dense, key in config.sigmoid) for key in targets})

    @property
    def features(self) -> tuple[str, ...]:
        """Inputs that `forward` needs: names of signal.features, and `encoder` for its frames."""
        return self.config.inputs

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """Features (batch, rows, columns) each and sample counts (batch,) -> scores.

        With an encoder branch, `encoder` holds its frames (batch, frames, width) and `encoder_counts` how
        many of them are real (batch,).
        """
        return self.scored(*self.trunk(inputs, samples))

    def scored(self, x: Tensor, counts: Tensor) -> Output:
        """What `trunk` gives -> scores."""
        frames = torch.cat([self.heads[key](x, counts) for key in self.targets], dim=2)
        return Output(masked_mean(frames, counts), frames, counts)

    def trunk(self, inputs: Mapping[str, Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
        """What all targets share: (batch, frames, dense), (batch,)."""
        pieces = [self._piece(name, inputs, samples) for name in self.config.front_ends]
        x, counts = (_side_by_side if self.config.merge == "channel" else _along_time)(pieces)
        x = torch.relu(self.dense(self.lstm(self.input_dropout(self.input_norm(x)), counts)))
        return self.dropout(x), counts

    def _piece(self, name: str, inputs: Mapping[str, Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
        branch = self.branches[name]
        if name == "encoder":
            return torch.relu(branch(inputs["encoder"])), inputs["encoder_counts"]
        if isinstance(branch, SincBank):
            return self._image(branch(inputs["wave"]), branch.counts(samples))
        rows = samples // MEL_HOP if name == "logmel" else samples // SPECTRUM_HOP + 1
        return self._image(branch(inputs[name]), rows)

    def _image(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        frames, counts = cast(ConvStack, self.images)(x, rows)
        return frames, counts


class LogMel(nn.Module):
    """Log-mel, moved to around zero. (batch, rows, 80) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + LOGMEL_SHIFT) * LOGMEL_SCALE


class ConvStack(nn.Module):
    """Blocks of 3x3 ReLU convolutions over (time, band); the last of each block has the strides."""

    def __init__(self, config: NetworkConfig, bands: int) -> None:
        super().__init__()
        layers: list[nn.Conv2d] = []
        before, self.time_strides = 1, []
        strides = zip(config.conv_channels, config.time_strides, config.band_strides, strict=True)
        for channels, along_time, along_bands in strides:
            for number in range(config.conv_depth):
                last = number == config.conv_depth - 1
                stride = (along_time, along_bands) if last else (1, 1)
                layers.append(nn.Conv2d(before, channels, 3, stride=stride, padding=1))
                self.time_strides.append(stride[0])
                before = channels
            bands = -(-bands // along_bands)
        # channels beside each other in memory: these narrow layers take a third less time on a CPU
        self.layers = nn.ModuleList(layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norms = nn.ModuleList(
            ChannelNorm(layer.out_channels) if config.norm else nn.Identity() for layer in layers
        )
        self.width = bands * before

    def forward(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, rows, bands), (batch,) -> (batch, frames, width), (batch,)"""
        x = (x * frame_mask(rows, x.shape[1])[:, :, None])[:, None]  # (batch, 1, rows, bands)
        for layer, norm, stride in zip(self.layers, self.norms, self.time_strides, strict=True):
            x = torch.relu(norm(layer(x)))
            rows = halved(rows, stride) if stride > 1 else rows
            x = x * frame_mask(rows, x.shape[2])[:, None, :, None]
        return x.transpose(1, 2).flatten(2), rows


class ChannelNorm(nn.LayerNorm):
    """(batch, channels, rows, bands) -> the same: each place alone, so that neither batch nor padding counts."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MaskedBiLSTM(nn.Module):
    """Both directions start at the clip's own ends: (batch, frames, width) -> (batch, frames, 2 units)."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.width = width
        self.forth = nn.LSTM(width, units, batch_first=True)
        self.back = nn.LSTM(width, units, batch_first=True)

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        forth = self.forth(x)[0]
        back = reversed_within(self.back(reversed_within(x, counts))[0], counts)
        return torch.cat([forth, back], dim=2)


class Head(nn.Module):
    """One target: multiplicative self-attention, then a score for each frame, as in MOSA-Net's code.

    e = X W X^T + b, softmax over the frames attended to, V = A X, score = dense(V).
    """

    def __init__(self, width: int, sigmoid: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(width, width)))
        self.bias = nn.Parameter(torch.zeros(1))
        self.score = nn.Linear(width, 1)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """(batch, frames, width) -> (batch, frames, 1)"""
        mask = frame_mask(counts, x.shape[1])
        energy = x @ self.weight @ x.transpose(1, 2) + self.bias + (mask[:, None, :] - 1.0) * 1e4
        score: Tensor = self.score(energy.softmax(dim=2) @ x)
        if self.sigmoid:
            score = TRAINING_SPAN * (torch.sigmoid(score) - 0.5)
        return score * mask[:, :, None]


def _branch(name: str, config: NetworkConfig, encoder_width: int) -> nn.Module:
    if name == "encoder":
        return nn.Linear(encoder_width, config.adapter)
    if name == "sinc":
        return SincBank()
    return LogMel() if name == "logmel" else nn.Identity()


def _bands(config: NetworkConfig) -> int:
    """Bands of the images that the convolutions see; 0 where there are none."""
    bands = {"logmel": MEL_BANDS, "spectrum": SPECTRUM_BINS, "sinc": SPECTRUM_BINS}
    seen = {bands[name] for name in config.front_ends if name in bands}
    if len(seen) > 1:
        raise UsageError("logmel has 80 bands, spectrum and sinc have 257: they share no convolutions")
    return seen.pop() if seen else 0


def _side_by_side(pieces: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Branches of one frame rate -> their channels next to each other, as many frames as the shortest has."""
    counts = torch.stack([count for _, count in pieces]).amin(dim=0)
    xs = [x for x, _ in pieces]
    for other in xs:  # a cut at each length in turn, as min() would be traced as a constant
        xs = [x[:, : other.shape[1]] for x in xs]
    return torch.cat(xs, dim=2), counts


def _along_time(pieces: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Branches one after the other along time, the real frames of each clip moved to the front."""
    x = torch.cat([piece for piece, _ in pieces], dim=1)
    mask = torch.cat([frame_mask(count, piece.shape[1]) for piece, count in pieces], dim=1)
    place = torch.arange(x.shape[1], device=x.device)[None, :]
    order = torch.argsort(place + (1 - mask).long() * x.shape[1], dim=1)
    x = torch.gather(x * mask[:, :, None], 1, order[:, :, None].expand(-1, -1, x.shape[2]))
    return x, torch.stack([count for _, count in pieces]).sum(dim=0)
