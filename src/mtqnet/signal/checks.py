"""Facts about a recording that decide whether it can be scored, and what its reader should be told.

A recording gets a score or a reason (`refuse`); a score may carry flags (`flags`). Levels are in dBov: 0 dBov
is the power of a square wave at full scale (ITU-T G.100.1), so a sine at full scale has -3 dBov.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import SilentError, TooShortError
from mtqnet.signal.audio import SAMPLE_RATE, Recording, Samples
from mtqnet.signal.level import FRAME, active_level, to_db

MIN_DURATION_S = 0.5
"""Seconds. Less holds no whole word, and no rater of P.835 was ever asked about so little."""
SILENT_DBOV = -70.0
"""dBov. Speech this faint lies under the noise of any microphone; dither of 16-bit PCM is at about -95."""
TRIM_S = 0.5
"""Seconds. Shorter silence at an end is the pause before a word, and stays."""
SHORT_S = 2.0
"""Seconds. The training clips are 3 s and longer, P.835 rates sentences of about that length."""
LOW_DBOV = -50.0
"""dBov, active level: 24 dB below the -26 dBov at which telephone speech is kept (ITU-T P.830)."""
HIGH_DBOV = -10.0
"""dBov, active level. Peaks of speech stand 12 dB and more above it: here they overload, or float samples
were never scaled to full scale 1."""
CLIPPED_SHARE = 0.01
"""Share of samples at the flat top. Of 250 recordings of speech and noise, 99 % stay below 0.005. With 1 % of
their samples cut off, half show more than 0.01, even where a change of rate made the top ring."""

FLAT_TOP_QUANTILE = 0.999
"""Where the top is looked for, on each side of zero: not at the very peak, which may be the ringing."""
FLAT_TOP_TOLERANCE = 0.05
"""Share of the top's height within which a sample belongs to it."""
_BLOCK = 3_000
"""Frames (one minute) that are held in double precision at a time."""


@dataclass(frozen=True)
class Facts:
    """What can be said of a recording without any model."""

    duration_s: float
    peak: float
    """Largest magnitude; full scale is 1."""
    loudest_dbov: float
    """Level of the loudest 20 ms."""
    active_dbov: float
    """Level while somebody speaks, ITU-T P.56."""
    clipped_share: float
    """Share of all samples that lie at a flat top, 0 to 1."""


def facts(recording: Recording) -> Facts:
    """All facts of a recording that `refuse` lets pass."""
    powers = _frame_powers(recording.samples)
    return Facts(
        duration_s=recording.duration_s,
        peak=float(max(recording.samples.max(), -recording.samples.min())),
        loudest_dbov=to_db(float(powers.max())),
        active_dbov=active_level(recording.samples - recording.samples.mean()),
        clipped_share=_flat_top(recording.samples) + _flat_top(-recording.samples),
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
    powers = _audible_powers(recording)
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
    """What to keep in mind when reading the scores of a recording that `refuse` lets pass.

    short: less than SHORT_S; clipped: CLIPPED_SHARE or more of it lies at a flat top (a pure tone does, too);
    low_level, high_level: active level outside LOW_DBOV to HIGH_DBOV; channels_cancel: see Recording.
    """
    return raised(facts(recording), recording.channels_cancel)


def raised(found: Facts, channels_cancel: bool) -> tuple[str, ...]:
    """The flags that these facts raise."""
    holds = {
        "short": found.duration_s < SHORT_S,
        "clipped": found.clipped_share > CLIPPED_SHARE,
        "low_level": found.active_dbov < LOW_DBOV,
        "high_level": found.active_dbov > HIGH_DBOV,
        "channels_cancel": channels_cancel,
    }
    return tuple(name for name, true in holds.items() if true)


def _frame_powers(samples: Samples) -> NDArray[np.float64]:
    """(samples,) -> (samples // FRAME - 2,): power of each frame without its mean.

    The mean of every frame is taken off, as DC may drift. The first and the last frame stay out: there a
    change of rate turns the edge of a constant DC into a click.
    """
    return frame_variances(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)[1:-1])


def frame_variances(frames: Samples) -> NDArray[np.float64]:
    """(frames, FRAME) -> (frames,): power of each frame without its mean."""
    blocks = [frames[start : start + _BLOCK] for start in range(0, len(frames), _BLOCK)]
    return np.concatenate([block.var(axis=1, dtype=np.float64) for block in blocks])


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
