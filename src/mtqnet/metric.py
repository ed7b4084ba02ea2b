"""Deprecated: import from `mtqnet.integrations.metric`."""

from mtqnet._moved import moved

__getattr__ = moved(__name__, "mtqnet.integrations.metric")
