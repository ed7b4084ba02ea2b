"""Facts about a recording that decide whether it can be scored, and what its reader should be told.

A recording gets a score or a reason (`refuse`); a score may carry flags (`flags`). What each flag means and where
its threshold lies stands in flags.py. Levels are in dBov: 0 dBov is the power of a square wave at full scale
(ITU-T G.100.1), so a sine at full scale has -3 dBov.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.audio import SAMPLE_RATE, Recording, Samples
from mtqnet.audio.character import Character, CharacterMeter
from mtqnet.audio.facts import Facts
from mtqnet.audio.flags import MIN_DURATION_S, SILENT_DBOV, raised
from mtqnet.audio.level import FRAME, Activity, activity, to_db
from mtqnet.errors import SilentError, TooShortError

TRIM_S = 0.5
"""Seconds. Shorter silence at an end is the pause before a word, and stays."""
FLAT_TOP_QUANTILE = 0.999
"""Where the top is looked for, on each side of zero: not at the very peak, which may be the ringing."""
FLAT_TOP_TOLERANCE = 0.05
"""Share of the top's height within which a sample belongs to it."""
_BLOCK = 100
"""Frames (2 s) that are held in double precision at a time: they stay in the cache of a core."""


@dataclass(frozen=True)
class Heard:
    """A recording that can be scored: what is there to hear, and on demand its facts."""

    recording: Recording
    start: int
    """First sample of what is there to hear"""
    stop: int
    """The sample behind its last"""
    loudest: float
    """Power of the loudest frame"""

    def facts(self) -> Facts:
        """All facts of the recording."""
        samples = self.recording.samples
        mean = samples.mean()
        meter = CharacterMeter()
        meter.add(samples)
        measured = Measured(
            len(samples),
            self.stop - self.start,
            float(max(samples.max(), -samples.min())),
            self.loudest,
            activity(samples - mean),
            _flat_top(samples) + _flat_top(-samples),
            float(mean),
            meter.finish(),
        )
        return gathered(measured, self.recording.source_rate, self.recording.channels_cancel)

    def flags(self) -> tuple[str, ...]:
        """What to keep in mind when reading the scores: keys of flags.RAISED."""
        return raised(self.facts())


def examine(recording: Recording) -> Heard:
    """Find what there is to hear. Raises what `heard` raises."""
    powers = _audible_powers(recording)
    return Heard(recording, *_ends(powers, recording), float(powers.max()))


def facts(recording: Recording) -> Facts:
    """All facts of a recording that `heard` lets pass."""
    return examine(recording).facts()


@dataclass(frozen=True)
class Measured:
    """What is measured in the samples of a recording, held or in blocks."""

    samples: int
    heard: int
    """Samples without the silence at the ends"""
    peak: float
    loudest: float
    """Power of the loudest frame"""
    activity: Activity
    clipped_share: float
    mean: float
    character: Character


def gathered(measured: Measured, source_rate: float, channels_cancel: bool) -> Facts:
    """Facts from what was measured."""
    active, sound = measured.activity.settled, measured.character
    heard_s = measured.heard / SAMPLE_RATE
    return Facts(
        duration_s=measured.samples / SAMPLE_RATE,
        peak=measured.peak,
        loudest_dbov=to_db(measured.loudest),
        active_dbov=active.level,
        clipped_share=measured.clipped_share,
        heard_s=heard_s,
        active_share=min(1.0, active.seconds / heard_s),
        dc=abs(measured.mean),
        band_share=sound.bandwidth_hz / (min(source_rate, SAMPLE_RATE) / 2),
        movement=sound.movement,
        persistence=sound.persistence,
        source_rate=source_rate,
        channels_cancel=channels_cancel,
    )


def refuse(recording: Recording) -> None:
    """Raise TooShortError or SilentError for a recording that no score can rest on."""
    _audible_powers(recording)


def _audible_powers(recording: Recording) -> NDArray[np.float64]:
    """`_frame_powers` of a recording, or the reason to refuse it."""
    need_length(recording.duration_s)
    powers = _frame_powers(recording.samples)
    need_sound(float(powers.max()))
    return powers


def need_length(duration_s: float) -> None:
    """Raise TooShortError for less than MIN_DURATION_S."""
    if duration_s < MIN_DURATION_S:
        raise TooShortError(f"{duration_s:.2f} s long: a score needs {MIN_DURATION_S:g} s or more")


def need_sound(power: float) -> None:
    """Raise SilentError where the loudest frame has no more power than this, below SILENT_DBOV."""
    loudest = to_db(power)
    if loudest < SILENT_DBOV:
        raise SilentError(
            f"nothing to hear: its loudest 20 ms have {loudest:.0f} dBov, a score needs {SILENT_DBOV:.0f}"
        )


def heard(recording: Recording) -> tuple[int, int]:
    """First sample and the sample behind the last of what is there to hear.

    Silence below SILENT_DBOV of TRIM_S or more at either end is left out: a file padded with zeros is no
    recording with a quieter background. Raises what `refuse` raises, and TooShortError where too little is left.
    """
    found = examine(recording)
    return found.start, found.stop


def _ends(powers: NDArray[np.float64], recording: Recording) -> tuple[int, int]:
    loud = loud_frames(powers)
    first, last = int(loud[0]) + 1, int(loud[-1]) + 1  # the first frame has no power here
    return ends(first, last, len(recording.samples))


def loud_frames(powers: NDArray[np.float64]) -> NDArray[np.int64]:
    """(frames,) -> places of those that are not silent."""
    return np.flatnonzero(10 * np.log10(np.maximum(powers, 1e-12)) >= SILENT_DBOV)


def ends(first: int, last: int, samples: int) -> tuple[int, int]:
    """What `heard` gives, from the first and the last frame that are loud, and the number of samples in all."""
    start, stop = first * FRAME, (last + 1) * FRAME
    start = start if start >= TRIM_S * SAMPLE_RATE else 0
    stop = stop if samples - stop >= TRIM_S * SAMPLE_RATE else samples
    if stop - start < MIN_DURATION_S * SAMPLE_RATE:
        raise TooShortError(
            f"{(stop - start) / SAMPLE_RATE:.2f} s of sound, the rest is silent: {MIN_DURATION_S:g} s are needed"
        )
    return start, stop


def flags(recording: Recording) -> tuple[str, ...]:
    """What to keep in mind when reading the scores of a recording that `heard` lets pass: keys of flags.RAISED."""
    return examine(recording).flags()


def _frame_powers(samples: Samples) -> NDArray[np.float64]:
    """(samples,) -> (samples // FRAME - 2,): power of each frame without its mean.

    The mean of every frame is taken off, as DC may drift. The first and the last frame stay out: there a
    change of rate turns the edge of a constant DC into a click.
    """
    return frame_variances(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)[1:-1])


def frame_variances(frames: Samples) -> NDArray[np.float64]:
    """(frames, FRAME) -> (frames,): power of each frame without its mean."""
    return np.concatenate([_variances(frames[start : start + _BLOCK]) for start in range(0, len(frames), _BLOCK)])


def _variances(frames: Samples) -> NDArray[np.float64]:
    centred = frames.astype(np.float64)
    centred -= np.add.reduce(centred, axis=1, keepdims=True) / FRAME
    return np.asarray(np.einsum("ij,ij->i", centred, centred)) / FRAME


def _flat_top(samples: Samples) -> float:
    """Share of all samples that lie around the top of the positive half wave."""
    positive = int(np.count_nonzero(samples > 0))
    if not positive:
        return 0.0
    place = FLAT_TOP_QUANTILE * (positive - 1)
    above = positive - 1 - int(place)  # samples that are larger than the one below the quantile
    loudest = _largest(samples, above + 1)
    below, top = len(loudest) - 1 - above, len(loudest) - max(above, 1)
    low, high = np.partition(loudest, [below, top])[[below, top]]
    height = low + (high - low) * np.float32(place - int(place))
    return float(np.count_nonzero(samples >= (1 - FLAT_TOP_TOLERANCE) * height)) / len(samples)


def _largest(samples: Samples, count: int) -> Samples:
    """At least the `count` largest of (samples,), of which as many are positive; few more where that is quick.

    The quantile wants a thousandth of them; to sort out the positive ones takes longer than all else here.
    """
    floor = np.float32(samples.max())
    while True:
        floor /= np.float32(4)
        found = samples[samples > floor]
        if len(found) >= count:
            return found
