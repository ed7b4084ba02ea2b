"""Checks before any other code runs: host name, origin, size and rate of the body.

The host name is checked to prevent DNS rebinding, the origin to refuse requests from pages of other sites. The
headers of every answer prevent the page from loading content of other hosts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtqnet.serving import MB
from mtqnet.serving.problems import ProblemError, busy, response, too_large

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
UPLOAD_RETRY_S = 5
"""Seconds, of Retry-After, when too many bodies come at once"""


@dataclass(frozen=True)
class GuardOptions:
    hosts: tuple[str, ...]
    """Host names that requests may use; empty: any"""
    max_body: int
    """Bytes"""
    upload_s: float
    """Seconds that a body may take to come"""
    uploads: int
    """Requests with a body at once: their files need room until they are answered"""
    client_uploads: int
    """Incomplete bodies at once from one client address"""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, options: GuardOptions) -> None:
        self._app = app
        self._options = options
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
        elif scope["method"] == "POST":
            self._uploads += 1
            try:
                await self._app(scope, self._limited(receive, _client(scope)), _with_headers(send))
            finally:
                self._uploads -= 1
        else:
            await self._app(scope, self._limited(receive, _client(scope)), _with_headers(send))

    def _problem(self, scope: Scope) -> ProblemError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._options.hosts and name(host) not in self._options.hosts:
            return ProblemError(
                421,
                "wrong_host",
                f"this server does not answer for the host {name(host)!r}: see MTQNET_ALLOWED_HOSTS",
            )
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host:
            return ProblemError(403, "other_origin", "requests from pages of other sites are not answered")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:LENGTH_DIGITS]) > self._options.max_body:
            return self._too_large()
        if scope["type"] == "http" and scope["method"] == "POST" and self._uploads >= self._options.uploads:
            return busy(f"{self._uploads} requests with a recording are under way", UPLOAD_RETRY_S)
        if scope["type"] == "http" and self._receiving[_client(scope)] >= self._options.client_uploads:
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
            allowed_s = min(self._options.upload_s, GRACE_S + seen / MIN_BYTES_A_S)
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
            if seen > self._options.max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ProblemError:
        return too_large("the body is too large", f"{self._options.max_body / MB:g} MB")

    def _too_slow(self, allowed_s: float) -> ProblemError:
        detail = (
            f"The body was not complete after {allowed_s:.0f} s. This server accepts {self._options.upload_s:g} s "
            f"and at least {MIN_BYTES_A_S / 1000:g} kB per second after the first {GRACE_S:g} s."
        )
        return ProblemError(408, "too_slow", detail, {"Connection": "close"})


def name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    """Host and port of an Origin header; empty where it is not a URL."""
    try:
        return urlsplit(origin).netloc
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
