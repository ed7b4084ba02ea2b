"""Deprecated: import from `mtqnet.integrations.ray`."""

from mtqnet._moved import moved

__getattr__ = moved(__name__, "mtqnet.integrations.ray")
