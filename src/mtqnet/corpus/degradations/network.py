"""Gaps and shifts in time: frames that a network loses, dropouts of a device, and play-out that slides to and fro.

Splice applies steps to a part of a clip, or to everything but that part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import Samples, Step, Tracks, draw_seed, uniform
from mtqnet.corpus.sources import Pool

Flags = NDArray[np.bool_]

MS = SAMPLE_RATE // 1000
"""Samples a millisecond"""
FADE = 32
"""Samples, 2 ms: a player's ramp into and out of a gap."""
JOIN = 64
"""Samples, 4 ms: the cross-fade where a stretch is repeated or left out; 3.75 ms in ITU-T G.711 Appendix I."""
RAMP = ((np.arange(JOIN) + 0.5) / JOIN).astype(np.float32)
"""(JOIN,): from 0 up to 1"""
HOLD_MS, GONE_MS = 10.0, 60.0
"""Concealment is as loud as speech for the first 10 ms and silent after 60 (ITU-T G.711 Appendix I)."""


@dataclass(frozen=True)
class FrameLoss:
    """Lost frames, alone or in bursts, and what a receiver plays instead.

    A two-state chain (Gilbert 1960) with a chance of loss in either state (Elliott 1963).
    """

    rate: float
    """Share of frames lost."""
    burst: float
    """Mean duration of the bad state in frames; the mean length of a gap if all frames of the bad state are lost."""
    frame_ms: int
    seed: int
    concealment: Literal["silence", "repeat", "fade"] = "silence"
    """Silence, the last good frame over and over, or that frame dying away."""
    bad_loss: float = 1.0
    """Chance of loss in the bad state; above `rate`."""
    good_loss: float = 0.0
    """Chance of loss in the good state; below `rate`."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> FrameLoss:
        rate, burst = uniform(rng, 0.01, 0.25), uniform(rng, 1, 3)
        frame, seed = int(rng.choice([10, 20, 40, 60])), draw_seed(rng)
        kinds: tuple[Literal["silence", "repeat", "fade"], ...] = ("silence", "repeat", "fade")
        concealment = kinds[int(rng.integers(3))]
        if rng.random() < 0.5:
            return cls(rate, burst, frame, seed, concealment)
        return cls(rate, burst, frame, seed, concealment, uniform(rng, 0.5, 1), uniform(rng, 0, 0.5 * rate))

    def __call__(self, tracks: Tracks) -> Tracks:
        frame = self.frame_ms * MS
        lost = self.lost(-(-len(tracks.clean) // frame))
        if self.concealment == "silence":
            return tracks.gained(_ramped(np.repeat(~lost, frame)[: len(tracks.clean)].astype(np.float32)))
        gaps = _gaps(lost, frame, len(tracks.clean))
        fading = self.concealment == "fade"
        speech, noise = (_repeated(track, gaps, frame, fading) for track in (tracks.speech, tracks.noise))
        return replace(tracks, speech=speech, noise=noise)

    def lost(self, count: int) -> Flags:
        """Which of `count` frames are lost."""
        bad = (self.rate - self.good_loss) / (self.bad_loss - self.good_loss)  # share of time
        leave = 1 / self.burst
        enter = leave * bad / (1 - bad)
        rng = np.random.default_rng(self.seed)
        states = np.zeros(count, dtype=bool)
        state = False
        for index, chance in enumerate(rng.random(count)):
            state = bool(chance >= leave if state else chance < enter)
            states[index] = state
        return np.asarray(rng.random(count) < np.where(states, self.bad_loss, self.good_loss))


def _ramped(kept: NDArray[np.floating]) -> Samples:
    """A gain of 0 and 1 with ramps into and out of the gaps: (samples,) -> (samples,)."""
    sides = (FADE // 2, FADE - FADE // 2 - 1)
    held = np.pad(kept, sides, mode="edge")  # the clip's ends are no gaps
    return np.convolve(held, np.full(FADE, 1 / FADE), mode="valid").astype(np.float32)


def _gaps(lost: Flags, frame: int, length: int) -> list[tuple[int, int]]:
    """First sample of each gap and the one behind its last."""
    edges = np.flatnonzero(np.diff(lost, prepend=False, append=False)) * frame
    return [(int(begin), min(int(end), length)) for begin, end in edges.reshape(-1, 2)]


def _repeated(track: Samples, gaps: list[tuple[int, int]], frame: int, fading: bool) -> Samples:
    """The track with its gaps filled from the frame before each. The same sum of samples for any track.

    A receiver that delays JOIN samples can fade from the end of the good frame into its beginning.
    """
    heard = track.copy()
    for begin, end in gaps:
        lead = min(JOIN, begin)  # a gap at the very beginning has no frame before it: silence
        length = lead + end - begin + JOIN
        filling = _cycled(track[begin - frame : begin], length) if lead else np.zeros(length, np.float32)
        if fading:
            elapsed = np.arange(length - lead) / MS
            filling[lead:] *= np.clip((GONE_MS - elapsed) / (GONE_MS - HOLD_MS), 0, 1).astype(np.float32)
        inner = end - begin + lead
        heard[begin - lead : end] = filling[:inner]
        after = track[end : end + JOIN]
        ramp = RAMP[: len(after)]
        heard[end : end + JOIN] = after * ramp + filling[inner : inner + len(after)] * (1 - ramp)
    return heard


def _cycled(frame: Samples, length: int) -> Samples:
    """A frame over and over from its last JOIN samples on, which fade into its first; (length,)."""
    join = frame[-JOIN:] * (1 - RAMP) + frame[:JOIN] * RAMP
    period = np.concatenate([join, frame[JOIN:-JOIN]])
    return np.asarray(np.tile(period, -(-length // len(period)))[:length], dtype=np.float32)


@dataclass(frozen=True)
class Dropouts:
    """Gaps of a device that could not keep up: at any place and of any length, not in a network's frames."""

    places: tuple[float, ...]
    """Beginning of each gap: share of the clip, 0 to 1."""
    lengths_ms: tuple[float, ...]
    hard: bool
    """Cut within one sample (a click) or within 2 ms."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Dropouts:
        count = int(rng.integers(1, 7))
        places = tuple(sorted(uniform(rng, 0, 0.97) for _ in range(count)))
        return cls(places, tuple(uniform(rng, 5, 120) for _ in places), bool(rng.random() < 0.5))

    def __call__(self, tracks: Tracks) -> Tracks:
        length = len(tracks.clean)
        kept = np.ones(length)
        for place, span in zip(self.places, self.lengths_ms, strict=True):
            begins = round(place * length)
            kept[begins : begins + round(span / 1000 * SAMPLE_RATE)] = 0.0
        return tracks.gained(kept.astype(np.float32) if self.hard else _ramped(kept))


@dataclass(frozen=True)
class Jitter:
    """An adaptive play-out buffer: it grows by repeating a stretch, and shrinks later by leaving one out.

    In between, the clip is late (de-jitter buffers of ITU-T G.1020; adaptive play-out, Ramjee et al. 1994).
    """

    grow_at: tuple[int, ...]
    """Samples: where each stretch is repeated"""
    shrink_at: tuple[int, ...]
    """Samples: where as much is left out again, before the next one grows"""
    stretch_ms: tuple[int, ...]
    """Milliseconds"""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Jitter:
        events = int(rng.integers(1, 5))
        slot = 0.8 * samples / events
        begins = 0.1 * samples + slot * np.arange(events)
        grow = begins + slot * rng.uniform(0.35, 0.6, events)  # late for less than half of the clip
        shrink = begins + slot * rng.uniform(0.7, 0.9, events)
        stretches = rng.integers(10, 41, events)
        return cls(*(tuple(map(int, numbers)) for numbers in (grow, shrink, stretches)))

    def __call__(self, tracks: Tracks) -> Tracks:
        speech, noise = (self._played(track) for track in (tracks.speech, tracks.noise))
        return replace(tracks, speech=speech, noise=noise)

    def _played(self, track: Samples) -> Samples:
        played = track.copy()
        for grow, shrink, stretch in zip(self.grow_at, self.shrink_at, self.stretch_ms, strict=True):
            late = np.concatenate([np.zeros(stretch * MS, np.float32), track])[: len(track)]
            places = (grow, grow + JOIN, shrink, shrink + JOIN)
            weight = np.interp(np.arange(len(track)), places, (0.0, 1.0, 1.0, 0.0)).astype(np.float32)
            played += weight * (late - played)
        return played


SHORTEST_S, LONGEST_S = 0.5, 4.0
"""Seconds of the part"""
SPLICE_FADE = 160
"""Samples, 10 ms: the cross-fade at either end, inside the part"""


@dataclass(frozen=True)
class Splice:
    """A part of the clip before (`good`) or after (`degraded`) some steps, and the rest the other way round."""

    start_s: float
    """Where the part begins, in seconds from the start of the clip"""
    end_s: float
    """Where it ends"""
    kind: Literal["degraded", "good"]
    """Quality of the part in comparison with the rest"""
    steps: tuple[Step, ...]
    """What the degraded parts have been through; no part of it is late."""

    @classmethod
    def over(cls, rng: np.random.Generator, steps: tuple[Step, ...], samples: int, good: float) -> Splice:
        """Return a part at a random place of a clip of so many samples, the good one with the chance `good`."""
        seconds = samples / SAMPLE_RATE
        longest = min(LONGEST_S, 0.8 * seconds)
        length = float(rng.uniform(min(SHORTEST_S, longest), longest))
        start = float(rng.uniform(0, seconds - length))
        kind: Literal["degraded", "good"] = "good" if rng.random() < good else "degraded"
        return cls(round(start, 3), round(start + length, 3), kind, steps)

    def __call__(self, tracks: Tracks) -> Tracks:
        degraded = tracks
        for step in self.steps:
            degraded = step(degraded)
        inside, outside = (tracks, degraded) if self.kind == "good" else (degraded, tracks)
        begin, end = round(self.start_s * SAMPLE_RATE), round(self.end_s * SAMPLE_RATE)
        places, weights = (begin, begin + SPLICE_FADE, end - SPLICE_FADE, end), (0.0, 1.0, 1.0, 0.0)
        place = np.arange(len(tracks.clean))
        weight = np.interp(place, places, weights, left=0.0, right=0.0).astype(np.float32)
        return replace(
            tracks,
            speech=weight * inside.speech + (1 - weight) * outside.speech,
            noise=weight * inside.noise + (1 - weight) * outside.noise,
        )
