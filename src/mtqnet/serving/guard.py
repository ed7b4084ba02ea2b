"""Who may use the service, and how much: host name, origin, size and rate of bodies, and bearer keys.

The host name is checked to prevent DNS rebinding, the origin to refuse requests from pages of other sites. The
headers of every answer prevent the page from loading content of other hosts.

Keys are generated here and stored as hashes. A file of keys has a line for each: its name, a colon, and the SHA-256 of
the key in hexadecimal. A key is 32 random bytes, so a plain hash is sufficient.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtqnet.errors import UsageError
from mtqnet.serving import MB
from mtqnet.serving.problems import ProblemError, busy, response

POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", "img-src 'self' blob:",
        "media-src 'self' blob:", "connect-src 'self'", "worker-src 'self'", "base-uri 'none'",
        "form-action 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}

LENGTH_DIGITS = 20
"""Digits of Content-Length that are read; converting longer numbers is slow"""
GRACE_S = 20.0
"""Seconds that every body may take, however small it is"""
MIN_BYTES_A_S = 4000
"""Bytes per second that a body must reach on average after GRACE_S: telephone speech as G.711 is 8000"""
UPLOAD_S = 300.0
"""Seconds in which every body must be complete"""
UPLOADS = 64
"""Requests with a body at once; their files need room until they are answered"""
CLIENT_UPLOADS = 32
"""Incomplete bodies at once from one client address"""
UPLOAD_RETRY_S = 5
"""Seconds, of Retry-After, when too many bodies come at once"""
KEY_BYTES = 32
KEY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
KEY_LINE = re.compile(rf"({KEY_NAME.pattern}):([0-9a-f]{{64}})")


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        hosts: Host names that requests may use; empty: any.
        max_body: Bytes.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], max_body: int) -> None:
        self._app, self._hosts, self._max_body = app, hosts, max_body
        self._uploads = 0
        self._receiving: Counter[str] = Counter()
        """Incomplete bodies by client address"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope)
        if scope["type"] == "websocket":
            if problem is not None:
                await send({"type": "websocket.close", "code": 1008, "reason": problem.kind})  # before accept: 403
                return
            await self._app(scope, receive, send)
        elif problem is not None:
            scope.setdefault("state", {})["refusal"] = problem.kind
            await response(problem)(scope, receive, _with_headers(send))
        else:
            self._uploads += scope["method"] == "POST"
            try:
                await self._app(scope, self._limited(receive, _client(scope)), _with_headers(send))
            finally:
                self._uploads -= scope["method"] == "POST"

    def _problem(self, scope: Scope) -> ProblemError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and name(host) not in self._hosts:
            detail = f"this server does not answer for the host {name(host)!r}: see MTQNET_ALLOWED_HOSTS"
            return ProblemError(421, "wrong_host", detail)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return ProblemError(403, "other_origin", "requests from pages of other sites are not answered")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:LENGTH_DIGITS]) > self._max_body:
            return self._too_large()
        if scope["type"] == "http":
            if scope["method"] == "POST" and self._uploads >= UPLOADS:
                return busy(f"{self._uploads} requests with a recording are under way", UPLOAD_RETRY_S)
            if self._receiving[_client(scope)] >= CLIENT_UPLOADS:
                return busy("too many bodies from this address are incomplete", UPLOAD_RETRY_S)
        return None

    def _limited(self, receive: Receive, client: str) -> Receive:
        """Limit size, time and rate of a body, which may come without its length, or never end.

        Raises:
            ProblemError: 413 if the body is too large, 408 if it is too slow.
        """
        seen, whole = 0, False
        began = time.monotonic()

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()  # returns when the client disconnects
            # The time allowed grows with what has come: a body that trickles in is refused early.
            allowed_s = min(UPLOAD_S, GRACE_S + seen / MIN_BYTES_A_S)
            self._receiving[client] += 1
            try:
                message = await asyncio.wait_for(receive(), max(0.0, began + allowed_s - time.monotonic()))
            except TimeoutError as error:
                raise self._too_slow(allowed_s) from error
            finally:
                self._receiving[client] -= 1
                if not self._receiving[client]:
                    del self._receiving[client]
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ProblemError:
        detail = f"the body is too large: this server takes {self._max_body / MB:g} MB"
        return ProblemError(413, "too_large", detail)

    def _too_slow(self, allowed_s: float) -> ProblemError:
        detail = (
            f"The body was not complete after {allowed_s:.0f} s. This server accepts {UPLOAD_S:g} s "
            f"and at least {MIN_BYTES_A_S / 1000:g} kB per second after the first {GRACE_S:g} s."
        )
        return ProblemError(408, "too_slow", detail, {"Connection": "close"})


def name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _client(scope: Scope) -> str:
    """Address of the client: that of the proxy's header where the proxy is trusted (uvicorn)."""
    client = scope.get("client")
    return client[0] if client else ""


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for key, value in HEADERS.items():
                headers.setdefault(key, value)
        await send(message)

    return sent


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
        return sum(hmac.compare_digest(given, digest) for digest in self.hashes.values()) > 0


def bearer(header: str | None) -> str | None:
    """Return the key of an Authorization header, or None."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def read_keys(path: Path) -> Keys:
    """Read a file of keys; empty lines and lines that begin with # are ignored. Raises UsageError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the keys in {path} ({error.strerror}): make one with --new-key") from error
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        found = KEY_LINE.fullmatch(line)
        if found is None:
            raise UsageError(f"{path}, line {number} is no NAME:SHA256: make keys with --new-key")
        hashes[found[1]] = bytes.fromhex(found[2])
    if not hashes:
        raise UsageError(f"{path} contains no key: create one with --new-key, or omit --keys")
    return Keys(hashes)


def add_key(path: Path, name: str) -> str:
    """Make a key of this name and append its hash; the key, which is not kept. Raises UsageError."""
    if KEY_NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no name for a key: use letters, digits, and _ . -")
    if path.exists() and path.stat().st_size and name in read_keys(path).hashes:
        raise UsageError(f"{path} has a key {name} already: delete its line first")
    key = secrets.token_urlsafe(KEY_BYTES)
    try:
        with open(path, "a", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
            file.write(f"{name}:{_digest(key).hex()}\n")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror})") from error
    return key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
