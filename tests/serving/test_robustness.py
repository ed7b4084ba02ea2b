"""Killed processes, slow and idle clients, locked databases, stale files: the service goes on answering."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf
import uvicorn
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pebble import ProcessExpired
from running import Server, server
from test_scoring import problem
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from mtqnet.errors import UsageError
from mtqnet.scoring.scores import Scores
from mtqnet.serving import app, guard, pool, uploads
from mtqnet.serving import history as databases
from mtqnet.serving.app import _bound
from mtqnet.serving.history import History
from mtqnet.serving.pool import Pool, died
from mtqnet.serving.problems import ProblemError
from mtqnet.serving.settings import Settings

Voice = Callable[..., NDArray[np.float32]]


def wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, 16_000, format="WAV")
    return file.getvalue()


def scoring_processes(parent: int) -> list[int]:
    """Process ids of the spawned workers of a service."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_child = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent
            if is_child and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.fixture
def one(tmp_path: Path, toy_model: Path) -> Iterator[Server]:
    with server(tmp_path, "--model", toy_model, workers=1) as running:
        yield running


def test_an_idle_process_that_is_killed_is_replaced(one: Server, voice: Voice) -> None:
    body = wav(voice(2.0))
    with one.client() as client:
        first = client.post("/v1/score", content=body).json()["g_mos"]
        for _ in range(2):
            processes = scoring_processes(one.process.pid)
            assert processes
            for pid in processes:
                os.kill(pid, signal.SIGKILL)
            answer = client.post("/v1/score", content=body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["g_mos"] == first
        assert client.get("/readyz").status_code == 200


def test_uploads_of_a_killed_service_are_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held = (
        "import sys, time; from mtqnet.serving.uploads import temporary_folder\n"
        "with temporary_folder() as folder:\n"
        "    (folder / 'upload').write_text('x'); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", held], stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert process.stdout is not None
    process.stdout.readline()
    with uploads.temporary_folder():
        assert len(list(tmp_path.glob("mtqnet-serve-*/uploads/upload"))) == 1  # in use: kept
    process.kill()
    process.wait()
    process.stdout.close()
    with uploads.temporary_folder():
        assert list(tmp_path.glob("mtqnet-serve-*/uploads/upload")) == []


def test_ids_of_deleted_rows_are_not_used_again(database: str) -> None:
    history = History(databases.opened(database))
    first = history.add(Scores(model="m"), "file")
    assert history.remove(first)
    assert history.add(Scores(model="m"), "file") > first
    history.close()


def test_a_locked_database_is_answered_with_503(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_MS", 10)
    monkeypatch.setattr(databases, "SQLITE", ("PRAGMA journal_mode=DELETE", "PRAGMA busy_timeout=10"))
    path = tmp_path / "h.sqlite"
    settings = Settings.model_validate(
        {"models": str(toy_model), "database": f"sqlite:///{path}", "workers": 1, "allowed_hosts": "testserver"}
    )
    application = app.create(settings)
    with TestClient(application) as client:
        lock = sqlite3.connect(path)
        lock.execute("BEGIN EXCLUSIVE")
        answer = client.get("/v1/history")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("history_unavailable")
        assert answer.headers["retry-after"]
        lock.rollback()
        lock.close()
        assert client.get("/v1/history").status_code == 200


def test_an_origin_that_is_no_url_is_refused(client: httpx.Client) -> None:
    for origin in ("http://[bad", "null", "[", "http://["):
        problem(client.get("/v1/models", headers={"Origin": origin}), 403, "other_origin")


@pytest.mark.parametrize("charset", ["nosuch", "utf-16", "idna", "\x7f", "undefined"])
def test_a_form_with_an_unusual_charset_is_answered_with_a_problem(client: httpx.Client, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\xff.wav"\r\n\r\nRIFF\r\n--x--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = client.post("/v1/score", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["type"].startswith("urn:mtqnet:problem:")


def test_deeply_nested_json_closes_a_stream_with_a_reason(serving: Server) -> None:
    nested = "[" * 100_000
    for start in (True, False):
        with connect(serving.live, open_timeout=60) as live:
            if not start:
                live.send(json.dumps({"type": "start", "rate": 16_000}))
                live.recv(60)
            live.send(nested)
            with suppress(ConnectionClosed):
                assert json.loads(live.recv(60))["kind"] == "problem"
                live.recv(60)
            assert live.close_code == 1008
    assert "Traceback" not in "".join(serving.lines)


def test_a_host_that_is_not_this_machine_is_reported_as_such() -> None:
    with pytest.raises(UsageError, match="with --host"):
        _bound(Settings.model_validate({"host": "192.0.2.1", "port": 0}))


def test_answers_are_sent_without_delay() -> None:
    """asyncio sets TCP_NODELAY only where the listening socket names its protocol."""
    with _bound(Settings.model_validate({"port": 0})) as listening:
        assert listening.proto == socket.IPPROTO_TCP


async def listening_port(limit: int) -> tuple[asyncio.Server, int]:
    async def application(scope: object, receive: object, send: Callable[..., object]) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[misc]
        await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[misc]

    config = uvicorn.Config(application, http=app.Connection, lifespan="off", timeout_keep_alive=60)
    config.load()
    state = ServerState()

    def connection() -> app.Connection:
        made = app.Connection(config, state, {})
        made.limit = limit
        return made

    opened = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    return opened, opened.sockets[0].getsockname()[1]


def test_connections_without_complete_headers_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HEADERS_S", 0.05)

    async def run() -> None:
        opened, port = await listening_port(limit=10)
        for sent in (b"", b"GET / HT"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # a complete request is answered; the next one may not trickle in
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"200" in await reader.readuntil(b"ok")
        writer.write(b"GET")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        opened.close()

    asyncio.run(run())


def test_connections_beyond_the_limit_are_answered_and_closed() -> None:
    async def run() -> None:
        opened, port = await listening_port(limit=2)
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in kept:  # both are known to the server once they were answered
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"ok")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 503")
        for _, one in (*kept, (reader, writer)):
            one.close()
        opened.close()

    asyncio.run(run())


def test_a_body_that_trickles_in_is_refused_before_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GRACE_S", 0.05)

    async def body() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def run() -> int:
        limited = guard.Guard(lambda *_: None, (), 1000)._limited(body, "a")  # type: ignore[arg-type]
        received = 0
        with pytest.raises(ProblemError) as refused:
            while True:
                await limited()
                received += 1
        assert refused.value.status == 408
        return received

    assert asyncio.run(run()) < 3600


def test_scoring_processes_end_with_a_killed_service(tmp_path: Path, toy_model: Path) -> None:
    with server(tmp_path, "--model", toy_model, workers=1) as running:
        workers = scoring_processes(running.process.pid)
        assert workers
        running.process.kill()
        running.process.wait()
        for pid in workers:
            while running_process(pid):
                pass


def running_process(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class _FakePool:
    """A pool whose jobs have these outcomes, one after the other."""

    active = True

    def __init__(self, outcomes: list[Any]) -> None:
        self._outcomes = outcomes

    def schedule(self, *_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return future


def expired() -> Exception:
    error: Exception = ProcessExpired("x")  # type: ignore[no-untyped-call]
    return error


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ([expired(), 5], 5),
        ([BrokenProcessPool("x"), expired(), BrokenProcessPool("x"), BrokenProcessPool("x"), 5], 5),
        ([expired(), BrokenProcessPool("x"), expired(), 5], ProcessExpired),
        ([BrokenProcessPool("x")] * 4, BrokenProcessPool),
        ([RuntimeError("of the job"), 5], RuntimeError),
        ([ValueError("of the job"), 5], ValueError),
    ],
)
def test_only_deaths_on_a_job_use_up_its_attempts(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[Any], result: Any
) -> None:
    waiting = list(outcomes)
    monkeypatch.setattr(pool, "ProcessPool", lambda **_: _FakePool(waiting))

    async def run() -> int:
        return await Pool(processes=1, queue=1, job_s=1.0, model="base").call(int)

    if result == 5:
        assert asyncio.run(run()) == 5
    else:
        with pytest.raises(result):
            asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ProcessExpired("x", code=-signal.SIGKILL), 503, "5"),  # type: ignore[no-untyped-call]
        (ProcessExpired("x", code=-signal.SIGTERM), 503, "5"),  # type: ignore[no-untyped-call]
        (BrokenProcessPool("x"), 503, "5"),
        (ProcessExpired("x", code=-signal.SIGSEGV), 500, None),  # type: ignore[no-untyped-call]
        (ProcessExpired("x", code=3), 500, None),  # type: ignore[no-untyped-call]
    ],
)
def test_only_a_recording_that_crashes_its_processes_is_not_to_be_sent_again(
    error: ProcessExpired | BrokenProcessPool, status: int, retry: str | None
) -> None:
    answer = died(error)
    assert answer.status == status
    assert answer.headers.get("Retry-After") == retry
