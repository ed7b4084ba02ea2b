"""What a packet network does: frames that never arrive, and play-out that slides to and fro.

Splice applies steps to a part of a clip, or to everything but that part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import Samples, Step, Tracks, draw_seed, uniform
from mtqnet.corpus.pool import Pool

Flags = NDArray[np.bool_]

MS = SAMPLE_RATE // 1000
"""Samples a millisecond"""
NETWORK_FADE = 32
"""Samples, 2 ms: a player's ramp into and out of a gap."""
JOIN = 64
"""Samples, 4 ms: the cross-fade where a stretch is repeated or left out; 3.75 ms in ITU-T G.711 Appendix I."""
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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> FrameLoss:  # noqa: ARG003
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
            return tracks.gained(_silence(lost, frame, len(tracks.clean)))
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


def _silence(lost: Flags, frame: int, length: int) -> Samples:
    """(length,): a gain of 0 in lost frames, with ramps."""
    kept = np.repeat(~lost, frame)[:length].astype(np.float32)
    held = np.pad(
        kept, (NETWORK_FADE // 2, NETWORK_FADE - NETWORK_FADE // 2 - 1), mode="edge"
    )  # the clip's ends are no gaps
    return np.convolve(held, np.full(NETWORK_FADE, 1 / NETWORK_FADE), mode="valid").astype(np.float32)


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
            filling[lead:] *= _dying(length - lead)
        inner = end - begin + lead
        heard[begin - lead : end] = filling[:inner]
        after = track[end : end + JOIN]
        ramp = _ramp()[: len(after)]
        heard[end : end + JOIN] = after * ramp + filling[inner : inner + len(after)] * (1 - ramp)
    return heard


def _cycled(frame: Samples, length: int) -> Samples:
    """A frame over and over from its last JOIN samples on, which fade into its first; (length,)."""
    join = frame[-JOIN:] * (1 - _ramp()) + frame[:JOIN] * _ramp()
    period = np.concatenate([join, frame[JOIN:-JOIN]])
    return np.asarray(np.tile(period, -(-length // len(period)))[:length], dtype=np.float32)


def _dying(length: int) -> Samples:
    """(length,): 1 for HOLD_MS, then falling in a straight line to 0 at GONE_MS."""
    elapsed = np.arange(length) / MS
    return np.clip((GONE_MS - elapsed) / (GONE_MS - HOLD_MS), 0, 1).astype(np.float32)


def _ramp() -> Samples:
    """(JOIN,): from 0 up to 1."""
    return ((np.arange(JOIN) + 0.5) / JOIN).astype(np.float32)


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
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Jitter:  # noqa: ARG003
        events = int(rng.integers(1, 5))
        slot = 0.8 * samples / events
        begins = 0.1 * samples + slot * np.arange(events)
        grow = begins + slot * rng.uniform(0.35, 0.6, events)  # late for less than half of the clip
        shrink = begins + slot * rng.uniform(0.7, 0.9, events)
        stretches = rng.integers(10, 41, events)
        return cls(_whole(grow), _whole(shrink), _whole(stretches))

    def __call__(self, tracks: Tracks) -> Tracks:
        speech, noise = (self._played(track) for track in (tracks.speech, tracks.noise))
        return replace(tracks, speech=speech, noise=noise)

    def _played(self, track: Samples) -> Samples:
        played = track.copy()
        for grow, shrink, stretch in zip(self.grow_at, self.shrink_at, self.stretch_ms, strict=True):
            late = np.concatenate([np.zeros(stretch * MS, np.float32), track])[: len(track)]
            weight = _late_weight(grow, shrink, len(track))
            played += weight * (late - played)
        return played


def _whole(numbers: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)


def _late_weight(grow: int, shrink: int, length: int) -> Samples:
    """(length,): 1 between two places, 0 elsewhere, with a ramp of JOIN samples from either place on."""
    places = (grow, grow + JOIN, shrink, shrink + JOIN)
    return np.interp(np.arange(length), places, (0.0, 1.0, 1.0, 0.0)).astype(np.float32)


SHORTEST_S, LONGEST_S = 0.5, 4.0
"""Seconds of the part"""
LARGEST_FRACTION = 0.8
"""Of the clip"""
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
        longest = min(LONGEST_S, LARGEST_FRACTION * seconds)
        length = float(rng.uniform(min(SHORTEST_S, longest), longest))
        start = float(rng.uniform(0, seconds - length))
        kind: Literal["degraded", "good"] = "good" if rng.random() < good else "degraded"
        return cls(round(start, 3), round(start + length, 3), kind, steps)

    def __call__(self, tracks: Tracks) -> Tracks:
        degraded = tracks
        for step in self.steps:
            degraded = step(degraded)
        inside, outside = (tracks, degraded) if self.kind == "good" else (degraded, tracks)
        weight = self._inside(len(tracks.clean))
        return replace(
            tracks,
            speech=weight * inside.speech + (1 - weight) * outside.speech,
            noise=weight * inside.noise + (1 - weight) * outside.noise,
        )

    def _inside(self, length: int) -> Samples:
        """(length,): 1 in the part, 0 outside it, with a ramp of SPLICE_FADE samples within either end."""
        begin, end = round(self.start_s * SAMPLE_RATE), round(self.end_s * SAMPLE_RATE)
        places, weights = (begin, begin + SPLICE_FADE, end - SPLICE_FADE, end), (0.0, 1.0, 1.0, 0.0)
        return np.interp(np.arange(length), places, weights, left=0.0, right=0.0).astype(np.float32)
