"""`mtqnet score -`: raw PCM on standard input, a row each second on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mtqnet.cli.console import ScoreOptions, Tally, clock, open_table
from mtqnet.errors import EmptyAudioError, UsageError
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores, spoken
from mtqnet.scoring.stream import Stream
from mtqnet.scoring.tables import Table
from mtqnet.targets import TARGETS

STDIN = "-"
"""Stands for standard input, as a path and in the column `file`."""
READ_BYTES = 1 << 16


ENCODINGS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Of raw samples, by the names of ffmpeg"""


@dataclass(frozen=True)
class Pcm:
    """What raw samples are."""

    rate: int | None
    """Hz"""
    encoding: str = "s16le"
    """One of ENCODINGS"""
    channels: int = 1


def score_stdin(pcm: Pcm, options: ScoreOptions, paths: Sequence[Path]) -> int:
    """Score standard input as it comes. Returns the exit code: 0 where anything was scored.

    Raises UsageError for what cannot be meant, EmptyAudioError where nothing came.
    """
    if len(paths) > 1:
        raise UsageError("- stands for standard input, alone: score the files in a run of their own")
    if pcm.encoding not in ENCODINGS:
        raise UsageError(f"no encoding '{pcm.encoding}': there are {', '.join(ENCODINGS)}")
    if pcm.rate is None:
        raise UsageError("raw samples do not say their rate: give --rate, in Hz")
    if sys.stdin is None:  # closed by who started this
        raise UsageError("standard input is closed: pipe raw samples into it")
    if options.resume:
        raise UsageError("a stream cannot be heard again: leave --resume out")
    stream = Stream(Predictor(options.model, options.threads, track=False), pcm.rate, channels=pcm.channels)
    tally = Tally()
    with LiveLines() if _on_screen(options) else open_table(options) as table:
        for scores in _rows(stream, chunks(sys.stdin.buffer, pcm)):
            table.write(scores)
            tally.add(scores)
    if not tally.scored + tally.failed:
        raise EmptyAudioError("no samples came on standard input")
    return 0 if tally.scored else tally.exit_code


def chunks(source: BinaryIO, pcm: Pcm) -> Iterator[NDArray[Any]]:
    """(samples, channels) as they come; bytes of a sample that is not complete wait for the rest."""
    dtype = ENCODINGS[pcm.encoding]
    frame = dtype.itemsize * pcm.channels
    rest = b""
    while data := source.read1(READ_BYTES):  # type: ignore[attr-defined]
        data = rest + data
        whole = len(data) // frame * frame
        rest = data[whole:]
        yield np.frombuffer(data[:whole], dtype).reshape(-1, pcm.channels)


def _rows(stream: Stream, pieces: Iterator[NDArray[Any]]) -> Iterator[Scores]:
    for piece in pieces:
        yield from (_named(scores) for scores in stream.feed(piece))
    yield from (_named(scores) for scores in stream.finish())


def _named(scores: Scores) -> Scores:
    return replace(scores, file=STDIN)


def _on_screen(options: ScoreOptions) -> bool:
    return options.output is None and (options.table or sys.stdout.isatty())


class LiveLines(Table):
    """A line for each second on a terminal."""

    def write(self, scores: Scores) -> None:
        (window,) = scores.windows
        numbers = ((target, scores.value(target.key)) for target in TARGETS)
        told = "  ".join(spoken(target, number) for target, number in numbers if number is not None)
        flags = f"  ({', '.join(scores.flags)})" if scores.flags else ""
        print(f"{clock(window.end_s):>9}  {scores.error or told + flags}", flush=True)

    def close(self, complete: bool) -> None:
        pass
