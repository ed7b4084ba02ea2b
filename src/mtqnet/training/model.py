"""The network of MOSA-Net and MTQ-Net.

    front ends    log-mel or STFT magnitude -> convolutions;  speech encoder -> dense layer
    concatenation of all front ends at one frame rate
    BLSTM, dense layer
    for each target: self-attention -> one score per frame -> their mean is the score of the recording

Sources: Zezario et al., MOSA-Net, IEEE TASLP 31, 2023, and its released code; MTQ-Net, ICASSP 2024. MOSA-Net
predicts PESQ, STOI and SDI; MTQ-Net predicts these and S-, N- and G-MOS. Scores are on the training scale of
targets.py.

Padding: every layer sees zeros after the end of a clip, as at the end of a batch; attention and LSTM ignore
padding. So the score of a clip does not depend on the other clips of its batch. An exported graph is for one clip
without padding, and contains no masks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from mtqnet.audio.features import MEL_BANDS, MEL_HOP, SPECTRUM_BINS, SPECTRUM_HOP
from mtqnet.causes import CAUSES
from mtqnet.errors import UsageError
from mtqnet.training.config import NetworkConfig

LOGMEL_SHIFT, LOGMEL_SCALE = 4.0, 0.5
"""log10 mel power of speech is about -4; shifted and scaled, the convolutions see values around 0"""
SMALLEST_VARIANCE = 1e-3
"""Variance that is added to each direction of the embeddings, relative to the mean variance"""
IMAGES = {"logmel": MEL_BANDS, "spectrum": SPECTRUM_BINS}
"""Front ends that are processed by convolutions, and their number of bands"""


class Output(NamedTuple):
    """Scores on the training scale; targets in the order of the network."""

    values: Tensor
    """(batch, targets)"""
    frames: Tensor
    """(batch, frames, targets); zero in the padding"""
    counts: Tensor
    """(batch,): number of frames that are no padding"""
    feature_distance: Tensor | None = None
    """(batch,): distance from the teacher's intermediate features (distill.py), if the inputs contain them"""
    causes: Tensor | None = None
    """(batch, frames, causes): logits of the kinds of degradation, of a network that predicts them"""
    embedding: Tensor | None = None
    """(batch, dense): mean over the frames of what the heads share"""
    distance: Tensor | None = None
    """(batch,): distance from the training clips (Distance), of a network that measures it"""


class Trainable(nn.Module):
    """A network that trainer.py can train: `forward` returns an Output, `heads` has the layers of single
    targets."""

    config: object
    """Whatever distinguishes it from other networks with the same targets"""
    targets: tuple[str, ...]
    heads: nn.ModuleDict

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return the parameters in groups, each with its peak learning rate, for an optimiser."""
        return [{"params": list(self.parameters()), "lr": learning_rate}]

    def start_from(self, other: Trainable) -> None:
        """Copy the trunk of a network of the same dimensions, and the heads of the targets that both have."""
        own = self.state_dict()
        self.load_state_dict({**own, **{name: w for name, w in other.state_dict().items() if name in own}})

    def only(self, targets: Sequence[str]) -> Self:
        """Return a copy with only the heads of these targets."""
        copied = copy.deepcopy(self)
        copied.targets = tuple(targets)
        copied.heads = nn.ModuleDict({key: copied.heads[key] for key in targets})
        return copied

    def freeze_trunk(self, frozen: bool) -> None:
        """Set whether only the heads are trained."""
        heads = {id(weight) for weight in self.heads.parameters()}
        for weight in self.parameters():
            weight.requires_grad_(not frozen or id(weight) in heads)


class Network(Trainable):
    """MOSA-Net or MTQ-Net, depending on the targets."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig, targets: Sequence[str], encoder_width: int = 0) -> None:
        """Initialise with random weights.

        Args:
            config: Dimensions.
            targets: Keys of the predicted scores.
            encoder_width: Number of columns of an encoder frame.

        Raises:
            UsageError: If front ends with different numbers of bands would share the convolutions.
        """
        super().__init__()
        self.config, self.targets = config, tuple(targets)
        self.branches = nn.ModuleDict({name: _branch(name, config, encoder_width) for name in config.front_ends})
        self.images = ConvStack(config, _bands(config)) if _bands(config) else None
        width = sum(
            config.adapter if name == "encoder" else cast(ConvStack, self.images).width
            for name in config.front_ends
        )
        self.lstm = MaskedBiLSTM(width, config.lstm)
        self.input_norm = nn.LayerNorm(width) if config.norm else nn.Identity()
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.dense = nn.Linear(2 * config.lstm, config.dense)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict({key: Head(config.dense, config.attention_frames) for key in targets})
        self.causes = nn.Linear(config.dense, len(CAUSES)) if config.causes else None
        self.distance = Distance(config.dense) if config.distance else None

    @property
    def features(self) -> tuple[str, ...]:
        """Inputs of `forward`: names of audio.features.FEATURES, and `encoder` for the encoder's frames."""
        return self.config.front_ends

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """Predict the scores of a batch.

        Args:
            inputs: Padded features (batch, rows, columns) by name; for the front end `encoder` its frames
                (batch, frames, width), and `encoder_counts` (batch,), the number of frames that are no padding.
            samples: Lengths of the clips in samples, (batch,).
        """
        return self.predict(*self.trunk(inputs, samples))

    def trunk(self, inputs: Mapping[str, Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features that all heads share, (batch, frames, dense), and the frame counts, (batch,)."""
        pieces = [self._front_end(name, inputs, samples) for name in self.config.front_ends]
        x, counts = _concatenated(pieces)
        x = torch.relu(self.dense(self.lstm(self.input_dropout(self.input_norm(x)), counts)))
        return self.dropout(x), counts

    def predict(self, x: Tensor, counts: Tensor) -> Output:
        """Compute the scores from the output of `trunk`."""
        frames = frame_scores([cast(Head, self.heads[key]) for key in self.targets], x, counts)
        causes = None if self.causes is None else self.causes(x)
        embedding = masked_mean(x, counts)
        distance = None if self.distance is None else self.distance(embedding)
        return Output(
            masked_mean(frames, counts), frames, counts, causes=causes, embedding=embedding, distance=distance
        )

    def _front_end(self, name: str, inputs: Mapping[str, Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
        branch = self.branches[name]
        if name == "encoder":
            return torch.relu(branch(inputs["encoder"])), inputs["encoder_counts"]
        rows = samples // MEL_HOP if name == "logmel" else samples // SPECTRUM_HOP + 1
        frames, counts = cast(ConvStack, self.images)(branch(inputs[name]), rows)
        return frames, counts


class LogMel(nn.Module):
    """Shift and scale log-mel to values around zero: (batch, rows, 80) -> the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + LOGMEL_SHIFT) * LOGMEL_SCALE


class ConvStack(nn.Module):
    """3x3 convolutions with ReLU over (time, band)."""

    def __init__(self, config: NetworkConfig, bands: int) -> None:
        super().__init__()
        channels = (1, *config.conv_channels)
        self.time_strides = config.time_strides
        layers = [
            nn.Conv2d(channels[i], channels[i + 1], 3, stride=stride, padding=1)
            for i, stride in enumerate(zip(config.time_strides, config.band_strides, strict=True))
        ]
        # channels last in memory: these narrow layers take a third less time on a CPU
        self.layers = nn.ModuleList(layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norms = nn.ModuleList(ChannelNorm(layer.out_channels) for layer in layers if config.norm)
        for stride in config.band_strides:
            bands = -(-bands // stride)
        self.width = bands * channels[-1]

    def forward(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, rows, bands), (batch,) -> (batch, frames, width), (batch,)"""
        x = masked(x, rows)[:, None]  # (batch, 1, rows, bands)
        for place, (layer, stride) in enumerate(zip(self.layers, self.time_strides, strict=True)):
            x = torch.relu(self.norms[place](x, layer) if self.norms else layer(x))
            rows = strided(rows, stride) if stride > 1 else rows
            x = masked(x, rows, dim=2)
        return x.transpose(1, 2).flatten(2), rows


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a convolution."""

    def forward(self, input: Tensor, layer: nn.Conv2d) -> Tensor:  # type: ignore[override]
        """Return the normalised output of `layer`, (batch, channels, rows, bands).

        Without the mean of its weights over the channels, the output of the convolution has mean zero in each
        position.
        """
        weight, bias = (part - part.mean(dim=0, keepdim=True) for part in (layer.weight, cast(Tensor, layer.bias)))
        x = nn.functional.conv2d(input, weight, bias, layer.stride, layer.padding)
        deviation = (x.square().mean(dim=1, keepdim=True) + self.eps).sqrt()
        return x / deviation * self.weight[:, None, None] + self.bias[:, None, None]


class MaskedBiLSTM(nn.Module):
    """BLSTM whose backward direction starts at the end of each clip: (batch, frames, width) -> (.., 2 * units)."""

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
    """Weights of one target: multiplicative self-attention, then a score per frame, as in MOSA-Net's code."""

    def __init__(self, width: int, attention_frames: int = 0) -> None:
        super().__init__()
        self.attention_frames = attention_frames
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(width, width)))
        self.bias = nn.Parameter(torch.zeros(1))
        self.score = nn.Linear(width, 1)


def frame_scores(heads: Sequence[Head], x: Tensor, counts: Tensor) -> Tensor:
    """Compute the scores of all frames, (batch, frames, width) -> (batch, frames, heads); zero in the padding.

    e = X W X^T + b, A = softmax(e) over the frames attended to, score = dense(A X), here as A dense(X), which is the
    same because the rows of A add up to 1.
    """
    allowed = attention_mask(frame_mask(counts, x.shape[1]), heads[0].attention_frames)[:, None]
    weight, bias = torch.stack([head.weight for head in heads]), torch.stack([head.bias for head in heads])
    energy = x[:, None] @ weight @ x.transpose(1, 2)[:, None] + ((allowed - 1.0) * 1e4 + bias[:, :, None])
    columns, offset = (torch.cat([getattr(head.score, name) for head in heads]) for name in ("weight", "bias"))
    scores = energy.softmax(dim=3) @ (x @ columns.T).transpose(1, 2)[..., None]  # (batch, heads, frames, 1)
    return masked(scores[..., 0].transpose(1, 2) + offset, counts)


class Distance(nn.Module):
    """Mahalanobis distance of a recording's embedding from those of the training clips, about 1 for a training clip.

    Source: Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018. `fit` is
    called after training.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("whitening", torch.eye(width))

    def fit(self, embeddings: Tensor) -> None:
        """Set mean and whitening from the embeddings of training clips, (clips, width)."""
        centred = embeddings.double() - embeddings.double().mean(dim=0)
        covariance = centred.T @ centred / len(centred)
        size, directions = torch.linalg.eigh(covariance)
        floor = SMALLEST_VARIANCE * float(size.mean())
        self.mean.copy_(embeddings.double().mean(dim=0))
        self.whitening.copy_(directions / (size.clamp(min=0) + floor).sqrt())

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, width) -> (batch,)"""
        return ((embedding - self.mean) @ self.whitening).square().mean(dim=1).sqrt()


def frame_mask(counts: Tensor, frames: int) -> Tensor:
    """(batch,) counts -> (batch, frames) float: 1 for a frame of the clip, 0 for padding."""
    return (torch.arange(frames, device=counts.device)[None, :] < counts[:, None]).to(torch.float32)


def masked(x: Tensor, counts: Tensor, dim: int = 1) -> Tensor:
    """Set the padding of (batch, ..., frames, ...) to zero; frames are dimension `dim`."""
    if torch.onnx.is_in_onnx_export():
        return x
    mask = frame_mask(counts, x.shape[dim])
    return x * mask.reshape(len(mask), *(-1 if axis == dim else 1 for axis in range(1, x.dim())))


def attention_mask(mask: Tensor, frames: int) -> Tensor:
    """(batch, frames) mask -> (batch, 1 or frames, frames): 1 where a frame attends to another of the clip.

    Args:
        mask: Result of `frame_mask`.
        frames: Frames on either side that are attended to; 0: all.
    """
    if not frames:
        return mask[:, None, :]
    place = torch.cumsum(torch.ones_like(mask[:1]), dim=1)[0]
    return mask[:, None, :] * ((place[:, None] - place[None, :]).abs() <= frames)[None]


def strided(counts: Tensor, stride: int = 2) -> Tensor:
    """Frame counts after a convolution of width 3 with padding 1 and this stride: ceil(count / stride)."""
    return torch.div(counts + (stride - 1), stride, rounding_mode="floor")


def masked_mean(x: Tensor, counts: Tensor) -> Tensor:
    """(batch, frames, channels) -> (batch, channels): mean over the frames that are no padding."""
    if torch.onnx.is_in_onnx_export():
        return x.mean(dim=1)
    return masked(x, counts).sum(dim=1) / counts[:, None].to(x.dtype)


def pooled(x: Tensor, counts: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(batch, frames, channels) -> (batch, ceil(frames / size), channels): means of groups of frames, and counts.

    The last group of a clip may have fewer frames; padding is not averaged.
    """
    x = masked(x, counts)
    if size == 1:
        return x, counts
    mask = frame_mask(counts, x.shape[1])[:, :, None]
    missing = -x.shape[1] % size
    x = nn.functional.pad(x, (0, 0, 0, missing))
    mask = nn.functional.pad(mask, (0, 0, 0, missing))
    shape = (x.shape[0], x.shape[1] // size, size)
    total = x.reshape(*shape, x.shape[2]).sum(dim=2)
    return total / mask.reshape(*shape, 1).sum(dim=2).clamp(min=1.0), strided(counts, size)


def reversed_within(x: Tensor, counts: Tensor) -> Tensor:
    """(batch, frames, channels) with the frames of each clip in reverse order; padding remains at the end."""
    if torch.onnx.is_in_onnx_export():
        return x.flip(1)
    index = torch.arange(x.shape[1], device=x.device)[None, :]
    back = torch.where(index < counts[:, None], counts[:, None] - 1 - index, index)
    return torch.gather(x, 1, back[:, :, None].expand(-1, -1, x.shape[2]))


def _branch(name: str, config: NetworkConfig, encoder_width: int) -> nn.Module:
    if name == "encoder":
        return nn.Linear(encoder_width, config.adapter)
    return LogMel() if name == "logmel" else nn.Identity()


def _bands(config: NetworkConfig) -> int:
    """Return the number of bands that the convolutions see; 0 without convolutions."""
    bands = {IMAGES[name] for name in config.front_ends if name in IMAGES}
    if len(bands) > 1:
        raise UsageError(
            f"network.front_ends: logmel has {MEL_BANDS} bands and spectrum {SPECTRUM_BINS}, and all convolutions "
            "are shared: choose one of them"
        )
    return bands.pop() if bands else 0


def _concatenated(pieces: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Concatenate the channels of all front ends, cut to the number of frames of the shortest."""
    counts = torch.stack([count for _, count in pieces]).amin(dim=0)
    xs = [x for x, _ in pieces]
    for other in xs:  # a cut to each length in turn, because min() would be traced as a constant
        xs = [x[:, : other.shape[1]] for x in xs]
    return torch.cat(xs, dim=2), counts
