"""A recording that is still running: chunks of samples in, a rolling score every second out.

The rule: after each hop of audio, the score is what `Predictor.score` says of the last window, resampled to 16 kHz
and cut out there; in the beginning the window is what there is. So a score follows a change within a window's
length, and rows a window's length apart are those of the windows of a file (signal/windows.py).

A row costs what scoring its window costs, and comes that much later than its last sample; shorter windows are
cheaper. A chunk of 20 ms that brings no row takes 4 microseconds at 16 kHz, 11 at 48 kHz.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mtqnet.audio import decoding, resampling
from mtqnet.audio.flags import MIN_DURATION_S
from mtqnet.audio.resampling import SAMPLE_RATE, Resampler, Samples
from mtqnet.audio.windows import MAX_WINDOW_S
from mtqnet.errors import UsageError
from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.predictor import PathLike, Predictor, cached
from mtqnet.scoring.scores import Scores, WindowScores

HOP_S = 1.0
"""Seconds from one score to the next"""


class Scorer(Protocol):
    """What a stream asks for its rows: a Predictor, or what passes the question on to one."""

    @property
    def record(self) -> ModelRecord: ...

    def score(self, audio_or_path: Samples, rate: float) -> Scores: ...


class Stream:
    """Rolling scores of one source. Not safe to use from several threads; several streams may share a predictor.

    Holds a window and a hop of samples, however long it runs. `rate` in Hz; chunks are (samples,), or
    (samples, channels) where there are more channels than one. Raises UsageError for what cannot be meant.
    """

    def __init__(
        self,
        predictor: Scorer,
        rate: float,
        *,
        channels: int = 1,
        window_s: float = MAX_WINDOW_S,
        hop_s: float = HOP_S,
    ) -> None:
        resampling.check_rate(rate)
        if not 1 <= channels <= decoding.MAX_CHANNELS:
            raise UsageError(f"{channels} channels: expected 1 to {decoding.MAX_CHANNELS}")
        if not MIN_DURATION_S <= window_s <= MAX_WINDOW_S:
            raise UsageError(f"a window of {window_s:g} s: expected {MIN_DURATION_S:g} to {MAX_WINDOW_S:g} s")
        if not 0 < hop_s <= window_s:
            raise UsageError(f"a hop of {hop_s:g} s: expected more than 0 s, and no more than the window")
        self._predictor = predictor
        self._rate = rate
        self._channels = channels
        self._window = round(window_s * SAMPLE_RATE)
        self._hop = max(1, round(hop_s * SAMPLE_RATE))
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: time is 0 again."""
        self._resampler = Resampler(self._rate, self._channels)
        self._pieces: list[Samples] = [np.zeros((0, self._channels), dtype=np.float32)]
        self._heard = 0
        self._due = self._hop

    @property
    def heard_s(self) -> float:
        """Seconds that went through the resampler so far."""
        return self._heard / SAMPLE_RATE

    def feed(self, chunk: ArrayLike) -> list[Scores]:
        """Take the next samples, any number; give the scores that are due, mostly none or one.

        Integers are scaled by their full scale. Each Scores holds one window: the span it was taken from, in
        seconds since the beginning. A span that cannot be scored (a pause, NaN samples) has an `error`.
        """
        samples = decoding.to_float32(np.asarray(chunk))
        shape = samples.shape
        if samples.ndim == 1 and self._channels == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or samples.shape[1] != self._channels:
            raise UsageError(f"a chunk of shape {shape}: expected (samples, {self._channels})")
        return self._take(self._resampler.add(samples))

    def finish(self) -> list[Scores]:
        """The end: what was still in the resampler, and a score of the last window unless it was just given."""
        rows = self._take(self._resampler.finish())
        if self._heard > self._due - self._hop:
            rows.append(self._row())
        self.reset()
        return rows

    def _take(self, samples: Samples) -> list[Scores]:
        """(samples, channels) at SAMPLE_RATE"""
        rows: list[Scores] = []
        while len(samples) >= self._due - self._heard:
            samples = self._hold(samples, self._due - self._heard)
            rows.append(self._row())
            self._due += self._hop
        self._hold(samples, len(samples))
        return rows

    def _hold(self, samples: Samples, count: int) -> Samples:
        """Keep the first `count` samples, and give back the others."""
        self._pieces.append(samples[:count].copy())  # a view would keep the whole chunk
        self._heard += count
        return samples[count:]

    def _row(self) -> Scores:
        """The score of the last window."""
        held = np.concatenate(self._pieces)[-self._window :]
        self._pieces = [held]
        start_s, end_s = (self._heard - len(held)) / SAMPLE_RATE, self._heard / SAMPLE_RATE
        scores = self._predictor.score(held, SAMPLE_RATE)
        keys = self._predictor.record.targets
        values = tuple(value for key in keys if (value := scores.value(key)) is not None)
        window = WindowScores(start_s, end_s, 1.0, values, keys if values else ())
        track = scores.track and replace(scores.track, times_s=scores.track.times_s + start_s)
        return replace(scores, windows=(window,), track=track)


def stream(
    rate: float,
    *,
    model: PathLike | Predictor = "base",
    channels: int = 1,
    window_s: float = MAX_WINDOW_S,
    hop_s: float = HOP_S,
) -> Stream:
    """A Stream for samples of this rate in Hz; see there. The models used last stay loaded.

    >>> live = mtqnet.stream(8000)                       # doctest: +SKIP
    >>> for scores in live.feed(chunk): print(scores)    # doctest: +SKIP
    """
    predictor = model if isinstance(model, Predictor) else cached(model)
    return Stream(predictor, rate, channels=channels, window_s=window_s, hop_s=hop_s)
