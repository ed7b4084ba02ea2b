"""Networks of a few hundred weights, and clips of random noise for them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.targets import KEYS, named
from mtqnet.training.batches import Dataset, collate
from mtqnet.training.config import Config, CorpusConfig, EncoderConfig, FitConfig, NetworkConfig
from mtqnet.training.encoder import SpeechEncoder, WhisperEncoder, load
from mtqnet.training.features import Clip
from mtqnet.training.model import Network, Output

torch.set_num_threads(1)  # networks of a few hundred weights: a second thread would wait for the first

ENCODER_WIDTH = 5

PLAIN = NetworkConfig(
    front_ends=("logmel",), conv_channels=(2, 3), time_strides=(2, 2), band_strides=(4, 4), lstm=6, dense=7
)
CHANNEL = NetworkConfig(
    front_ends=("logmel", "encoder"), conv_channels=(2, 3), time_strides=(2, 2), band_strides=(4, 4), adapter=8,
    lstm=6, dense=7,
)  # fmt: skip
SPECTRUM = NetworkConfig(
    front_ends=("spectrum", "encoder"), peak_normalise=True, conv_channels=(2, 4), time_strides=(1, 1),
    band_strides=(8, 8), adapter=20, lstm=6, dense=7,
)  # fmt: skip
NORMED = replace(CHANNEL, conv_channels=(3, 4), norm=True)
KINDS = {"plain": PLAIN, "channel": CHANNEL, "normed": NORMED, "spectrum": SPECTRUM}


def config(network: NetworkConfig = CHANNEL, epochs: int = 4) -> Config:
    fit = FitConfig(epochs=epochs, batch=4, level_db=3.0)
    return Config("tiny", CorpusConfig((), ()), seed=5, network=network, teacher=fit, student=fit)


def network(kind: NetworkConfig, targets: tuple[str, ...] = KEYS, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(kind, targets, ENCODER_WIDTH).eval()


def clip(kind: NetworkConfig, samples: int, seed: int = 0, gain: float = 0.1) -> Clip:
    """White noise with this gain; encoder frames are random, 25 per second with log-mel, otherwise 50."""
    rng = np.random.default_rng(seed)
    sound = (gain * rng.standard_normal(samples)).astype(np.float32)
    sound = peak_normalised(sound) if kind.peak_normalise else sound
    views: dict[str, NDArray[np.float32]] = {
        name: FEATURES[name].compute(sound) for name in kind.front_ends if name != "encoder"
    }
    frames = -(-(samples // 160) // (4 if "logmel" in kind.front_ends else 2))
    encoder = rng.standard_normal((frames, ENCODER_WIDTH)).astype(np.float32)
    if "encoder" in kind.front_ends:
        views["encoder"] = encoder
    return Clip(samples, {name: view.astype(np.float16) for name, view in views.items()})


def dataset(kind: NetworkConfig, clips: int, seed: int = 0) -> Dataset:
    """Clips of different length and level; every label increases with the level, SDI decreases."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 1, clips)
    made = [
        clip(kind, int(rng.integers(5_000, 9_000)), 1_000 * seed + n, 10 ** (-3 + 2 * place[n]))
        for n in range(clips)
    ]
    labels = {
        target.key: target.from_training(4 * (place if target.higher_is_better else 1 - place) - 2)
        for target in named(KEYS)
    }
    return Dataset(made, labels)


def outputs(net: Network, clips: list[Clip]) -> Output:
    """Return the network's predictions of these clips in one batch."""
    batch = collate(Dataset(clips, {}), np.arange(len(clips)), ())
    with torch.inference_mode():
        output: Output = net(batch.inputs, batch.samples)
    return output


@lru_cache(maxsize=1)
def whisper(layers: tuple[int, ...] = (1, 2), pool: int = 2) -> SpeechEncoder:
    """The encoder that the package contains."""
    return load(EncoderConfig("whisper-tiny.en", layers, pool))


def little_encoder(pool: int = 2, **options: Any) -> WhisperEncoder:
    """Whisper's architecture with random weights: two layers of width 8."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.from_numpy(np.asarray(rng.standard_normal(shape) / np.sqrt(shape[-1]), dtype=np.float32))

    size = 8
    weights = {
        "positions": drawn(1500, size),
        "conv1.weight": drawn(size, 80, 3), "conv1.bias": drawn(size),
        "conv2.weight": drawn(size, size, 3), "conv2.bias": drawn(size),
    }  # fmt: skip
    shapes = {"query_key_value": (3 * size, size), "out": (size, size), "widen": (4 * size, size),
              "narrow": (size, 4 * size)}  # fmt: skip
    for layer in (0, 1):
        for part in ("before_attention", "before_feed"):
            weights[f"blocks.{layer}.{part}.weight"] = torch.ones(size)
            weights[f"blocks.{layer}.{part}.bias"] = drawn(size)
        for name, shape in shapes.items():
            weights[f"blocks.{layer}.{name}.weight"] = drawn(*shape)
            weights[f"blocks.{layer}.{name}.bias"] = drawn(shape[0])
    return WhisperEncoder(weights, 2, EncoderConfig(layers=(2,), pool=pool, **options))


def with_frames(data: Dataset) -> Dataset:
    """The same clips with the frames of the little encoder."""
    encoder, clips = little_encoder().eval(), []
    for clip in data.clips:
        logmel = torch.from_numpy(clip.features["logmel"].astype(np.float32))[None]
        with torch.inference_mode():
            frames = encoder(logmel, torch.tensor([clip.samples]))[0][0]
        clips.append(replace(clip, features={**clip.features, "encoder": frames.numpy().astype(np.float16)}))
    return replace(data, clips=clips)


FAMILIES = ("Hubert", "WavLM", "Wav2Vec2")


def model_folder(family: str, home: Path) -> Path:
    """A tiny network with random weights, stored as `transformers` stores models."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    getattr(transformers, f"{family}Model")(config).save_pretrained(home / family)
    return home / family
