"""Modules of version 0.1 under their former names; to be removed in version 0.3."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def moved(old: str, new: str) -> Callable[[str], Any]:
    """Return a module-level `__getattr__` that takes names from the module `new` and warns."""

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module '{old}' has no attribute '{name}'")
        value = getattr(import_module(new), name)
        warnings.warn(f"{old} has moved to {new}", DeprecationWarning, stacklevel=2)
        return value

    return get
