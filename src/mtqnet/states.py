"""What mtqnet.integrations.metric needs of torchmetrics.Metric, for where that is not installed.

The part of its documented interface (lightning.ai/docs/torchmetrics, "Implementing a Metric") that works in one
process: states with defaults and reductions, `reset`, and a call that gives the value of its batch alone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Metric(nn.Module):
    """States that updates add to, and a value of them."""

    is_differentiable: bool | None = None
    higher_is_better: bool | None = None
    full_state_update: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self._defaults: dict[str, Tensor | list[Tensor]] = {}
        self._reductions: dict[str, str] = {}

    def add_state(self, name: str, default: Tensor | list[Tensor], dist_reduce_fx: str) -> None:
        """A state under this name. `dist_reduce_fx`: "sum" for tensors, "cat" for lists of them."""
        self._defaults[name], self._reductions[name] = default, dist_reduce_fx
        setattr(self, name, _fresh(default))

    @property
    def metric_state(self) -> dict[str, Any]:
        """All states by name."""
        return {name: getattr(self, name) for name in self._defaults}

    def reset(self) -> None:
        """Back to the defaults."""
        for name, default in self._defaults.items():
            setattr(self, name, _fresh(default))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the states."""
        raise NotImplementedError

    def compute(self) -> Any:
        """The value of all that was added."""
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch; the value of this batch alone."""
        before = self.metric_state
        self.reset()
        self.update(*args, **kwargs)
        value = self.compute()
        for name, earlier in before.items():  # sums and lists alike
            setattr(self, name, earlier + getattr(self, name))
        return value


def _fresh(default: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return default.clone() if isinstance(default, Tensor) else []
