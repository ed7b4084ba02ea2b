"""Networks of a few hundred weights, and clips of random noise for them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.targets import KEYS, named
from mtqnet.training.config import Config, CorpusConfig, EncoderConfig, FitConfig, NetworkConfig
from mtqnet.training.dataset import Dataset, collate
from mtqnet.training.encoder import SpeechEncoder, WhisperEncoder, load
from mtqnet.training.frontend import Clip
from mtqnet.training.network import Network, Output

torch.set_num_threads(1)  # networks of a few hundred weights: a second thread would wait for the first

ENCODER_WIDTH = 5

PLAIN = NetworkConfig(
    front_ends=("logmel",), conv_channels=(2, 3), time_strides=(2, 2), band_strides=(4, 4), lstm=6, dense=7
)
CHANNEL = NetworkConfig(
    front_ends=("logmel", "encoder"), conv_channels=(2, 3), time_strides=(2, 2), band_strides=(4, 4),
    adapter=8, lstm=6, dense=7, sigmoid=("pesq_est",),
)  # fmt: skip
TIME = NetworkConfig(
    front_ends=("spectrum", "sinc", "encoder"), merge="time", peak_normalise=True, conv_channels=(2, 4),
    conv_depth=2, time_strides=(1, 1), band_strides=(8, 8), adapter=20, lstm=6, dense=7, sigmoid=("stoi_est",),
)  # fmt: skip
NORMED = replace(CHANNEL, conv_channels=(3, 4), norm=True)
KINDS = {"plain": PLAIN, "channel": CHANNEL, "normed": NORMED, "time": TIME}


def config(network: NetworkConfig = CHANNEL, epochs: int = 4) -> Config:
    fit = FitConfig(epochs=epochs, batch=4, level_db=3.0)
    return Config("tiny", CorpusConfig((), ()), seed=5, network=network, teacher=fit, student=fit)


def network(kind: NetworkConfig, targets: tuple[str, ...] = KEYS, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(kind, targets, ENCODER_WIDTH).eval()


def clip(kind: NetworkConfig, samples: int, seed: int = 0, gain: float = 0.1) -> Clip:
    """White noise at this gain; encoder frames are random, 50 a second, or 25 beside strides of 4."""
    rng = np.random.default_rng(seed)
    sound = (gain * rng.standard_normal(samples)).astype(np.float32)
    sound = peak_normalised(sound) if kind.peak_normalise else sound
    names = {"sinc": "wave"}
    views = {
        names.get(name, name): FEATURES[names.get(name, name)].compute(sound)
        for name in kind.front_ends
        if name != "encoder"
    }
    rows, stride = samples // 160, 4 if kind.merge == "channel" else 2
    frames = -(-rows // stride)
    views["encoder"] = rng.standard_normal((frames, ENCODER_WIDTH)).astype(np.float32)
    kept = {name: view.astype(np.float16) for name, view in views.items() if name in {*views} & used(kind)}
    return Clip(samples, kept)


def used(kind: NetworkConfig) -> set[str]:
    return {"wave" if name == "sinc" else name for name in kind.front_ends}


def dataset(kind: NetworkConfig, clips: int, seed: int = 0) -> Dataset:
    """Clips of unlike length and level; every label rises (SDI: falls) with the level, over its whole range."""
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
    """What the network says of these clips in one batch."""
    batch = collate(Dataset(clips, {}), np.arange(len(clips)), ())
    with torch.inference_mode():
        said: Output = net(batch.inputs, batch.samples)
    return said


@lru_cache(maxsize=1)
def whisper(layers: tuple[int, ...] = (1, 2), pool: int = 2) -> SpeechEncoder:
    """The real encoder: reading and checking its 75 MB takes a second."""
    return load(EncoderConfig("whisper-tiny.en", layers, pool))


def little_encoder(pool: int = 2) -> WhisperEncoder:
    """Whisper's kind with drawn weights: two layers of 8."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return np.asarray(rng.standard_normal(shape) / np.sqrt(shape[-1]), dtype=np.float32)

    size = 8
    weights = {
        "encoder/num_heads": np.array(2, np.float32), "encoder/position_encodings/encodings": drawn(1500, size),
        "encoder/conv1/weight": drawn(size, 80, 3), "encoder/conv1/bias": drawn(size),
        "encoder/conv2/weight": drawn(size, size, 3), "encoder/conv2/bias": drawn(size),
    }  # fmt: skip
    shapes = {"self_attention/linear_0": (3 * size, size), "self_attention/linear_1": (size, size),
              "ffn/linear_0": (4 * size, size), "ffn/linear_1": (size, 4 * size)}  # fmt: skip
    for layer in (0, 1):
        for part in ("self_attention", "ffn"):
            weights[f"encoder/layer_{layer}/{part}/layer_norm/gamma"] = np.ones(size, np.float32)
            weights[f"encoder/layer_{layer}/{part}/layer_norm/beta"] = drawn(size)
        for name, shape in shapes.items():
            weights[f"encoder/layer_{layer}/{name}/weight"] = drawn(*shape)
            weights[f"encoder/layer_{layer}/{name}/bias"] = drawn(shape[0])
    return WhisperEncoder(weights, (2,), pool)


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
