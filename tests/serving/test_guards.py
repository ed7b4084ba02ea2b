"""Hosts, origins, keys, headers, full queues, jobs that take too long, and an orderly end."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from running import Server, server
from test_scoring import problem
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from mtqnet.errors import UsageError
from mtqnet.serving import guard

Run = Callable[..., object]


def test_every_answer_closes_the_page_to_other_sites(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/v1/nothing", "/v1/models"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_other_hosts_and_origins_are_refused(serving: Server, client: httpx.Client) -> None:
    problem(client.get("/v1/models", headers={"Host": "evil.example"}), 421, "wrong_host")
    problem(client.get("/v1/models", headers={"Host": "[evil"}), 421, "wrong_host")
    problem(client.post("/v1/score", content=b"x", headers={"Origin": "http://evil.example"}), 403, "other_origin")
    assert client.get("/v1/models", headers={"Origin": serving.url}).status_code == 200
    with pytest.raises(InvalidStatus), connect(serving.live, origin=Origin("http://evil.example")):
        pass


@pytest.mark.parametrize(
    ("host", "name"), [("a.b:80", "a.b"), ("[::1]:80", "::1"), ("::1", ""), ("", ""), ("A:1", "a"), ("[x", "")]
)
def test_the_name_of_a_host(host: str, name: str) -> None:
    assert guard.name(host) == name


def test_keys_are_kept_as_hashes(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first, second = guard.add_key(path, "one"), guard.add_key(path, "two")
    text = path.read_text()
    assert first not in text
    assert hashlib.sha256(first.encode()).hexdigest() in text
    assert path.stat().st_mode & 0o077 == 0
    held = guard.read_keys(path)
    assert held.allows(first)
    assert held.allows(second)
    for wrong in (None, "", first[:-1], "ä", first + second):
        assert not held.allows(wrong)
    assert guard.Keys().allows(None)
    with pytest.raises(UsageError, match="already"):
        guard.add_key(path, "one")
    with pytest.raises(UsageError, match="name"):
        guard.add_key(path, "a:b")


@pytest.mark.parametrize("text", ["", "# nothing\n", "one:abc\n", "no hash\n"])
def test_a_file_of_keys_that_is_none_is_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(UsageError, match="--new-key"):
        guard.read_keys(tmp_path / "keys")


@pytest.mark.parametrize(
    ("header", "key"), [("Bearer a", "a"), ("bearer  a", "a"), ("Basic a", None), ("Bearer", None), (None, None)]
)
def test_the_key_of_a_header(header: str | None, key: str | None) -> None:
    assert guard.bearer(header) == key


def test_with_keys_nobody_is_answered_without_one_and_full_queues_say_when(
    tmp_path: Path, toy_model: Path, voice: Callable[..., NDArray[np.float32]]
) -> None:
    """One process, no queue, a second and a half a job: the second job is one too many, a long one is ended."""
    path = tmp_path / "keys"
    key = guard.add_key(path, "one")
    sf.write(tmp_path / "long.flac", np.tile(voice(10.0), 180), 16_000)
    long, short = (tmp_path / "long.flac").read_bytes(), tmp_path / "short.wav"
    sf.write(short, voice(2.0), 16_000)
    with server(
        tmp_path, "--model", toy_model, "--keys", path, workers=1, queue=0, job_s=1.5, database=""
    ) as running:
        with running.client() as nobody:
            for target in ("/v1/models", "/metrics", "/v1/history"):
                problem(nobody.get(target), 401, "no_key")
            problem(nobody.post("/v1/score", content=b""), 401, "no_key")
            assert nobody.get("/healthz").status_code == 200
            assert nobody.get("/").status_code == 200
        with running.client(headers={"Authorization": f"Bearer {key}"}) as client:
            problem(client.get("/v1/history"), 404, "no_history")
            assert client.post("/v1/score", content=short.read_bytes()).json()["id"] is None
            with ThreadPoolExecutor(1) as thread:
                first = thread.submit(client.post, "/v1/score", content=long)
                refused = _busy(client, short)
                assert int(refused.headers["retry-after"]) >= 1
                problem(first.result(), 413, "took_too_long")
            _scored_again(client, short)
            figures = client.get("/metrics").text
            assert 'mtqnet_refusals_total{reason="busy"}' in figures
            assert 'mtqnet_refusals_total{reason="took_too_long"} 1.0' in figures
        assert running.temporary() == []


def _busy(client: httpx.Client, path: Path) -> httpx.Response:
    """The answer while another job is under way."""
    until = time.monotonic() + 60
    while client.get("/readyz").status_code == 200:
        assert time.monotonic() < until
    answer = client.post("/v1/score", content=path.read_bytes())
    problem(answer, 429, "busy")
    return answer


def _scored_again(client: httpx.Client, path: Path) -> None:
    """The process that was ended has a successor."""
    until = time.monotonic() + 60
    while (answer := client.post("/v1/score", content=path.read_bytes())).status_code != 200:
        assert time.monotonic() < until, answer.text
        time.sleep(0.2)


def test_jobs_in_flight_are_finished_when_it_is_reported_to_stop(
    tmp_path: Path, toy_model: Path, voice: Callable[..., NDArray[np.float32]]
) -> None:
    sf.write(tmp_path / "long.wav", np.tile(voice(10.0), 60), 16_000)
    with server(tmp_path, "--model", toy_model, workers=1) as running, running.client() as client:
        with ThreadPoolExecutor(1) as thread:
            job = thread.submit(client.post, "/v1/score", content=(tmp_path / "long.wav").read_bytes())
            with running.client() as other:
                while '"jobs":1' not in other.get("/readyz").text and not job.done():
                    time.sleep(0.01)
            running.process.send_signal(signal.SIGTERM)
            assert job.result().status_code == 200
        assert running.process.wait(60) in (0, -signal.SIGTERM)
        assert list(running.folder.glob("mtqnet-*")) == []
    assert threading.active_count() < 20


def test_what_keeps_it_from_starting_is_reported_in_a_line(run: Run, tmp_path: Path, serving: Server) -> None:
    port = serving.url.rsplit(":", 1)[1]
    for arguments, settings, said in (
        (("--port", port), {}, "choose another --port"),
        (("--model", "nobody"), {}, "no model named"),
        (("--keys", tmp_path / "none"), {}, "--new-key"),
        (("--new-key", "a"), {}, "--keys"),
        ((), {"MTQNET_DATABASE": "what"}, "MTQNET_DATABASE"),
    ):
        done = run("serve", *arguments, **settings)
        assert done.returncode == 2, done.stderr  # type: ignore[attr-defined]
        assert said in done.stderr  # type: ignore[attr-defined]
        assert "Traceback" not in done.stderr  # type: ignore[attr-defined]
