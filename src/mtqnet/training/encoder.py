"""The speech encoder of the front end: a pretrained network whose frames MOSA-Net and MTQ-Net take as input.

`whisper-tiny.en` consists of the first two layers of the encoder of OpenAI's Whisper tiny.en (Radford et al. 2022,
MIT licence), which the package contains; MOSA-Net uses HuBERT instead. Early layers carry information about
quality, late layers about words. Any HuBERT, WavLM or wav2vec 2.0 can be used in its place (`HuggingFaceEncoder`,
extra `[hf]`).

All encoders have the same interface: padded features and sample counts -> frames (batch, frames, width) and frame
counts. Padding does not change the other frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import load as parsed
from torch import Tensor, nn
from torch.nn import functional

from mtqnet.audio.features import MEL_BANDS, MEL_HOP
from mtqnet.errors import ModelError, missing_extra
from mtqnet.scoring import models
from mtqnet.scoring.models import WEIGHTS
from mtqnet.training.config import EncoderConfig
from mtqnet.training.model import attention_mask, frame_mask, masked, pooled, strided

WHISPER = "whisper-tiny.en"
"""Name of the encoder that the package contains"""
WHISPER_FILE = WEIGHTS / f"{WHISPER}.safetensors"
"""Its weights as 16-bit floats, written by research/convert_whisper.py"""
MAX_SECONDS = 30
"""Longest clip: Whisper has positions for 1500 frames of 20 ms"""
DYNAMIC_RANGE = 8.0
"""log10 power: bands more than 80 dB below the loudest of the clip are clipped, as in Whisper"""
PEAK = 1.0
"""log10 power of the loudest band after normalisation, which makes the frames independent of the level. It is
about that of speech at -26 dBov"""
PREFIX = "encoder."
"""Prefix of a tuned encoder's weights in a model's .safetensors file"""


class SpeechEncoder(nn.Module):
    """A frozen front end."""

    feature: str
    """Name of the feature that `forward` takes"""
    width: int
    """Number of columns of a frame"""
    layers: tuple[int, ...]
    """Layers whose outputs are concatenated"""
    pool: int
    """Number of frames that are averaged into one"""
    tuned = False
    """Whether its weights were trained further (mpl.MPL.tune)"""

    def forward(self, feature: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, rows, columns), (batch,) -> frames (batch, frames, width), frame counts (batch,)."""
        raise NotImplementedError


def load(config: EncoderConfig) -> SpeechEncoder:
    """Load the encoder that a configuration names, frozen and in evaluation mode.

    Raises:
        ModelError: If there is no such encoder, or it does not have the layers.
    """
    encoder: SpeechEncoder
    if config.name == WHISPER:
        weights, heads = _whisper_weights()
        encoder = WhisperEncoder(weights, heads, config)
    elif config.pool_first or config.attention_frames:
        raise ModelError(f"encoder.pool_first and encoder.attention_frames are for {WHISPER} only: delete them")
    else:
        encoder = HuggingFaceEncoder(config.name, config.layers, config.pool)
    if config.weights:
        encoder.load_state_dict(tuned_weights(stored_weights(config)))
        encoder.tuned = True
    return cast(SpeechEncoder, encoder.eval().requires_grad_(False))


def stored_weights(config: EncoderConfig) -> bytes:
    """Read the file of `config.weights`.

    Raises:
        ModelError: If the file cannot be read.
    """
    shipped = config.weights in models.shipped()
    try:
        return (models.WEIGHTS / f"{config.weights}.safetensors" if shipped else Path(config.weights)).read_bytes()
    except OSError as error:
        raise ModelError(
            f"encoder.weights: cannot read {config.weights} ({error.strerror}): name a model's .safetensors file"
        ) from error


def tuned_weights(content: bytes) -> dict[str, Tensor]:
    """Return the weights of the tuned encoder in a .safetensors file; empty if its encoder was not tuned."""
    stored = cast(dict[str, Tensor], parsed(content))
    return {name.removeprefix(PREFIX): weight for name, weight in stored.items() if name.startswith(PREFIX)}


class WhisperEncoder(SpeechEncoder):
    """Convolutional stem and first layers of a Whisper encoder, at 50 frames per second before pooling.

    Unlike Whisper it does not pad to 30 s: positions are cut to the clip, and attention ignores padding. With
    `pool_first` groups of frames are averaged after the stem, so that the layers process fewer frames.
    """

    feature = "logmel"

    def __init__(self, weights: Mapping[str, Tensor], heads: int, config: EncoderConfig) -> None:
        """Copy the weights.

        Args:
            weights: Parameters of this class by name, and the position embeddings `positions` (1500, size).
            heads: Number of attention heads.
            config: Layers whose outputs are concatenated (0 is the stem), and how frames are averaged.

        Raises:
            ModelError: If `weights` has fewer layers.
        """
        super().__init__()
        layers = config.layers
        depth = sum(name.startswith("blocks.") and name.endswith(".out.bias") for name in weights)
        if max(layers) > depth:
            raise ModelError(
                f"encoder.layers: this Whisper encoder has the layers 0 to {depth}, found {max(layers)}"
            )
        size = weights["conv1.weight"].shape[0]
        self.layers, self.pool, self.width = layers, config.pool, size * len(layers)
        self.pool_first, self.attention_frames = config.pool_first, config.attention_frames
        self.conv1 = nn.Conv1d(MEL_BANDS, size, 3, padding=1)
        self.conv2 = nn.Conv1d(size, size, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_Block(size, heads) for _ in range(max(layers)))
        self.register_buffer("positions", weights["positions"].clone(), persistent=False)
        self.load_state_dict({name: weights[name] for name in self.state_dict()})

    def forward(self, feature: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Absolute log-mel (batch, rows, 80) -> (batch, ceil(rows / 2 / pool), width)."""
        rows = samples // MEL_HOP
        x = self._normalised(feature, rows)
        x = masked(functional.gelu(_convolved(x, self.conv1)), rows)
        x = functional.gelu(_convolved(x, self.conv2))
        counts = strided(rows)
        x = x + cast(Tensor, self.positions)[: x.shape[1]]
        if self.pool_first:
            x, counts = pooled(x, counts, self.pool)
        mask = attention_mask(frame_mask(counts, x.shape[1]), self.attention_frames)
        outputs = [x] if 0 in self.layers else []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, mask)
            if number in self.layers:
                outputs.append(x)
        return pooled(torch.cat(outputs, dim=2), counts, 1 if self.pool_first else self.pool)

    def _normalised(self, logmel: Tensor, rows: Tensor) -> Tensor:
        """Apply Whisper's scaling with the loudest band of the clip at PEAK; padding is zero."""
        valid = logmel  # without the padding
        if not torch.onnx.is_in_onnx_export():
            valid = logmel.masked_fill(frame_mask(rows, logmel.shape[1])[:, :, None] == 0, -99.0)
        level = torch.clamp(logmel - valid.amax(dim=(1, 2), keepdim=True), min=-DYNAMIC_RANGE) + PEAK
        return masked((level + 4.0) / 4.0, rows)


def _convolved(x: Tensor, layer: nn.Conv1d) -> Tensor:
    """Apply a convolution of width 3 and padding 1, (batch, rows, size) -> (batch, ceil(rows / stride), size), as one
    matrix product, which the exported graph can store in 8 bits."""
    (stride,), x = layer.stride, functional.pad(x, (0, 0, 1, 1))
    taps = torch.cat([x[:, 0:-2:stride], x[:, 1:-1:stride], x[:, 2::stride]], dim=2)
    weight = layer.weight.permute(2, 1, 0).reshape(-1, layer.out_channels)  # constants: the exporter folds them
    return taps @ weight + cast(Tensor, layer.bias)


class _Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(size)
        self.query_key_value = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.before_feed = nn.LayerNorm(size)
        self.widen = nn.Linear(size, 4 * size)
        self.narrow = nn.Linear(4 * size, size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, size), (batch, 1 or frames, frames) -> (batch, frames, size)"""
        batch, frames, size = x.shape
        split = self.query_key_value(self.before_attention(x))
        q, k, v = split.view(batch, frames, 3, self.heads, size // self.heads).permute(2, 0, 3, 1, 4)
        score = q @ k.transpose(2, 3) * (size // self.heads) ** -0.5
        score = score + (mask[:, None] - 1.0) * 1e4  # padding gets no attention
        mixed = (score.softmax(dim=3) @ v).transpose(1, 2).reshape(batch, frames, size)
        x = x + self.out(mixed)
        return x + cast(Tensor, self.narrow(functional.gelu(self.widen(self.before_feed(x)))))


class HuggingFaceEncoder(SpeechEncoder):
    """A HuBERT, WavLM or wav2vec 2.0 through `transformers`: a local folder, or a hub name.

    Clips are processed one by one, because these networks normalise over time and padding would change all frames.
    """

    feature = "wave"

    def __init__(self, name: str, layers: tuple[int, ...], pool: int) -> None:
        """Load the model.

        Raises:
            MissingExtraError: If `transformers` is not installed.
            ModelError: If there is no such model, or it has fewer layers.
        """
        super().__init__()
        try:
            from transformers import AutoModel
        except ImportError as error:
            raise missing_extra(f"The encoder {name!r}", "hf") from error
        try:
            self.model = AutoModel.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"encoder.name: no speech encoder {name!r}: use {WHISPER}, or a folder or hub name of a HuBERT, "
                "WavLM or wav2vec 2.0 model"
            ) from error
        depth = int(self.model.config.num_hidden_layers)
        if max(layers) > depth:
            raise ModelError(f"encoder.layers: {name} has the layers 0 to {depth}, found {max(layers)}")
        self.layers, self.pool = layers, pool
        self.width = int(self.model.config.hidden_size) * len(layers)

    def forward(self, feature: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples, 1) at 16 kHz -> (batch, frames, width)."""
        if torch.onnx.is_in_onnx_export():  # a loop over clips cannot be traced: the graph is for one clip
            frames = self._one(feature[0, :, 0])[None]
            return pooled(frames, torch._shape_as_tensor(frames)[1:2], self.pool)
        clips = [self._one(clip[: int(n), 0]) for clip, n in zip(feature, samples, strict=True)]
        counts = torch.tensor([len(clip) for clip in clips])
        return pooled(nn.utils.rnn.pad_sequence(clips, batch_first=True), counts, self.pool)

    def _one(self, wave: Tensor) -> Tensor:
        wave = (wave - wave.mean()) / (wave.var(unbiased=False) + 1e-7).sqrt()
        states = self.model(wave[None], output_hidden_states=True).hidden_states
        return torch.cat([states[layer][0] for layer in self.layers], dim=1)


def _whisper_weights() -> tuple[dict[str, Tensor], int]:
    """Return the weights that the package contains, in 32 bits, and the number of attention heads."""
    with safe_open(WHISPER_FILE, "pt") as stored:
        heads = int(stored.metadata()["heads"])
        return {name: stored.get_tensor(name).float() for name in stored.keys()}, heads  # noqa: SIM118 - no dict
