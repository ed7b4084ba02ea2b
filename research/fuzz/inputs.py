"""Functions that read one untrusted input: audio, a table, a model's record and graph, the messages of a WebSocket.

Each returns for an input that is read or refused as documented, and raises for anything else. The coverage-guided
fuzzer (coverage.py) and tests/research/test_fuzz_inputs.py call them.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import soundfile as sf
from fastapi import WebSocketDisconnect

from mtqnet.audio.analysis import analyse
from mtqnet.audio.decoding import open_source
from mtqnet.audio.reading import signals
from mtqnet.errors import AudioError, ModelError, MtqnetError
from mtqnet.evaluation import ratings, recordings
from mtqnet.scoring import models, resume
from mtqnet.scoring.predictor import failed
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.tables import RECORDINGS, SUFFIXES
from mtqnet.serving import stream
from mtqnet.serving.guard import Keys
from mtqnet.serving.settings import Settings
from mtqnet.targets import BY_KEY

SEEDS = {
    "wav": ("WAV", "PCM_16"), "float": ("WAV", "FLOAT"), "ima": ("WAV", "IMA_ADPCM"), "rf64": ("RF64", "PCM_24"),
    "w64": ("W64", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "au": ("AU", "ULAW"), "caf": ("CAF", "ALAC_16"),
    "flac": ("FLAC", "PCM_16"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
    "voc": ("VOC", "PCM_16"), "nist": ("NIST", "PCM_16"),
}  # fmt: skip
"""libsndfile's format and encoding of the files that the fuzzer starts from"""
SEED_S = 0.6
"""Seconds; a little more than the shortest recording that is scored"""


def audio(data: bytes) -> None:
    """Read and analyse every channel."""
    try:
        source = open_source(data)
        for signal in signals(source, "each")[:2] + signals(source, "mix"):
            analysed = analyse(signal, hold_s=1.0)
            assert 0 <= analysed.analysis.start < analysed.analysis.stop <= analysed.analysis.samples
    except AudioError as error:
        assert str(error) and "\n" not in str(error)


def audio_seeds() -> Iterator[bytes]:
    """Yield a small valid file of every container."""
    rate = 16_000
    time = np.arange(round(SEED_S * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 300 * time) * (time % 0.25 < 0.2)
    for container, encoding in SEEDS.values():
        file = io.BytesIO()
        sf.write(file, np.stack([sound, 0.5 * sound], axis=1), rate, format=container, subtype=encoding)
        yield file.getvalue()


def table(data: bytes) -> None:
    """Read a table as ratings, as scores, and as a table that is to be completed. The first byte is the suffix."""
    with _file(SUFFIXES[data[0] % 3 if data else 0], data[1:]) as path:
        try:
            found = ratings.read(path)
        except MtqnetError as error:
            _check_message(error, path)
        else:
            assert len(set(found.files)) == len(found.files)
            for key, one in found.ratings.items():
                known = one.mean[np.isfinite(one.mean)]
                low, high = ratings.SPANS.get(key, ratings.MOS_SPAN if one.same_scale else ratings.OTHER_SPAN)
                assert len(one.mean) == len(found.files)
                assert not np.isinf(one.mean).any() and ((known >= low) & (known <= high)).all()
        try:
            scores = recordings.read(path)
        except MtqnetError as error:
            _check_message(error, path)
        else:
            for row in scores.rows:
                for key in BY_KEY:
                    value = row.scores.value(key) if hasattr(row.scores, key) else None
                    assert value is None or math.isfinite(value)
        wanted = resume.Wanted([path], "0" * 64, "0", RECORDINGS)
        try:
            rows = list(resume._read(path, wanted.layout))
        except MtqnetError as error:
            _check_message(error, path)
        else:
            assert all(tuple(row) == RECORDINGS.columns for row in rows)


def table_seeds() -> Iterator[bytes]:
    """Yield small valid tables of ratings and scores."""
    yield b"\0file,s_mos,n_mos,g_mos,votes\na.wav,3.5,4,3,8\nb.wav,2,99,1.25,8\n"
    yield "\0sep=;\r\nDatei;G-MOS\r\nä.wav;3,5\r\nb.wav;n/a\r\n".encode()
    yield b"\0" + "file\tMOS_SIG\tMOS_OVRL\nx.wav\t4,0\t2,5\n".encode("utf-16")
    head = ",".join(RECORDINGS.columns)
    yield f"\0{head}\na.wav{',' * (len(RECORDINGS.columns) - 1)}\n".encode()
    yield b'\1{"file": "a.wav", "g_mos": 3.5, "flags": ""}\n{"file": "b.wav", "g_mos": null}\n'


def record(data: bytes) -> None:
    """Read a model: a record, a NUL character, and a graph."""
    text, _, graph = data.partition(b"\0")
    models.find_problem(graph)
    with _file(".onnx", graph) as path:
        path.with_suffix(".json").write_bytes(text)
        try:
            found = models.find(path)
            if found.intervals is not None:
                middle = {key: (BY_KEY[key].low + BY_KEY[key].high) / 2 for key in found.targets}
                for interval in found.intervals.of(middle).values():
                    assert interval.low <= interval.high
            found.weights()
        except ModelError as error:
            _check_message(error, path)


def record_seeds() -> Iterator[bytes]:
    """Yield the shipped records with a small graph, and the beginnings of the shipped graphs."""
    for name in models.complete():
        path = models.WEIGHTS / f"{name}.onnx"
        content = json.loads(path.with_suffix(".json").read_text())
        kept = ("name", "targets", "features", "peak_normalise", "frame_rate_hz", "sha256", "licence", "intervals")
        yield json.dumps({key: content[key] for key in kept if key in content}).encode() + b"\0\x08\x08"
        yield b"{}\0" + path.read_bytes()[:2000]


def messages(data: bytes) -> None:
    """Send messages to a live stream: the first line as text, then messages of length and kind in two bytes."""
    first, _, rest = data.partition(b"\n")
    queue: list[dict[str, Any]] = [{"type": "websocket.receive", "text": first.decode("utf-8", "replace")}]
    while rest:
        length, kind = rest[0] * 16, rest[1] if len(rest) > 1 else 0
        part, rest = rest[2 : 2 + length], rest[2 + length :]
        content = {"text": part.decode("utf-8", "replace")} if kind % 8 == 0 else {"bytes": part}
        queue.append({"type": "websocket.receive", **content})
    socket = _Socket(queue)
    asyncio.run(stream.serve(socket))  # type: ignore[arg-type]
    kinds = [json.loads(text)["kind"] for text in socket.sent]
    assert not kinds or kinds[-1] in ("end", "problem", "ready", "scores")
    assert kinds.count("problem") + kinds.count("end") <= 1


def message_seeds() -> Iterator[bytes]:
    """Yield streams of a valid start, samples and end."""
    sound = (3000 * np.sin(np.arange(8 * 4000) / 9)).astype("<i2").tobytes()[:4000]
    for encoding, channels in (("s16le", 1), ("f32le", 2)):
        start = json.dumps({"type": "start", "rate": 8000, "encoding": encoding, "channels": channels})
        yield start.encode() + b"\n" + b"\xfa\1" + sound + b"\xfa\1" + sound + b"\1\0" + b'{"type":"end"}  '


class _Socket:
    """A WebSocket whose client sends these messages and disconnects."""

    def __init__(self, queue: list[dict[str, Any]]) -> None:
        self._queue = queue
        self.sent: list[str] = []
        self.headers: dict[str, str] = {}
        self.app = SimpleNamespace(state=SimpleNamespace(service=_service()))
        self._closed = False

    async def accept(self) -> None:
        pass

    async def receive(self) -> dict[str, Any]:
        return self._queue.pop(0) if self._queue else {"type": "websocket.disconnect", "code": 1000}

    async def send_text(self, text: str) -> None:
        if self._closed:
            raise WebSocketDisconnect(1000)
        self.sent.append(text)

    async def send_json(self, content: Any) -> None:
        await self.send_text(json.dumps(content, allow_nan=False))

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002
        assert len(reason.encode()) <= 123
        self._closed = True


@lru_cache(maxsize=1)
def _service() -> Any:
    """A service without processes: every window is refused."""
    model = models.find(models.complete()[0])

    async def call(*_: Any) -> Scores:
        return replace(failed(model, AudioError("silent")), exception=None)

    live = SimpleNamespace(pending=0, call=call)
    return SimpleNamespace(
        settings=Settings.model_validate({"database": ""}), keys=Keys(), live=live, metrics=MagicMock(), threads=None,
        model=lambda _: model, history=None, remember=_remember,
    )  # fmt: skip


async def _remember(*_: Any) -> None:
    return None


@contextmanager
def _file(suffix: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input{suffix}"
        path.write_bytes(content)
        yield path


def _check_message(error: MtqnetError, path: Path) -> None:
    text = str(error).replace(os.fspath(path), "")
    assert text and len(text) < 4000


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "audio": (audio, audio_seeds),
    "table": (table, table_seeds),
    "record": (record, record_seeds),
    "messages": (messages, message_seeds),
}
"""Name -> function that reads an input, and its seeds"""
