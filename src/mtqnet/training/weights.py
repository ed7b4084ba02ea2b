"""Load the weights of a trained model into torch, from NAME.safetensors and the record NAME.json.

The graph NAME.onnx cannot be trained. The record has the digests of both files, which export.py compared before it
wrote them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parsed

from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.models import ModelRecord
from mtqnet.training import encoder as encoders
from mtqnet.training.config import EncoderConfig, NetworkConfig, build, without_removed
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.export import ENCODER_IN, TUNED_ENCODER, WEIGHTS_SHA256
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import Network

ONE_TRAINING = "copy .onnx, .safetensors and .json of the same training"


@dataclass(frozen=True)
class Opened:
    """A model that can be trained or differentiated."""

    record: ModelRecord
    about: Mapping[str, Any]
    """All entries of the record"""
    network: Network
    """In evaluation mode"""
    encoder: SpeechEncoder | None
    front_end: FrontEnd

    @property
    def int8(self) -> bool:
        """Whether the graph has 8-bit matrix products; the weights have 32 bits in any case."""
        return bool(self.about.get("int8", False))


def load(model: str | os.PathLike[str]) -> Opened:
    """Load a model's weights.

    Args:
        model: Name of a shipped model, or path of a model.

    Raises:
        ModelError: If there is no .safetensors file, or it does not belong to the graph.
    """
    record = models.find(model)
    record.weights()  # checks that the graph belongs to the record
    about: dict[str, Any] = json.loads(record.path.with_suffix(".json").read_text(encoding="utf-8"))
    dimensions, encoder_config = _configuration(record, about)
    content = _content(record)
    digest = about.get(WEIGHTS_SHA256)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError(
            f"{_weights_file(record).name} does not belong to {record.name}.json (its sha256 differs): "
            f"{ONE_TRAINING}"
        )
    front_end = FrontEnd.of(dimensions, encoder_config)
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    with torch.random.fork_rng():
        network = Network(dimensions, record.targets, encoder.width if encoder is not None else 0)
    network.load_state_dict(_tensors(content, record, network))
    return Opened(record, about, network.eval(), encoder, front_end)


def _configuration(record: ModelRecord, about: Mapping[str, Any]) -> tuple[NetworkConfig, EncoderConfig]:
    """Read the configuration of network and encoder from the record."""
    file = record.path.with_suffix(".json").name
    try:
        config = about["config"]
        network = without_removed(config["network"], NetworkConfig)
        dimensions = build(NetworkConfig, network, f"{file}, config.network")
        encoder_config = build(EncoderConfig, config["encoder"], f"{file}, config.encoder")
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        reason = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{file} does not describe a network that this version can train ({reason}): it can only be used for "
            "scoring"
        ) from error
    if not about.get(TUNED_ENCODER, False):
        return dimensions, encoder_config
    stored = _weights_file(record)
    if other := about.get(ENCODER_IN):
        stored = stored.with_name(f"{Path(str(other)).name}.safetensors")
    return dimensions, replace(encoder_config, weights=str(stored))


def _weights_file(record: ModelRecord) -> Path:
    return record.path.with_suffix(".safetensors")


def _content(record: ModelRecord) -> bytes:
    path = _weights_file(record)
    if not path.is_file():
        raise ModelError(
            f"model '{record.name}' has no weights for training: there is no {path.name} next to "
            f"{record.path.name}. `mtqnet train` writes both; a model without {path.name} can only be used "
            "for scoring"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}): check its permissions") from error


def _tensors(content: bytes, record: ModelRecord, network: Network) -> dict[str, torch.Tensor]:
    path = _weights_file(record)
    try:
        stored = {k: w for k, w in parsed(content).items() if not k.startswith(encoders.PREFIX)}
    except Exception as error:  # safetensors has no public name for its error
        raise ModelError(f"{path} is damaged ({error}): copy it again") from error
    expected = {name: weight.shape for name, weight in network.state_dict().items()}
    if {name: weight.shape for name, weight in stored.items()} != expected:
        raise ModelError(f"{path.name} contains other weights than {record.name}.json describes: {ONE_TRAINING}")
    return stored
