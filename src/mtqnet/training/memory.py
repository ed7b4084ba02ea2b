"""Memory of the size that training needs is kept, not given back and asked for again at every layer.

glibc returns large blocks to the system when they are freed, and the system maps each new one page by page. That
was a quarter of a training step of the networks of configs/reproduce (2.25 against 1.68 ms a clip on one core).
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of mallopt(3)"""
KEPT = 2**31 - 1
"""Bytes of free memory that stay"""


def keep_memory() -> bool:
    """Tell the C library; whether it understood. Elsewhere than on Linux with glibc nothing happens."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, KEPT))  # no block is mapped on its own
