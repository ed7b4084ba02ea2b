"""Deprecated: import from `mtqnet.integrations.harness`."""

from mtqnet._moved import moved

__getattr__ = moved(__name__, "mtqnet.integrations.harness")
