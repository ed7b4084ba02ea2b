"""Deprecated place of the option --model, for code that is being moved; see options.py."""

from mtqnet.cli.options import Model

__all__ = ["Model"]
