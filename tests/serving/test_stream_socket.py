"""The WebSocket sends the scores of a Stream, and closes with a reason if a limit is exceeded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from running import Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import mtqnet
from mtqnet.audio.containers import HEAD_BYTES
from mtqnet.scoring.scores import Scores
from mtqnet.serving import stream
from mtqnet.serving.app import _without_traceback
from mtqnet.serving.stream import mean
from mtqnet.targets import KEYS

Voice = Callable[..., NDArray[np.float32]]


@contextmanager
def opened(serving: Server, **start: Any) -> Iterator[ClientConnection]:
    with connect(serving.live, open_timeout=60) as socket:
        socket.send(json.dumps({"type": "start", "rate": 16_000} | start))
        yield socket


def answers(socket: ClientConnection) -> list[dict[str, Any]]:
    """All messages until the connection ends."""
    told = []
    with suppress(ConnectionClosed):
        while True:
            told.append(json.loads(socket.recv(60)))
    return told


def test_rows_are_those_of_a_stream(serving: Server, client: httpx.Client, voice: Voice) -> None:
    samples = np.round(voice(3.3, rate=8_000) * 32767).astype("<i2")
    with opened(serving, rate=8_000, source="rows", name="c:\\calls\\line 7") as socket:
        data = samples.tobytes()
        for at in range(0, len(data), 333):  # samples are cut in two
            socket.send(data[at : at + 333])
        socket.send('{"type": "end"}')
        ready, *rows, end = answers(socket)
        assert socket.close_code == 1000
    assert ready["kind"] == "ready"
    assert ready["model"] == "base"
    assert end == {"kind": "end", "heard_s": 3.3, "rows": 4}
    stream = mtqnet.stream(8_000)
    expected = [*stream.feed(samples), *stream.finish()]
    for row, scores in zip(rows, expected, strict=True):
        assert row["kind"] == "scores"
        np.testing.assert_allclose(
            [row[key] for key in KEYS], [scores.value(key) or 0.0 for key in KEYS], rtol=5e-4, atol=1e-4
        )
        assert row["end_s"] == pytest.approx(scores.windows[0].end_s, abs=1e-3)
        assert row["flags"] == list(scores.flags)
    (kept,) = client.get("/v1/history", params={"source": "rows"}).json()["rows"]
    assert (kept["kind"], kept["file"]) == ("stream", "line 7")
    assert kept["g_mos"] == pytest.approx(np.mean([row["g_mos"] for row in rows]), abs=1e-3)


def test_float_stereo_and_pauses(serving: Server, voice: Voice) -> None:
    speech = voice(2.0)
    both = np.stack([speech, speech], axis=1)
    sound = np.concatenate([both, np.zeros((32_000, 2), np.float32), np.full((16_000, 2), np.nan, np.float32)])
    with opened(serving, encoding="f32le", channels=2, window_s=1.0, model="toy") as socket:
        socket.send(sound.astype("<f4").tobytes())
        socket.send('{"type": "end"}')
        _, *rows, end = answers(socket)
    assert [row["level"] for row in rows] == ["caution", "caution", "refused", "refused", "refused"]
    assert [row["flags"][0] for row in rows[2:]] == ["silent", "silent", "not_finite"]
    assert all(row["error"] for row in rows[2:])
    assert end["rows"] == 5


@pytest.mark.parametrize(
    "start",
    [
        {"rate": 1000}, {"rate": "x"}, {"channels": 0}, {"encoding": "mp3"}, {"window_s": 100}, {"hop_s": 0},
        {"hop_s": 3, "window_s": 2}, {"model": "nobody"}, {"what": 1}, {"type": "end"},
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_meant_is_refused(start: dict[str, Any], serving: Server) -> None:
    with opened(serving, **start) as socket:
        (problem,) = answers(socket)
        assert socket.close_code == 1008
    assert problem["kind"] == "problem"
    assert problem["status"] == 422
    assert problem["detail"]


@pytest.mark.parametrize("message", ["", "[]", "no json", b"\0\0", '{"type": "start"}'])
def test_a_first_message_that_is_none(message: str | bytes, serving: Server) -> None:
    with connect(serving.live) as socket:
        socket.send(message)
        assert answers(socket)[0]["type"] == "urn:mtqnet:problem:invalid"


def test_too_fast_idle_and_gone(serving: Server, client: httpx.Client, voice: Voice) -> None:
    with opened(serving, model="toy") as socket, pytest.raises(ConnectionClosed):
        second = np.round(voice(1.0) * 32767).astype("<i2").tobytes()
        for _ in range(10_000):
            socket.send(second)
    with opened(serving, model="toy") as socket:
        assert answers(socket)[-1]["type"] == "urn:mtqnet:problem:idle"
    with opened(serving, model="toy") as socket:
        socket.send("what?")
        assert answers(socket)[-1]["type"] == "urn:mtqnet:problem:invalid"
    with opened(serving, model="toy") as socket:
        socket.socket.close()  # gone without a word
    figures = client.get("/metrics").text
    assert 'mtqnet_refusals_total{reason="too_fast"} 1.0' in figures
    assert 'mtqnet_refusals_total{reason="idle"}' in figures
    assert client.get("/healthz").status_code == 200


def row(error: str | None = None, flags: tuple[str, ...] = (), **values: float) -> Scores:
    return Scores(**values, error=error, flags=flags, model="toy")  # type: ignore[arg-type]


def test_the_mean_of_rows() -> None:
    rows = [
        row(s_mos=2.0, sdi_est=0.01, flags=("short",)), row("silent", ("silent",)),
        row(s_mos=4.0, sdi_est=1.0, flags=("dc", "short")),
    ]  # fmt: skip
    whole = mean(rows)
    assert (whole.s_mos, whole.g_mos, whole.flags, whole.error) == (3.0, None, ("short", "dc"), None)
    assert whole.sdi_est == pytest.approx(0.1)
    assert mean(rows[1:2]).level == "refused"


def test_text_that_is_not_utf_8_leaves_no_traceback_in_the_log() -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    record = logging.LogRecord(
        "uvicorn.error", logging.ERROR, "", 0, "Invalid", (), (UnicodeDecodeError, error, None)
    )
    assert _without_traceback(record)
    assert record.exc_info is None


def test_the_beginning_is_examined_a_few_times_however_small_the_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every examination takes a millisecond of the loop that all clients share."""
    examined: list[int] = []
    monkeypatch.setattr(stream, "content_of", lambda head: examined.append(len(head)))
    one = stream.Session.__new__(stream.Session)
    one._head, one._examine_at = b"", 1
    for _ in range(5000):
        one._need_samples(b"\x07")
    assert examined == [2**power for power in range(13)]
    assert examined[-1] == HEAD_BYTES


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_file_instead_of_samples_is_refused(serving: Server, voice: Voice, tmp_path: Path, name: str) -> None:
    sf.write(tmp_path / name, voice(3.0), 16_000)
    data = (tmp_path / name).read_bytes()
    with opened(serving) as socket:
        for at in range(0, len(data), 1001):
            with suppress(ConnectionClosed):
                socket.send(data[at : at + 1001])
        *_, problem = answers(socket)
    assert problem["kind"] == "problem"
    assert problem["type"].endswith("not_samples")
    assert "POST /v1/score" in problem["detail"]
