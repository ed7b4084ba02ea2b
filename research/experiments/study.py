"""A table of an experiment, read from TOML: one question, and arms that each differ in a few lines.

DIR/base.toml     the configuration that all arms share (training/config.py)
DIR/TABLE.toml    title, question, reference, and [arms.NAME] with the fields of Arm
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mtqnet.errors import UsageError
from mtqnet.training.config import Config, build

TABLES = ("training", "labels", "models", "loss", "levers", "recipe")
"""In the order in which they are run: later ones find many of their runs done"""

Kind = Literal["network", "teacher", "mean_pool", "fine_tuned", "ridge", "dnsmos", "dnsmos_p808", "distillmos"]
PEERS: Mapping[Kind, Mapping[str, str]] = {
    "dnsmos": {"s_mos": "dnsmos_sig", "n_mos": "dnsmos_bak", "g_mos": "dnsmos_ovrl"},
    "dnsmos_p808": {"g_mos": "dnsmos_p808"},
    "distillmos": {"g_mos": "distillmos"},
}
"""Existing predictors, and which of their scores (corpus/ensemble.py) is compared with which target. They are not
trained, so one run counts for all seeds"""


@dataclass(frozen=True)
class Arm:
    """One row of a table."""

    says: str
    """Description for the reader"""
    kind: Kind = "network"
    labelled: int = 1000
    """Training clips whose S/N/G labels are shown, drawn again for each seed; 0: all"""
    objective: Literal["none", "pseudo", "true"] = "none"
    """Where the labels of PESQ, STOI and SDI come from: no such heads, MOSA-Net, or the references themselves"""
    unlabelled: bool = False
    """Whether the clips without S/N/G labels are trained on too"""
    rater_noise: bool = False
    """Whether S/N/G labels are simulated votes of a few raters, some of them careless"""
    against: tuple[str, ...] = ()
    """Arms that this one is compared with; empty: the table's reference"""
    change: Mapping[str, Any] = field(default_factory=dict)
    """Differences from base.toml, as tables of it"""


@dataclass(frozen=True)
class Table:
    """One question."""

    name: str
    title: str
    question: str
    reference: str
    """The arm that the others are compared with"""
    arms: dict[str, Arm]

    def against(self, arm: str) -> tuple[str, ...]:
        """The arms that this one is compared with; empty for the reference."""
        return tuple(other for other in self.arms[arm].against or (self.reference,) if other != arm)


@dataclass(frozen=True)
class Study:
    """All tables of a folder, and what they share."""

    base: Config
    tables: dict[str, Table]


def load(folder: Path, names: tuple[str, ...]) -> Study:
    """Read a folder of configurations. Raises UsageError."""
    base = build(Config, _toml(folder / "base.toml"), "base.toml")
    tables = {name: table(folder / f"{name}.toml") for name in names}
    for name, read in tables.items():
        for arm, settings in read.arms.items():
            configured(base, settings, f"{name}.toml, {arm}")  # a typing mistake is reported before hours of work
    return Study(base, tables)


def table(path: Path) -> Table:
    """One table. Raises UsageError."""
    read = _toml(path)
    if missing := [name for name in ("title", "question", "reference", "arms") if name not in read]:
        raise UsageError(f"{path.name}: {missing[0]!r} is missing")
    arms = {name: _arm(entry, f"{path.name}, {name}") for name, entry in read["arms"].items()}
    needed = [read["reference"], *(other for arm in arms.values() for other in arm.against)]
    if unknown := [name for name in needed if name not in arms]:
        raise UsageError(f"{path.name}: no arm {unknown[0]!r}; there are {', '.join(arms)}")
    return Table(path.stem, read["title"], read["question"], read["reference"], arms)


def configured(base: Config, arm: Arm, where: str) -> Config:
    """The configuration of an arm. Raises UsageError for a key that does not exist."""
    return build(Config, _merged(asdict(base), arm.change), where)


def _arm(entry: dict[str, Any], where: str) -> Arm:
    change = entry.pop("change", {})
    if not isinstance(change, dict):
        raise UsageError(f"{where}: change must be a table")
    return replace(build(Arm, entry, where), change=change)


def _merged(table: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(table[name], value) for name, value in change.items() if isinstance(table.get(name), dict)
    }
    return {**table, **change, **both}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"no {path}: give --configs a folder such as configs/reproduce") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
