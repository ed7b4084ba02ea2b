"""A separate process that scores, supervised: if a recording kills it or never ends, another process takes its place.

The recording is tried once more, alone, in a new process. If that process dies too, the recording gets an error as
its row. A damaged file therefore costs two process starts (one second each) and no other row.

Messages: a worker sends a `Task`; the process answers `At` before each recording, waits for `Go`, and sends `Done`
with the rows; `Finished` ends the task.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType

import mtqnet
from mtqnet.errors import KilledError, MtqnetError
from mtqnet.integrations.ray.sources import Entry
from mtqnet.scoring import models
from mtqnet.scoring.predictor import failed
from mtqnet.scoring.tables import RECORDINGS, WINDOWS, Row
from mtqnet.scoring.workers import ONE_MATH_THREAD

BASE_S = 60.0
"""Seconds that any recording may take: a thousand times what one of 10 s does"""
BYTES_A_SECOND = 10_000
"""A second more for so many bytes: 13 s of the tightest speech coding (6 kbit/s), which take 0.3 s to score"""


@dataclass(frozen=True)
class Task:
    """Score the recordings of a shard."""

    entries: tuple[Entry, ...]
    done: frozenset[int] = frozenset()
    """Places that are not to be scored"""
    one: bool = False
    """Only the first that is not done"""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class At:
    """The next recording. It is not opened before the worker sends Go."""

    place: int
    file: str
    size: int
    """Bytes"""

    @property
    def limit_s(self) -> float:
        """Seconds after which it is taken for endless."""
        return BASE_S + self.size / BYTES_A_SECOND


@dataclass(frozen=True)
class Go:
    """The worker has recorded which recording comes next, in case it is killed by it."""


@dataclass(frozen=True)
class Done:
    """A recording's rows."""

    place: int
    rows: tuple[Row, ...]
    code: int
    """0, or the exit code of what kept it from being scored"""
    duration_s: float
    size: int
    fetch_s: float
    score_s: float


@dataclass(frozen=True)
class Finished:
    """The task is done."""


Message = Ready | At | Done | Finished


OUT_OF_MEMORY = 99
"""Exit code of a scoring process that reached its memory limit"""
START_S = 300.0
"""Seconds to load the model, on a machine that does much else"""
FETCH_S = 600.0
"""Seconds for a file to come over the network"""
STALLS = 3
"""Number of deaths without a current recording after which the shard is returned"""
DYING_S = 10.0
"""Seconds for a process that hung up to be gone"""
NOBODY: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class Setting:
    """What a process that scores is started with."""

    model: str
    """A shipped model, or the path of one on this machine"""
    windows: bool = False
    threads: int = 1
    memory: int = 0
    """Bytes that it may have; 0: no limit"""


class _DiedError(Exception):
    """The process died or was ended."""


@dataclass
class Sandbox:
    """One process that scores, started when it is first needed and again when it died."""

    setting: Setting
    restarts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _line: Connection | None = field(default=None, repr=False)

    def score(self, entries: Sequence[Entry], refused: Mapping[int, str] = NOBODY) -> Iterator[At | Done]:
        """Yield `At` and then `Done` for each recording of a shard. No recording ends the iteration.

        A recording is opened only when the generator is advanced, so that the caller can leave a mark first.

        `refused` are files by place that are not tried again: they killed whole workers. Raises MtqnetError when
        the process dies without a current recording, or if no data arrives over the network.
        """
        done = set(refused)
        for place, file in refused.items():
            yield self._killed(At(place, file, 0), "died with its whole worker")
        alone: int | None = None
        stalls = 0
        while True:
            at: At | None = None
            try:
                for message in self._work(Task(tuple(entries), frozenset(done), one=alone is not None)):
                    at = message if isinstance(message, At) else None
                    if isinstance(message, Done):
                        done.add(message.place)
                    yield message
            except _DiedError as death:
                self.close()
                self.restarts += 1
                if at is None:
                    stalls += 1
                    if stalls == STALLS:
                        raise MtqnetError(f"the process that scores {death}, {STALLS} times") from death
                elif at.place == alone:
                    done.add(at.place)
                    yield self._killed(at, str(death))
                    alone = None
                else:
                    alone = at.place
                continue
            if alone is None:
                return
            alone = None

    def close(self) -> None:
        """End the process."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._line = None

    def _work(self, task: Task) -> Iterator[At | Done]:
        line = self._line or self._start()
        self._send(line, task)
        at: At | None = None
        while not isinstance(message := self._next(line, FETCH_S if at is None else at.limit_s), Finished):
            if isinstance(message, At | Done):
                at = message if isinstance(message, At) else None
                yield message
                if at is not None:
                    self._send(line, Go())

    def _send(self, line: Connection, message: Task | Go) -> None:
        try:
            line.send(message)
        except OSError as error:
            raise self._died() from error

    def _next(self, line: Connection, limit_s: float) -> Message:
        try:
            if not line.poll(limit_s):
                raise _DiedError(f"did not come to an end in {limit_s:.0f} s")
            message: Message = line.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        return message

    def _start(self) -> Connection:
        ours, theirs = multiprocessing.Pipe()
        setting = self.setting
        words = (theirs.fileno(), setting.model, int(setting.windows), setting.memory, setting.threads)
        home = str(Path(mtqnet.__file__).resolve().parents[1])
        paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mtqnet.integrations.ray.child", *map(str, words)],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                env=os.environ | ONE_MATH_THREAD | {"PYTHONPATH": paths},
            )  # fmt: skip
        self._line = ours
        self._next(ours, START_S)  # Ready
        return ours

    def _died(self) -> _DiedError:
        assert self._process is not None
        try:
            code = self._process.wait(timeout=DYING_S)
        except subprocess.TimeoutExpired:
            return _DiedError("hung up")
        if code == OUT_OF_MEMORY or code == -signal.SIGKILL:
            return _DiedError("ran out of memory, or was killed")
        with suppress(ValueError):
            return _DiedError(f"was ended by {signal.Signals(-code).name}")
        return _DiedError(f"ended with code {code}")

    def _killed(self, at: At, how: str) -> Done:
        """The row of a recording that killed its process twice."""
        error = KilledError(f"the process that read it {how}, twice: a damaged file, or a fault of its decoder")
        scores = failed(models.find(self.setting.model), error, at.file)
        layout = WINDOWS if self.setting.windows else RECORDINGS
        return Done(at.place, tuple(layout.rows(scores)), KilledError.exit_code, 0.0, at.size, 0.0, 0.0)
