"""Models of a few thousand weights as training leaves them: .onnx, .json and .safetensors."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from mtqnet.scoring.intervals import Intervals, as_json
from mtqnet.targets import KEYS
from mtqnet.training import encoder as encoders
from mtqnet.training.config import Config, CorpusConfig, EncoderConfig, NetworkConfig
from mtqnet.training.export import export
from mtqnet.training.model import Head, Network

KINDS = {
    "plain": NetworkConfig(
        front_ends=("logmel",), conv_channels=(4, 6), time_strides=(2, 2), band_strides=(4, 4), lstm=12, dense=16,
        dropout=0.0,
    ),
    "channel": NetworkConfig(
        front_ends=("logmel", "encoder"), conv_channels=(2, 3), time_strides=(2, 2), band_strides=(4, 4),
        adapter=16, lstm=12, dense=16,
    ),
    "spectrum": NetworkConfig(
        front_ends=("spectrum", "encoder"), peak_normalise=True, conv_channels=(2, 4), time_strides=(1, 1),
        band_strides=(8, 8), adapter=20, lstm=12, dense=16,
    ),
    "causes": NetworkConfig(
        front_ends=("logmel",), conv_channels=(4, 6), time_strides=(2, 2), band_strides=(4, 4), lstm=12, dense=16,
        dropout=0.0, attention_frames=10, causes=True, distance=True,
    ),
}  # fmt: skip
"""Without encoder; log-mel or spectrum together with Whisper."""
SPREAD = 8.0
"""Factor of the weights of the heads: scores of random weights would all be in the middle of the range"""
_written: dict[str, Path] = {}
"""Models that this process has exported, by their arguments: an export takes up to 3 s"""


def write(
    folder: Path,
    kind: str = "plain",
    seed: int = 0,
    intervals: Intervals | None = None,
    int8: bool = False,
    tuned: bool = False,
) -> Path:
    """A model with weights drawn from the seed, in `folder`, under its name; the folder. With `tuned` its encoder
    is no longer Whisper's."""
    key = repr((folder.name, kind, seed, intervals, int8, tuned))
    if key not in _written:
        kept = Path(tempfile.mkdtemp(prefix="mtqnet-model-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        _written[key] = _export(kept / folder.name, kind, seed, intervals, int8, tuned)
    return Path(shutil.copytree(_written[key], folder, dirs_exist_ok=True))


def _export(folder: Path, kind: str, seed: int, intervals: Intervals | None, int8: bool, tuned: bool) -> Path:
    config = Config(folder.name, CorpusConfig((), ()), seed=seed, network=KINDS[kind])
    uses = "encoder" in config.network.front_ends
    encoder = encoders.load(EncoderConfig()) if uses else None
    torch.manual_seed(seed)
    if tuned and encoder is not None:
        encoder.tuned = True
        for weight in encoder.parameters():
            weight.data = (weight * (1 + 0.2 * torch.randn_like(weight))).half().float()
    network = Network(config.network, KEYS, encoder.width if encoder is not None else 0).eval()
    for head in network.heads.values():
        assert isinstance(head, Head)
        head.score.weight.data *= SPREAD
    if network.distance is not None:
        network.distance.fit(torch.randn(60, config.network.dense).abs())
    about = {"licence": "MIT", "config": asdict(config), "labels": "none", "seed": seed}
    if intervals is not None:
        about["intervals"] = as_json(intervals)
    if config.network.causes:
        about["local"] = True
    export(network, encoder, folder.name, folder, about, int8)
    return folder
