"""Modules of version 0.1 are found under their former names, with a warning."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize(("old", "new", "name"), [("metric", "metric", "GMOS"), ("torch", "torch", "ScoreModule")])
def test_former_names_lead_to_the_new_modules(old: str, new: str, name: str) -> None:
    former = import_module(f"mtqnet.{old}")
    with pytest.warns(DeprecationWarning, match="mtqnet.integrations"):
        value = getattr(former, name)
    assert value is getattr(import_module(f"mtqnet.integrations.{new}"), name)
    with pytest.raises(AttributeError):
        former.nonsense  # noqa: B018
