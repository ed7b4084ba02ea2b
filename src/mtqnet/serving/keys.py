"""Bearer keys: generated here, stored as hashes, compared in constant time.

A file of keys has a line for each: its name, a colon, and the SHA-256 of the key in hexadecimal. A key is 32
random bytes, so a plain hash is sufficient. Lines that are empty or begin with # are left
out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtqnet.errors import UsageError

KEY_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LINE = re.compile(rf"({NAME.pattern}):([0-9a-f]{{64}})")


@dataclass(frozen=True)
class Keys:
    """Accepted keys; if empty, no key is needed."""

    hashes: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By the name of the key"""

    def allows(self, key: str | None) -> bool:
        """Whether this is one of them. Takes as long whichever it is, or is not."""
        if not self.hashes:
            return True
        given = _digest(key or "")
        found = False
        for digest in self.hashes.values():
            found |= hmac.compare_digest(given, digest)
        return found


def bearer(header: str | None) -> str | None:
    """Return the key of an Authorization header, or None."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def read(path: Path) -> Keys:
    """Read a file of keys. Raises UsageError if it is missing or has no valid key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the keys in {path} ({error.strerror}): make one with --new-key") from error
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            raise UsageError(f"{path}, line {number} is no NAME:SHA256: make keys with --new-key")
        hashes[found[1]] = bytes.fromhex(found[2])
    if not hashes:
        raise UsageError(f"{path} contains no key: create one with --new-key, or omit --keys")
    return Keys(hashes)


def add(path: Path, name: str) -> str:
    """Make a key of this name and append its hash; the key, which is not kept. Raises UsageError."""
    if NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no name for a key: use letters, digits, and _ . -")
    if path.exists() and path.stat().st_size and name in read(path).hashes:
        raise UsageError(f"{path} has a key {name} already: delete its line first")
    key = secrets.token_urlsafe(KEY_BYTES)
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
        ) as file:
            file.write(f"{name}:{_digest(key).hex()}\n")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror})") from error
    return key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
