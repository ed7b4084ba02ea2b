"""What became of earlier attempts at a shard: how a file that kills whole workers is found.

A recording that kills the process that reads it is dealt with by its worker (sandbox.py). One that takes the
worker with it, as the system may choose any process when memory ends, leaves nobody to tell: Ray starts another
worker, which meets the same file. So each attempt leaves a mark in the output folder, and from the second attempt
on each file leaves one before it is scored. A file with two such marks is not tried again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass

from mtqnet.integrations.ray.store import Folder

FOLDER = "_attempts"
CAREFUL_FROM = 1
"""Attempts that ended without rows before each file leaves a mark, which costs a fifth of the time to score it"""
MARKS = 2
"""Of a file, before it is held to be the killer"""


@dataclass
class Attempt:
    """One attempt at a shard."""

    out: Folder
    shard: int
    before: int = 0
    """Attempts that went before it"""
    refused: tuple[int, ...] = ()
    """Places of files that killed workers"""

    @property
    def careful(self) -> bool:
        return self.before >= CAREFUL_FROM

    def mark(self, place: int) -> None:
        """Say that this file is next, where there is reason for care."""
        if self.careful:
            self.out.write(f"{_folder(self.shard)}/file-{place}-{uuid.uuid4().hex}", b"")

    def harmless(self, place: int) -> None:
        """Say that this file was scored, whatever killed its worker before."""
        if self.careful:
            self.out.write(f"{_folder(self.shard)}/scored-{place}-{uuid.uuid4().hex}", b"")


def begun(out: Folder, shard: int) -> Attempt:
    """Begin an attempt, and leave a mark of it."""
    names = [name.split("-") for name in out.names(_folder(shard))]
    out.write(f"{_folder(shard)}/attempt-{uuid.uuid4().hex}", b"")
    kinds = Counter(name[0] for name in names)
    begun_at = Counter(int(name[1]) for name in names if name[0] == "file")
    scored = {int(name[1]) for name in names if name[0] == "scored"}
    killers = sorted(place for place, marks in begun_at.items() if marks >= MARKS and place not in scored)
    return Attempt(out, shard, kinds["attempt"], tuple(killers))


def _folder(shard: int) -> str:
    return f"{FOLDER}/{shard:06d}"
