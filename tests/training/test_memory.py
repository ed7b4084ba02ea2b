"""Freed memory stays with the process where the C library can be told so."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from mtqnet.training import memory

SCRIPT = """
import torch
from mtqnet.training.memory import keep_memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
if {keep}: assert keep_memory()
before = resident()
blocks = [torch.ones(10_000_000) for _ in range(5)]
blocks.clear()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_blocks_stay_where_asked(keep: bool) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(keep=keep)], capture_output=True, check=True)
    assert (int(done.stdout) > 150e6) == keep  # of 200 MB


def test_other_systems_go_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not memory.keep_memory()
