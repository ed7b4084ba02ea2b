"""The facts of checks.py for a recording that comes in blocks: one pass, flat memory.

Two of them are found in another way than in a recording that is held, and differ from it by less than a flag
can see: the active level is taken after each block's own mean, and not that of the whole, was taken off; the
flat top is looked for in a histogram whose bins are 0.1 % wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import checks
from mtqnet.audio.audio import SAMPLE_RATE, Samples
from mtqnet.audio.character import CharacterMeter
from mtqnet.audio.checks import Measured
from mtqnet.audio.facts import Facts
from mtqnet.audio.flags import raised
from mtqnet.audio.level import FRAME, Activity, ActivityMeter, active_power

BLOCK = 5 * SAMPLE_RATE
"""Samples that are looked at together, or more: longer than TRIM_S, so that the first block knows the start."""
MANTISSA_BITS = 10
"""Of a float32's 23: bins of the histogram are 2^-10 of their octave, 0.05 to 0.1 % wide."""


@dataclass(frozen=True)
class Survey:
    """What has to be known of a recording before its windows can be scored."""

    samples: int
    """At SAMPLE_RATE"""
    start: int
    """First sample of what is there to hear; see checks.heard."""
    stop: int
    """The sample behind its last"""
    active_power: float
    """What a frame of 20 ms needs to be active."""
    facts: Facts
    flags: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        return self.samples / SAMPLE_RATE


class Surveyor:
    """Takes the blocks of a recording in order. A recording that is refused raises at `finish`."""

    def __init__(self) -> None:
        self._samples = self._frames = 0
        self._held: Samples = np.zeros(0, dtype=np.float32)
        self._peak = self._loudest = self._sum = 0.0
        self._first: int | None = None  # loud frame
        self._last = 0  # loud frame
        self._whole, self._heard = ActivityMeter(), ActivityMeter()
        self._to_last: Activity = self._heard.activity  # of what is heard, up to the last loud frame
        self._tops = (FlatTop(), FlatTop())
        self._character = CharacterMeter()

    def add(self, samples: Samples) -> None:
        """Take (samples,) at SAMPLE_RATE, any number."""
        self._samples += len(samples)
        self._held = np.concatenate([self._held, samples])
        frames = len(self._held) // FRAME - 1  # the last one stays: it may be the recording's last
        if len(self._held) >= BLOCK:
            self._take(self._held[: frames * FRAME])
            self._held = self._held[frames * FRAME :]

    def finish(self, source_rate: float, channels_cancel: bool) -> Survey:
        """Raises TooShortError or SilentError, in the words of checks.py."""
        checks.need_length(self._samples / SAMPLE_RATE)
        frames = len(self._held) // FRAME - 1
        self._take(self._held[: frames * FRAME])
        rest = self._held[frames * FRAME :]
        self._measure(rest)
        self._heard.add(rest)
        checks.need_sound(self._loudest)
        assert self._first is not None
        start, stop = checks.ends(self._first, self._last, self._samples)
        heard = self._heard.activity if stop == self._samples else self._to_last
        facts = checks.gathered(self._measured(stop - start), source_rate, channels_cancel)
        return Survey(self._samples, start, stop, active_power(heard.level), facts, raised(facts))

    def _measured(self, heard: int) -> Measured:
        return Measured(
            self._samples,
            heard,
            self._peak,
            self._loudest,
            self._whole.activity,
            sum(top.count() for top in self._tops) / self._samples,
            self._sum / self._samples,
            self._character.finish(),
        )

    def _take(self, samples: Samples) -> None:
        """Whole frames, of which none is the recording's last."""
        if not len(samples):
            return
        self._measure(samples)
        powers = checks.frame_variances(samples.reshape(-1, FRAME))
        if self._frames == 0:
            powers[0] = 0.0  # as in checks: the first frame does not count
        self._loudest = max(self._loudest, float(powers.max()))
        self._listen(samples, checks.loud_frames(powers))
        self._frames += len(powers)

    def _measure(self, samples: Samples) -> None:
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
        if len(samples):
            self._whole.add(samples - samples.mean())
        self._tops[0].add(samples)
        self._tops[1].add(-samples)
        self._sum += float(samples.sum(dtype=np.float64))
        self._character.add(samples)

    def _listen(self, samples: Samples, loud: NDArray[np.int64]) -> None:
        """Count activity from the start of what is heard, and remember it as of the last loud frame."""
        skipped = 0
        if self._first is None and len(loud):
            self._first = self._frames + int(loud[0])
            skipped = int(loud[0]) if self._first * FRAME >= checks.TRIM_S * SAMPLE_RATE else 0
        if self._first is None:
            return
        split = (int(loud[-1]) + 1) * FRAME if len(loud) else 0
        self._heard.add(samples[skipped * FRAME : split])
        if len(loud):
            self._last = self._frames + int(loud[-1])
            self._to_last = self._heard.activity
        self._heard.add(samples[split:])


class FlatTop:
    """checks' flat top of the positive half wave, from a histogram: the bins follow the bits of a float32."""

    def __init__(self) -> None:
        self._bins = np.zeros(1 << (8 + MANTISSA_BITS), dtype=np.int64)

    def add(self, samples: Samples) -> None:
        """Take (samples,), of which the positive ones count."""
        positive = samples[samples > 0].astype(np.float32, copy=False)
        places = positive.view(np.int32) >> (23 - MANTISSA_BITS)
        if len(places):
            counts = np.bincount(places)
            self._bins[: len(counts)] += counts

    def count(self) -> int:
        """Samples within FLAT_TOP_TOLERANCE of the top, which is the quantile FLAT_TOP_QUANTILE."""
        total = int(self._bins.sum())
        if not total:
            return 0
        place = int(np.searchsorted(np.cumsum(self._bins), checks.FLAT_TOP_QUANTILE * (total - 1), side="right"))
        lowest = np.float32((1 - checks.FLAT_TOP_TOLERANCE) * _value(place))
        return int(self._bins[_place(lowest) :].sum())


def _place(value: np.float32) -> int:
    return int(np.array([value], dtype=np.float32).view(np.int32)[0]) >> (23 - MANTISSA_BITS)


def _value(place: int) -> float:
    """The middle of a bin."""
    half = 1 << (22 - MANTISSA_BITS)
    return float(np.array([(place << (23 - MANTISSA_BITS)) + half], dtype=np.int32).view(np.float32)[0])
