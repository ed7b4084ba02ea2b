"""Clients that are slow, many, odd or gone cost the service neither files, memory nor an error of its own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from running import Server
from starlette.types import Message, Receive, Scope, Send
from test_scoring import problem
from test_stream_socket import opened
from websockets.exceptions import ConnectionClosed

from mtqnet.serving import guard as guards
from mtqnet.serving.guard import Guard
from mtqnet.serving.problems import ProblemError

POST = "POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\n"
Answer = Callable[[Receive], Awaitable[None]]


def raw(serving: Server, sent: bytes, hear: bool = True) -> bytes:
    """Answer of the server to these bytes; empty if one side closes the connection at once."""
    place = urlsplit(serving.url)
    with (
        suppress(ConnectionError),
        socket.create_connection((str(place.hostname), place.port), timeout=60) as client,
    ):
        client.sendall(sent)
        return client.recv(65_536) if hear else b""
    return b""


def until(client: httpx.Client, line: str) -> None:
    """Waits for a line of the figures."""
    ends = time.monotonic() + 60
    while line not in client.get("/metrics").text:
        assert time.monotonic() < ends, line
        time.sleep(0.1)


def test_an_upload_that_is_broken_off_leaves_no_file(serving: Server, client: httpx.Client) -> None:
    for kind in ("audio/wav", "multipart/form-data; boundary=x"):
        head = f"{POST}Content-Type: {kind}\r\nContent-Length: 9000\r\n\r\n"
        raw(serving, head.encode() + b"--x\r\n", hear=False)
    until(client, 'mtqnet_refusals_total{reason="gone"} 2.0')
    assert serving.temporary() == []
    assert "Traceback" not in "".join(serving.lines)


def test_methods_that_are_made_up_are_counted_as_one(serving: Server, client: httpx.Client) -> None:
    for method in ("ONE", "TWO"):
        assert b" 405 " in raw(serving, f"{method} /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    figures = client.get("/metrics").text
    assert 'method="other"' in figures
    assert 'method="ONE"' not in figures


def test_large_headers_and_lengths_are_refused(serving: Server, client: httpx.Client) -> None:
    for more in (f"X: {'x' * 100_000}", f"Content-Length: {'9' * 5000}", "Content-Length: -1"):
        assert raw(serving, f"{POST}{more}\r\n\r\n".encode())[:10] in (b"", b"HTTP/1.1 4")
    assert client.get("/healthz").status_code == 200


def test_a_type_that_is_wrong_does_not_matter_and_a_form_without_boundary_is_reported(
    client: httpx.Client, examples: Path
) -> None:
    sound = (examples / "1_clean.flac").read_bytes()
    typed = client.post("/v1/score", content=sound, params={"model": "toy"}, headers={"Content-Type": "text/html"})
    assert typed.status_code == 200
    form = {"Content-Type": "multipart/form-data"}
    problem(client.post("/v1/score", content=sound, headers=form), 400, "bad_request")


def test_what_the_guard_refuses_is_counted(client: httpx.Client) -> None:
    client.get("/healthz", headers={"Host": "evil.example"})
    assert 'mtqnet_refusals_total{reason="wrong_host"}' in client.get("/metrics").text


def test_a_stream_of_empty_messages_is_ended(serving: Server) -> None:
    with opened(serving, model="toy") as live:
        with pytest.raises(ConnectionClosed):
            for _ in range(1_000_000):
                live.send(b"")
        assert live.close_code == 1008
        assert live.close_reason == "too_many"


def guarded(answer: Answer) -> tuple[Guard, Callable[[Receive], Coroutine[Any, Any, list[Message]]]]:
    """A guard around an application that reads its body as `answer` does, and what a POST to it gets."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await answer(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guard = Guard(app, (), 100)

    async def post(receive: Receive) -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "headers": [(b"host", b"a")]}
        await guard(scope, receive, send)
        return sent

    return guard, post


async def read(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "UPLOAD_S", 0.2)

    async def drips() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    _, post = guarded(read)
    with pytest.raises(ProblemError) as told:
        asyncio.run(post(drips))
    assert (told.value.status, told.value.kind) == (408, "too_slow")


def test_so_many_bodies_at_once_and_the_next_when_one_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "UPLOADS", 2)

    async def main() -> None:
        held = asyncio.Event()

        async def waits() -> Message:
            await held.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        _, post = guarded(read)
        under_way = [asyncio.create_task(post(waits)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = (await post(waits))[0]
        assert refused["status"] == 429
        assert b"retry-after" in dict(refused["headers"])
        held.set()
        assert [(await one)[0]["status"] for one in under_way] == [200, 200]
        assert (await post(waits))[0]["status"] == 200

    asyncio.run(main())
