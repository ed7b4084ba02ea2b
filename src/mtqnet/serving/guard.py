"""Before anything else: is the host ours, does the request come from our page, is its body small and quick enough.

Host names are checked against DNS rebinding, origins against other sites that send requests from a browser. The
headers of every answer close the page to anything from elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtqnet.serving.problems import ProblemError, busy, response, too_large
from mtqnet.serving.units import MB

POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob:",
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
"""Of a length: more says nothing more, and takes long to convert"""
UPLOAD_RETRY_S = 5
"""Seconds, of Retry-After, when too many bodies come at once"""


@dataclass(frozen=True)
class GuardOptions:
    hosts: tuple[str, ...]
    """That requests may name; nothing means any"""
    max_body: int
    """Bytes"""
    upload_s: float
    """Seconds that a body may take to come"""
    uploads: int
    """Requests with a body at once: their files need room until they are answered"""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, options: GuardOptions) -> None:
        self._app = app
        self._options = options
        self._uploads = 0

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
                await self._app(scope, self._limited(receive), _with_headers(send))
            finally:
                self._uploads -= 1
        else:
            await self._app(scope, self._limited(receive), _with_headers(send))

    def _problem(self, scope: Scope) -> ProblemError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._options.hosts and name(host) not in self._options.hosts:
            return ProblemError(
                421, "wrong_host", f"this server is not {name(host)!r}: name it in MTQNET_ALLOWED_HOSTS if it is"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return ProblemError(403, "other_origin", "requests from pages of other sites are not answered")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:LENGTH_DIGITS]) > self._options.max_body:
            return self._too_large()
        if scope["type"] == "http" and scope["method"] == "POST" and self._uploads >= self._options.uploads:
            return busy(f"{self._uploads} requests with a recording are under way", UPLOAD_RETRY_S)
        return None

    def _limited(self, receive: Receive) -> Receive:
        """Counts what comes, as a body may come without its length, or never end. Raises ProblemError."""
        seen, whole = 0, False
        ends = time.monotonic() + self._options.upload_s

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()  # waits for the client to go away
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError as error:
                raise self._too_slow() from error
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._options.max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ProblemError:
        return too_large("the body is too large", f"{self._options.max_body / MB:g} MB")

    def _too_slow(self) -> ProblemError:
        detail = f"the body took more than {self._options.upload_s:g} s to come: send a shorter recording"
        return ProblemError(408, "too_slow", detail, {"Connection": "close"})


def name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for key, value in HEADERS.items():
                headers.setdefault(key, value)
        await send(message)

    return sent
