"""Dropout that several processes draw as one would."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class Rows(NamedTuple):
    """Which rows of a batch a process works at."""

    places: Tensor
    """(rows,)"""
    size: int
    """Of the whole batch"""


class Dropout(nn.Dropout):
    """nn.Dropout; told the rows of a batch it draws for the whole of it, and takes theirs.

    As long as all processes have drawn as often, each clip then meets the draws that it would meet in one process.
    """

    rows: Rows | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.rows is None or not self.training or not self.p:
            return super().forward(input)
        drawn = functional.dropout(input.new_ones((self.rows.size, *input.shape[1:])), self.p)
        return input * drawn[self.rows.places]


def tell(network: nn.Module, rows: Rows | None) -> None:
    """Tell every Dropout of a network the rows of the batch that comes."""
    for module in network.modules():
        if isinstance(module, Dropout):
            module.rows = rows
