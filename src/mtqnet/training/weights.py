"""A trained model's weights on disk, and back in torch: NAME.safetensors and the record NAME.json.

The graph NAME.onnx cannot be trained on. So that the two files belong together, the network is held against the
graph before anybody uses it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file

from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.models import ModelRecord
from mtqnet.training import encoder as encoders
from mtqnet.training.config import EncoderConfig, NetworkConfig, build
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.export import PARITY, Scorer, parity
from mtqnet.training.frontend import FrontEnd
from mtqnet.training.network import Network


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


def store(network: Network, folder: Path, name: str) -> None:
    """Write NAME.safetensors, with the network's dimensions in its header."""
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(tensors, folder / f"{name}.safetensors", {"network": json.dumps(asdict(network.config))})


def load(model: str | os.PathLike[str]) -> Opened:
    """A shipped model by name, or one's own by path. Raises ModelError where it has no weights or unlike ones."""
    record = models.find(model)
    record.weights()  # the graph is the one that the record describes
    about: dict[str, Any] = json.loads(record.path.with_suffix(".json").read_text(encoding="utf-8"))
    front_end, network, encoder = _made(record, about)
    network.load_state_dict(_stored(record, network))
    opened = Opened(record, about, network.eval(), encoder, front_end)
    _need_parity(opened)
    return opened


def _made(record: ModelRecord, about: Mapping[str, Any]) -> tuple[FrontEnd, Network, SpeechEncoder | None]:
    """What the record's configuration describes, with weights drawn at random."""
    try:
        config = about["config"]
        where = f"{record.path.with_suffix('.json').name}, config"
        dimensions = build(NetworkConfig, config["network"], f"{where}.network")
        front_end = FrontEnd.under(dimensions, build(EncoderConfig, config["encoder"], f"{where}.encoder"))
    except (KeyError, TypeError, UsageError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"the record of '{record.name}' does not say what its network is ({said})") from error
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    with torch.random.fork_rng():
        network = Network(dimensions, record.targets, encoder.width if encoder is not None else 0)
    return front_end, network, encoder


def _stored(record: ModelRecord, network: Network) -> dict[str, torch.Tensor]:
    path = record.path.with_suffix(".safetensors")
    if not path.is_file():
        raise ModelError(
            f"model '{record.name}' has no weights to train on: {path.name} is not beside {record.path.name}. "
            "`mtqnet train` writes it; a model without it can score, and no more"
        )
    try:
        stored = cast(dict[str, torch.Tensor], load_file(path))
    except Exception as error:  # safetensors has an error of its own without a public name
        raise ModelError(f"{path} is damaged ({error}): copy it again") from error
    expected = {name: weight.shape for name, weight in network.state_dict().items()}
    if {name: weight.shape for name, weight in stored.items()} != expected:
        raise ModelError(f"{path.name} holds other weights than its record describes: copy the three files again")
    return stored


def _need_parity(opened: Opened) -> None:
    difference = parity(Scorer(opened.network, opened.encoder).eval(), opened.record.path)
    if worst := {key: round(value, 4) for key, value in difference.items() if not value <= PARITY}:
        raise ModelError(
            f"{opened.record.name}.safetensors scores unlike {opened.record.path.name}, by {worst}: "
            "they are of two trainings; copy the three files of one"
        )
