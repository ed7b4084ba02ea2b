"""The state of a run, and its checkpoint: one safetensors file, written whole or not at all.

Weights, their running average, the optimiser's state and the best weights are tensors, the history is JSON in the
header. A checkpoint is written beside the old one and renamed, so a kill at any moment leaves a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mtqnet.errors import UsageError
from mtqnet.training.network import Trainable

Weights = dict[str, Tensor]


@dataclass
class State:
    """What changes from step to step."""

    network: Trainable
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None = None
    """Running average of the network's weights"""
    best: Weights = field(default_factory=dict)
    """Of the best epoch so far; at first those that the network began with"""

    def __post_init__(self) -> None:
        self.keep()

    @property
    def judged(self) -> Trainable:
        """The network that is validated and kept: the average where there is one."""
        return self.network if self.average is None else cast(Trainable, self.average.module)

    def keep(self) -> None:
        """Take today's weights for the best ones."""
        self.best = {name: value.detach().clone() for name, value in self.judged.state_dict().items()}

    def average_step(self) -> None:
        """Move the average, if there is one, by one step."""
        if self.average is not None:
            self.average.update_parameters(self.network)


def averaged(network: Trainable, share: float) -> AveragedModel | None:
    """An exponential running average that keeps `share` of itself at each step; None for 0."""
    if not share:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(share))  # type: ignore[no-untyped-call]


def save(path: Path, identity: str, state: State, history: Sequence[Mapping[str, Any]]) -> None:
    """Write a checkpoint. `identity` tells what the run depends on."""
    groups: dict[str, Mapping[str, Tensor]] = {"network": state.network.state_dict(), "best": state.best}
    if state.average is not None:
        groups["average"] = state.average.state_dict()
    for place, moments in state.optimiser.state_dict()["state"].items():
        groups[f"optimiser/{place}"] = moments
    tensors = {f"{group}/{k}": v.contiguous() for group, weights in groups.items() for k, v in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    save_file(tensors, partial, {"identity": identity, "history": json.dumps(list(history))})
    partial.replace(path)


def restore(path: Path, identity: str, state: State) -> list[dict[str, Any]]:
    """Load a checkpoint, if there is one, into `state`; its history. Raises UsageError if it is of another run."""
    if not path.exists():
        return []
    groups: dict[str, Weights] = {}
    moments: dict[int, Weights] = {}
    with safe_open(path, "pt") as stored:
        if stored.metadata().get("identity") != identity:
            raise UsageError(f"{path} is of other clips or other options: name another folder for this run")
        history: list[dict[str, Any]] = json.loads(stored.metadata()["history"])
        for name in stored.keys():  # noqa: SIM118 - not a dict
            group, _, rest = name.partition("/")
            if group == "optimiser":
                place, _, part = rest.partition("/")
                moments.setdefault(int(place), {})[part] = stored.get_tensor(name)
            else:
                groups.setdefault(group, {})[rest] = stored.get_tensor(name)
    state.network.load_state_dict(groups["network"])
    state.optimiser.load_state_dict({**state.optimiser.state_dict(), "state": moments})
    state.best = groups["best"]
    if state.average is not None:
        state.average.load_state_dict(groups["average"])
    return history
