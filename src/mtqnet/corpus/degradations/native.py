"""Shared libraries of C codecs, called by ctypes: no copy of their code is part of this package."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import lru_cache

from mtqnet.errors import MissingExtraError

PACKAGES: Mapping[str, str] = {
    "libvo-amrwbenc.so.0": "libvo-amrwbenc0",
    "libopencore-amrwb.so.0": "libopencore-amrwb0",
    "libspeex.so.1": "libspeex1",
    "libgsm.so.1": "libgsm1",
    "libbcg729.so.0": "libbcg729-0",
    "libspandsp.so.2": "libspandsp2",
    "libopus.so.0": "libopus0",
}
"""Name of a library -> Debian package that contains it"""


@lru_cache(maxsize=16)
def shared_library(name: str) -> ctypes.CDLL:
    """Load a library of PACKAGES. Raises MissingExtraError if it is not installed."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise MissingExtraError(f"{name} is not installed: apt-get install {PACKAGES[name]}") from error


def has_library(name: str) -> bool:
    """Whether the library can be loaded."""
    try:
        shared_library(name)
    except MissingExtraError:
        return False
    return True
