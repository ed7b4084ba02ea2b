"""The WebSocket: PCM in, rolling scores out. The messages are described in docs/serve.md.

A reader checks incoming messages against the limits; the session feeds them to a Stream of scoring/stream.py
in a thread, whose rows are scored in the processes of the pool for live sound.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from numpy.typing import NDArray
from pebble import ProcessExpired
from pydantic import Field, ValidationError

from mtqnet.audio.containers import HEAD_BYTES, content_of
from mtqnet.audio.decoding import MAX_CHANNELS
from mtqnet.audio.flags import MIN_DURATION_S
from mtqnet.audio.resampling import MAX_RATE, MIN_RATE, Samples
from mtqnet.audio.windows import MAX_WINDOW_S
from mtqnet.errors import UsageError
from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.stream import ENCODINGS, HOP_S, Stream
from mtqnet.serving import schemas, state, worker
from mtqnet.serving.pool import Pool, died
from mtqnet.serving.problems import ProblemError, log
from mtqnet.serving.schemas import Label
from mtqnet.serving.state import Service
from mtqnet.serving.uploads import label
from mtqnet.targets import TARGETS

BURST_S = 30.0
"""Seconds of audio that may arrive at once, at any speed"""
FEED_S = 0.1
"""Seconds that are processed at a time, so that threads are not woken for single packets"""
MIN_HOP_S = 0.25
"""Minimum seconds between rows"""
WAITING = 1024
"""Maximum number of queued messages; then the sender is slowed down"""
MESSAGES_BURST, MESSAGES_A_S = 5000, 1000
"""Messages that may come at once, and after that in a second: telephony sends 50"""
MAX_SPEED = 4.0
"""Times real time that a stream may send after BURST_S"""
MAX_STREAM_S = 4 * 3600.0
"""Seconds of audio in one stream"""
HISTORY_S = 60.0
"""Seconds of a stream that become a row of the history"""
POLICY, LATER, FAULT = 1008, 1013, 1011
"""Close codes (RFC 6455 and its registry): refused, try again later, the server's fault"""

MAX_END = 256
"""Characters of the last message that are read: deeper nesting cannot be meant"""

Chunk = NDArray[Any]


class Start(schemas.Model):
    """The first message of a client."""

    type: Literal["start"] = "start"
    rate: int = Field(ge=MIN_RATE, le=MAX_RATE)
    encoding: Literal["s16le", "f32le"] = "s16le"
    channels: int = Field(1, ge=1, le=MAX_CHANNELS)
    model: Label | None = None
    window_s: float = Field(MAX_WINDOW_S, ge=MIN_DURATION_S, le=MAX_WINDOW_S)
    hop_s: float = Field(HOP_S, ge=MIN_HOP_S, le=MAX_WINDOW_S)
    source: Label = ""
    name: str = Field("live", max_length=255)
    key: str | None = Field(None, max_length=255, repr=False)


class Pooled:
    """Scores windows in the processes of a pool; used by Stream, in a thread, in place of a Predictor."""

    def __init__(self, pool: Pool, record: ModelRecord) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.record = record

    def score(self, audio_or_path: Samples, rate: float) -> Scores:  # noqa: ARG002 a Stream is at 16 kHz
        job = self._pool.call(worker.score_window, audio_or_path, str(self.record.path))
        return asyncio.run_coroutine_threadsafe(job, self._loop).result()


async def serve(websocket: WebSocket) -> None:
    """One live stream, from its first message to its end."""
    service = state.of(websocket)
    await websocket.accept()
    try:
        start = await _start(websocket, service)
        if service.live.pending >= service.settings.most_streams:
            raise ProblemError(429, "busy", f"{service.live.pending} live streams are open: try again later")
        service.live.pending += 1
        try:
            await Session(websocket, service, start).run()
        finally:
            service.live.pending -= 1
    except WebSocketDisconnect:
        return
    except ProblemError as problem:
        await _refuse(websocket, service, problem)
    except (ProcessExpired, BrokenProcessPool) as error:
        await _refuse(websocket, service, died(error))
    except (TimeoutError, CancelledError) as error:
        log.error("a row of a live stream was lost: %s", error)
        await _refuse(
            websocket, service, ProblemError(500, "process_died", "The process that scored it was ended.")
        )


async def _refuse(websocket: WebSocket, service: Service, problem: ProblemError) -> None:
    service.metrics.refusals.labels(problem.kind).inc()
    code = LATER if problem.status in (429, 503) else FAULT if problem.status == 500 else POLICY
    with suppress(WebSocketDisconnect, RuntimeError):  # it may be gone
        await websocket.send_json({"kind": "problem"} | problem.as_json())
        await websocket.close(code, problem.kind)


async def _start(websocket: WebSocket, service: Service) -> Start:
    message = await _receive(websocket, service.settings.stream_idle_s)
    try:
        start = Start.model_validate_json(message.get("text") or "")
    except ValidationError as error:
        errors = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'start'}: {one['msg']}" for one in error.errors())
        raise ProblemError(422, "invalid", f"the first message: {errors}") from error
    state.need_key(websocket, start.key)
    return start


async def _receive(websocket: WebSocket, idle_s: float) -> dict[str, Any]:
    try:
        message: dict[str, Any] = dict(await asyncio.wait_for(websocket.receive(), idle_s))
    except TimeoutError as error:
        raise ProblemError(408, "idle", f"no message for {idle_s:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message


class Session:
    """A stream that was let in."""

    def __init__(self, websocket: WebSocket, service: Service, start: Start) -> None:
        """Raises ProblemError for what cannot be meant."""
        self._websocket = websocket
        self._service = service
        self._start = start
        record = service.model(start.model)
        try:
            self._stream = Stream(
                Pooled(service.live, record), start.rate, channels=start.channels, window_s=start.window_s,
                hop_s=start.hop_s,
            )  # fmt: skip
        except UsageError as error:
            raise ProblemError(422, "invalid", str(error)) from error
        self._record = record
        self._dtype = ENCODINGS[start.encoding]
        self._rest = b""
        self._head = b""
        """The first bytes of the stream"""
        self._examine_at = 1
        """Length of `_head` at which it is examined next, so that many small messages do not take long"""
        self._received = 0
        """Samples"""
        self._messages = 0
        self._began = time.monotonic()
        self._queue: asyncio.Queue[Chunk | None] = asyncio.Queue(WAITING)
        self._rows: list[Scores] = []
        """Not yet in the history"""
        self._sent = 0

    @property
    def received_s(self) -> float:
        return self._received / self._start.rate

    async def run(self) -> None:
        """Run until the client sends the end, disconnects, or exceeds a limit."""
        await self._send(
            "ready", model=self._record.name, model_sha256=self._record.sha256,
            **self._start.model_dump(include={"rate", "encoding", "channels", "window_s", "hop_s"}),
        )  # fmt: skip
        reader = asyncio.create_task(self._read())
        try:
            while (chunk := await self._next()) is not None:
                await self._send_rows(await self._in_thread(self._stream.feed, chunk))
            await reader  # raises what ended it
            await self._send_rows(await self._in_thread(self._stream.finish))
            await self._send("end", heard_s=round(self.received_s, 3), rows=self._sent)
            await self._websocket.close()
        finally:
            reader.cancel()
            await self._remember()

    async def _read(self) -> None:
        """Put messages into the queue, None at the end. After an error, queued messages are discarded."""
        try:
            while True:
                message = await _receive(self._websocket, self._service.settings.stream_idle_s)
                if message.get("text") is not None:
                    _need_end(message["text"])
                    break
                data = message.get("bytes") or b""
                self._need_samples(data)
                chunk = self._chunk(data)
                self._within_limits()
                if len(chunk):
                    await self._queue.put(chunk)
        except Exception:
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)
            raise
        await self._queue.put(None)

    def _need_samples(self, data: bytes) -> None:
        """Raise ProblemError if the stream begins with the bytes of a file, such as WAV, Ogg or WebM."""
        if len(self._head) >= HEAD_BYTES:
            return
        self._head += data[: HEAD_BYTES - len(self._head)]
        if len(self._head) < min(self._examine_at, HEAD_BYTES):
            return
        self._examine_at = 2 * len(self._head)
        content = content_of(self._head)
        if content is not None:
            raise ProblemError(
                415, "not_samples",
                f"The stream contains {content} instead of raw samples. Decode it first, for example "
                "with `ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -`, or send the file to POST /v1/score.",
            )  # fmt: skip

    def _chunk(self, data: bytes) -> Chunk:
        """(samples, channels); bytes of a sample that is not complete wait for the rest."""
        frame = self._dtype.itemsize * self._start.channels
        data = self._rest + data
        whole = len(data) // frame * frame
        self._rest = data[whole:]
        self._received += whole // frame
        return np.frombuffer(data[:whole], self._dtype).reshape(-1, self._start.channels)

    def _within_limits(self) -> None:
        elapsed_s = time.monotonic() - self._began
        self._messages += 1
        if self._messages > MESSAGES_BURST + MESSAGES_A_S * elapsed_s:
            raise ProblemError(413, "too_many", f"a live stream may send {MESSAGES_A_S} messages a second")
        if self.received_s > MAX_STREAM_S:
            raise ProblemError(413, "too_long", f"a live stream may last {MAX_STREAM_S:g} s")
        if self.received_s > BURST_S + MAX_SPEED * elapsed_s:
            raise ProblemError(413, "too_fast", f"a live stream may be sent at {MAX_SPEED:g} times real time")

    async def _next(self) -> Chunk | None:
        """Return queued samples, at least FEED_S seconds except at the end; None at the end."""
        chunks: list[Chunk] = []
        needed = FEED_S * self._start.rate
        while needed > 0:
            chunk = await self._queue.get()
            if chunk is None:
                self._queue.put_nowait(None)
                break
            chunks.append(chunk)
            needed -= len(chunk)
        return np.concatenate(chunks) if chunks else None

    async def _in_thread(self, function: Any, *arguments: Any) -> list[Scores]:
        rows: list[Scores] = await asyncio.get_running_loop().run_in_executor(
            self._service.threads, function, *arguments
        )
        return rows

    async def _send_rows(self, rows: Sequence[Scores]) -> None:
        for row in rows:
            (window,) = row.windows
            behind_s = max(0.0, self.received_s - window.end_s)
            self._service.metrics.scored(row, "stream")
            self._service.metrics.behind.observe(behind_s)
            self._service.metrics.audio_seconds.labels("stream").inc(self._start.hop_s)
            self._rows.append(row)
            self._sent += 1
            await self._send(
                "scores", **schemas.scored_fields(row), start_s=round(window.start_s, 3),
                end_s=round(window.end_s, 3), flags=list(row.flags), level=row.level, error=row.error,
                behind_s=round(behind_s, 3),
            )  # fmt: skip
            if len(self._rows) * self._start.hop_s >= HISTORY_S:
                await self._remember()

    async def _send(self, kind: str, **members: Any) -> None:
        await self._websocket.send_text(json.dumps({"kind": kind, **members}, allow_nan=False))

    async def _remember(self) -> None:
        """Write the mean of the rows since the last call to the history."""
        if self._rows:
            rows, self._rows = self._rows, []
            span_s = len(rows) * self._start.hop_s
            scores = replace(mean(rows), file=label(self._start.name), duration_s=span_s)
            await self._service.remember(scores, "stream", self._start.source)


def mean(rows: Sequence[Scores]) -> Scores:
    """One row for many: the mean of those that have scores (of SDI that of its logarithm), and all their flags."""
    scored = [row for row in rows if row.error is None]
    flags = tuple(dict.fromkeys(flag for row in scored or rows for flag in row.flags))
    if not scored:
        return replace(rows[-1], flags=flags)
    values: dict[str, Any] = {}
    for target in TARGETS:
        numbers = [value for row in scored if (value := row.value(target.key)) is not None]
        if numbers:
            middle = float(target.compress(np.array(numbers)).mean())
            values[target.key] = 10**middle if target.log else middle
    return replace(scored[0], **values, intervals={}, flags=flags, windows=())


def _need_end(text: str) -> None:
    """Raise ProblemError unless the message announces the end of the stream."""
    try:
        message = json.loads(text[:MAX_END])
    except ValueError:
        message = None
    if not isinstance(message, dict) or message.get("type") != "end":
        raise ProblemError(422, "invalid", 'expected samples, or {"type": "end"}')
