"""Command-line programs that read samples from standard input and write samples to standard output."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import CorpusError, MissingExtraError

LONGEST_S = 120
"""Seconds for one clip; programs take a fraction of a second"""


def run(command: Sequence[str], given: bytes, install: str) -> bytes:
    """Standard output of a program. Raises MissingExtraError if it is not installed, CorpusError if it fails."""
    if shutil.which(command[0]) is None:
        raise MissingExtraError(f"{command[0]} is not installed: {install}")
    done = subprocess.run(command, input=given, capture_output=True, timeout=LONGEST_S)
    if done.returncode:
        raise CorpusError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def pcm(output: bytes) -> NDArray[np.int16]:
    """16-bit samples of a program's output."""
    return np.frombuffer(output[: len(output) // 2 * 2], np.int16)
