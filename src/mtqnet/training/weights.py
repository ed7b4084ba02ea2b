"""A trained model's weights back in torch, from NAME.safetensors and the record NAME.json.

The graph NAME.onnx cannot be trained on. The record has the digest of both files: export.py held the network
against the graph before it wrote them. Records from before 2026-11-26 have that of the graph alone: there the
network is held against the graph once more.
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
from mtqnet.training.config import EncoderConfig, NetworkConfig, build
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.export import INT8_PARITY, PARITY, TUNED_ENCODER, WEIGHTS_SHA256, Scorer, parity
from mtqnet.training.frontend import FrontEnd
from mtqnet.training.network import Network

ONE_TRAINING = "the files are of two trainings; copy .onnx, .safetensors and .json of one"


@dataclass(frozen=True)
class Opened:
    """A model that can be trained on, or differentiated."""

    record: ModelRecord
    about: Mapping[str, Any]
    """The whole record, as the file has it"""
    network: Network
    """In evaluation mode"""
    encoder: SpeechEncoder | None
    front_end: FrontEnd

    @property
    def int8(self) -> bool:
        """Whether the graph has 8-bit matrix products. The weights have 32 bits in any case."""
        return bool(self.about.get("int8", False))


def load(model: str | os.PathLike[str]) -> Opened:
    """A shipped model by name, or one's own by path. Raises ModelError where it has no weights or unlike ones."""
    record = models.find(model)
    record.weights()  # the graph is the one that the record describes
    about: dict[str, Any] = json.loads(record.path.with_suffix(".json").read_text(encoding="utf-8"))
    dimensions, encoder_config = _described(record, about)
    content = _content(record)
    digest = about.get(WEIGHTS_SHA256)
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise ModelError(
            f"{_beside(record).name} is not the file that {record.name}.json describes: {ONE_TRAINING}"
        )
    front_end, network, encoder = _made(record, dimensions, encoder_config)
    network.load_state_dict(_tensors(content, record, network))
    opened = Opened(record, about, network.eval(), encoder, front_end)
    if digest is None:
        _need_parity(opened)
    return opened


def _described(record: ModelRecord, about: Mapping[str, Any]) -> tuple[NetworkConfig, EncoderConfig]:
    """What the record's configuration says of network and encoder."""
    try:
        config = about["config"]
        where = f"{record.path.with_suffix('.json').name}, config"
        dimensions = build(NetworkConfig, config["network"], f"{where}.network")
        encoder_config = build(EncoderConfig, config["encoder"], f"{where}.encoder")
    except (KeyError, TypeError, UsageError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"the record of '{record.name}' does not say what its network is ({said})") from error
    tuned = about.get(TUNED_ENCODER, False)
    return dimensions, replace(encoder_config, weights=str(_beside(record))) if tuned else encoder_config


def _made(
    record: ModelRecord, dimensions: NetworkConfig, encoder_config: EncoderConfig
) -> tuple[FrontEnd, Network, SpeechEncoder | None]:
    """The network with weights drawn at random, and the encoder as it is."""
    front_end = FrontEnd.under(dimensions, encoder_config)
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    with torch.random.fork_rng():
        network = Network(dimensions, record.targets, encoder.width if encoder is not None else 0)
    return front_end, network, encoder


def _beside(record: ModelRecord) -> Path:
    return record.path.with_suffix(".safetensors")


def _content(record: ModelRecord) -> bytes:
    path = _beside(record)
    if not path.is_file():
        raise ModelError(
            f"model '{record.name}' has no weights to train on: {path.name} is not beside {record.path.name}. "
            "`mtqnet train` writes it; a model without it can score, and no more"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}): check its permissions") from error


def _tensors(content: bytes, record: ModelRecord, network: Network) -> dict[str, torch.Tensor]:
    path = _beside(record)
    try:
        stored = {k: w for k, w in parsed(content).items() if not k.startswith(encoders.PREFIX)}
    except Exception as error:  # safetensors has an error of its own without a public name
        raise ModelError(f"{path} is damaged ({error}): copy it again") from error
    expected = {name: weight.shape for name, weight in network.state_dict().items()}
    if {name: weight.shape for name, weight in stored.items()} != expected:
        raise ModelError(f"{path.name} holds other weights than its record describes: {ONE_TRAINING}")
    return stored


def _need_parity(opened: Opened) -> None:
    """For records without the digest. Against a graph of 8 bits it tells less: two trainings may be as near."""
    scorer = Scorer(opened.network, opened.encoder).eval()
    scorer.one_at_a_time = opened.record.one_at_a_time
    bound = INT8_PARITY if opened.int8 else PARITY
    difference = parity(scorer, opened.record.path)
    if worst := {key: round(value, 4) for key, value in difference.items() if not value <= bound}:
        raise ModelError(
            f"{_beside(opened.record).name} scores unlike {opened.record.path.name}, by {worst}: {ONE_TRAINING}"
        )
