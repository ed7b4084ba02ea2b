"""Deprecated: import from `mtqnet.integrations.torch`."""

from mtqnet._moved import moved

__getattr__ = moved(__name__, "mtqnet.integrations.torch")
