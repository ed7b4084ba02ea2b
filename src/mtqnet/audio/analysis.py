"""Analysis of a recording in one pass: what part of it is scored, and the measurements that flags are based on.

The same analyser is used for whole files, for files that are too long for the memory, and for the windows of a
live stream. Levels are in dBov (ITU-T G.100.1): 0 dBov is the power of a full-scale square wave, so a full-scale
sine has -3 dBov.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.detection import SpeechDetector
from mtqnet.audio.flags import MIN_DURATION_S, SILENT_DBOV, Measurements, raised
from mtqnet.audio.level import FRAME, Activity, ActivityMeter, active_power, to_db
from mtqnet.audio.reading import MonoSignal, Recording
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import SilentError, TooShortError

TRIM_S = 0.5
"""Seconds. Silence of this length or more is removed at either end. Shorter silence is the pause before a word."""
FLAT_TOP_QUANTILE = 0.999
"""Quantile of the samples on one side of zero that is taken as the ceiling. The largest sample may be an overshoot
of the resampling filter."""
FLAT_TOP_TOLERANCE = 0.05
"""Fraction of the ceiling's height. Samples within this distance of it are counted as clipped."""
HOLD_S = 300.0
"""Seconds. A recording of up to this length is kept in memory between analysis and scoring. A longer one is
decoded twice."""
BLOCK = 5 * SAMPLE_RATE
"""Samples that are analysed at a time, or more. It is longer than TRIM_S, so that the first block contains the
whole pause before the first word."""
CACHED_FRAMES = 100
"""Frames that are converted to double precision at a time, so that they stay in the cache of a processor core"""


@dataclass(frozen=True)
class Analysis:
    """Result for a recording that can be scored. Positions are samples at SAMPLE_RATE."""

    samples: int
    """Length of the recording"""
    start: int
    """First sample that is scored; silence before it is removed."""
    stop: int
    """End of the part that is scored (exclusive)"""
    active_power: float
    """Power above which a frame of 20 ms is active; see level.active_power."""
    measurements: Measurements
    flags: tuple[str, ...]
    """Keys of flags.RAISED"""

    @property
    def duration_s(self) -> float:
        """Duration of the recording in seconds, with the silence at its ends."""
        return self.samples / SAMPLE_RATE


@dataclass(frozen=True)
class AnalysedSignal:
    """A recording that can be scored, and its samples."""

    analysis: Analysis
    _signal: MonoSignal
    _held: Samples | None

    def blocks(self) -> Iterator[Samples]:
        """Yield the mono samples at SAMPLE_RATE in order, from memory or decoded again.

        Yields:
            Shape (samples,). The silence at the ends is included.
        """
        if self._held is not None:
            yield self._held
        else:
            yield from self._signal.blocks()


def analyse(signal: MonoSignal, hold_s: float = HOLD_S) -> AnalysedSignal:
    """Analyse a recording of any length.

    Args:
        signal: Result of `reading.signals`.
        hold_s: Recordings of up to this length in seconds are kept in memory.

    Raises:
        UnreadableError: It cannot be decoded.
        EmptyAudioError: There are no samples.
        NotFiniteError: Samples are NaN or infinite.
        TooShortError: There is less than MIN_DURATION_S of sound.
        SilentError: No frame reaches SILENT_DBOV.
    """
    analyser, held = _pass(signal, hold_s)
    checked = signal.check()
    if checked is not signal:
        analyser, held = _pass(checked, hold_s)
    source = signal.source
    analysis = analyser.finish(
        source.rate, channels_cancel=checked.cancel, channel_correlation=signal.correlation, problem=source.problem
    )
    return AnalysedSignal(analysis, checked, held)


def analyse_recording(recording: Recording) -> Analysis:
    """Analyse a recording that was read into memory. Raises TooShortError or SilentError."""
    analyser = Analyser()
    analyser.add(recording.samples)
    return analyser.finish(
        recording.source_rate,
        channels_cancel=recording.channels_cancel,
        channel_correlation=recording.channel_correlation,
        problem=recording.problem,
    )


def _pass(signal: MonoSignal, hold_s: float) -> tuple[Analyser, Samples | None]:
    """Decode once. The samples are returned unless the recording is longer than `hold_s`."""
    analyser = Analyser()
    parts: list[Samples] | None = []
    length = 0
    for block in signal.blocks():
        analyser.add(block)
        length += len(block)
        if parts is not None:
            parts.append(block)
        if length > hold_s * SAMPLE_RATE:
            parts = None
    if parts is None:
        return analyser, None
    return analyser, np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


class Analyser:
    """Analyses blocks of a mono signal in order, with constant memory.

    Two measurements differ slightly from those of the whole signal: the active level is measured after removing
    the mean of each block, and the ceiling of the samples is located with a histogram whose bins are up to 0.8 % wide.
    """

    def __init__(self) -> None:
        self._samples = self._frames = 0
        self._waiting: list[Samples] = []
        self._waiting_samples = 0
        self._peak = self._loudest = self._sum = 0.0
        self._first: int | None = None  # first audible frame
        self._last = 0  # last audible frame
        self._all, self._trimmed = ActivityMeter(), ActivityMeter()
        self._to_last: Activity = self._trimmed.activity  # from the first to the last audible frame
        self._ceilings = FlatTop()
        self._detector = SpeechDetector()

    def add(self, samples: Samples) -> None:
        """Analyse the next block.

        Args:
            samples: Shape (samples,) at SAMPLE_RATE, of any length.
        """
        self._samples += len(samples)
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        if self._waiting_samples >= BLOCK:
            waiting = self._collected()
            # The last frame stays: it may be the last of the recording, which is not judged.
            end = (len(waiting) // FRAME - 1) * FRAME
            self._take(waiting[:end])
            self._waiting, self._waiting_samples = [waiting[end:]], len(waiting) - end

    def finish(
        self,
        source_rate: float,
        *,
        channels_cancel: bool = False,
        channel_correlation: float = 1.0,
        problem: str | None = None,
    ) -> Analysis:
        """Return the result after the last block.

        Args:
            source_rate: Sample rate of the file in Hz, before it was converted to SAMPLE_RATE.
            channels_cancel: See Recording.
            channel_correlation: See Recording.
            problem: Why the file is probably incomplete, or None.

        Raises:
            TooShortError: There is less than MIN_DURATION_S of sound.
            SilentError: No frame reaches SILENT_DBOV.
        """
        duration_s = self._samples / SAMPLE_RATE
        if duration_s < MIN_DURATION_S:
            raise TooShortError(f"{duration_s:.2f} s long: at least {MIN_DURATION_S:g} s are needed")
        waiting = self._collected()
        end = (len(waiting) // FRAME - 1) * FRAME
        self._take(waiting[:end])
        self._measure(waiting[end:])
        self._trimmed.add(waiting[end:])
        loudest = to_db(self._loudest)
        if loudest < SILENT_DBOV or self._first is None:
            raise SilentError(
                f"silent: its loudest 20 ms have {loudest:.0f} dBov, at least {SILENT_DBOV:.0f} are needed"
            )
        start, stop = _trimmed(self._first, self._last, self._samples)
        active = self._trimmed.activity if stop == self._samples else self._to_last
        whole, sound = self._all.activity.settled, self._detector.finish()
        trimmed_s = (stop - start) / SAMPLE_RATE
        measurements = Measurements(
            duration_s=duration_s,
            peak=self._peak,
            loudest_dbov=loudest,
            active_dbov=whole.level,
            clipped_fraction=self._ceilings.count() / self._samples,
            trimmed_s=trimmed_s,
            active_fraction=min(1.0, whole.seconds / trimmed_s),
            dc_offset=abs(self._sum / self._samples),
            bandwidth_fraction=sound.bandwidth_hz / (min(source_rate, SAMPLE_RATE) / 2),
            spectral_change=sound.spectral_change,
            tonal_persistence=sound.tonal_persistence,
            source_rate=source_rate,
            channels_cancel=channels_cancel,
            channel_correlation=channel_correlation,
            truncated=problem is not None,
        )
        return Analysis(self._samples, start, stop, active_power(active.level), measurements, raised(measurements))

    def _collected(self) -> Samples:
        if len(self._waiting) == 1:
            return self._waiting[0]
        return np.concatenate(self._waiting) if self._waiting else np.zeros(0, dtype=np.float32)

    def _take(self, samples: Samples) -> None:
        """Analyse whole frames, of which none is the last of the recording."""
        if not len(samples):
            return
        self._measure(samples)
        powers = _frame_variances(samples.reshape(-1, FRAME))
        if self._frames == 0:
            # A change of the sample rate turns a constant offset into a click at either end.
            powers[0] = 0.0
        self._loudest = max(self._loudest, float(powers.max()))
        self._measure_activity(samples, np.flatnonzero(10 * np.log10(np.maximum(powers, 1e-12)) >= SILENT_DBOV))
        self._frames += len(powers)

    def _measure(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._peak = max(self._peak, float(samples.max()), -float(samples.min()))
        # in double precision, because samples near the end of float32's range overflow otherwise
        total = float(samples.sum(dtype=np.float64))
        self._sum += total
        self._all.add(samples - np.float32(total / len(samples)))
        self._ceilings.add(samples)
        self._detector.add(samples)

    def _measure_activity(self, samples: Samples, audible: NDArray[np.int64]) -> None:
        """Measure activity from the trimmed start, and remember it as of the last audible frame."""
        skipped = 0
        if self._first is None and len(audible):
            self._first = self._frames + int(audible[0])
            skipped = int(audible[0]) if self._first * FRAME >= TRIM_S * SAMPLE_RATE else 0
        if self._first is None:
            return
        split = (int(audible[-1]) + 1) * FRAME if len(audible) else 0
        self._trimmed.add(samples[skipped * FRAME : split])
        if len(audible):
            self._last = self._frames + int(audible[-1])
            self._to_last = self._trimmed.activity
        self._trimmed.add(samples[split:])


class FlatTop:
    """Counts samples at the ceiling of each half wave with histograms over the upper 16 bits of float32.

    These are the sign, the exponent and 7 bits of the mantissa, so bins are 0.4 to 0.8 % wide.
    """

    _HALF = 1 << 15

    def __init__(self) -> None:
        self._bins = np.zeros(2 * self._HALF, dtype=np.int64)  # positive samples, negative samples

    def add(self, samples: Samples) -> None:
        """Count the samples of (samples,)."""
        upper = np.ascontiguousarray(samples, dtype="<f4").view("<u2")[1::2]
        self._bins += np.bincount(upper, minlength=2 * self._HALF)

    def count(self) -> int:
        """Return the number of samples within FLAT_TOP_TOLERANCE of the quantile FLAT_TOP_QUANTILE of their sign."""
        return sum(self._count(bins[1:]) for bins in self._bins.reshape(2, -1))  # without zeros

    def _count(self, bins: NDArray[np.int64]) -> int:
        cumulative = np.cumsum(bins)
        if not cumulative[-1]:
            return 0
        ceiling = int(np.searchsorted(cumulative, FLAT_TOP_QUANTILE * (cumulative[-1] - 1), side="right")) + 1
        centre = np.array([0x8000, ceiling], dtype="<u2").view("<f4")
        first = int(((1 - FLAT_TOP_TOLERANCE) * centre).astype("<f4").view("<u2")[1])
        return int(bins[max(0, first - 1) :].sum())


def _trimmed(first: int, last: int, samples: int) -> tuple[int, int]:
    """Start and end of the part that is scored.

    Silence of TRIM_S or more before the frame `first` or after the frame `last` is removed: a file padded with zeros is
    not a recording with a quieter background.
    """
    start, stop = first * FRAME, (last + 1) * FRAME
    start = start if start >= TRIM_S * SAMPLE_RATE else 0
    stop = stop if samples - stop >= TRIM_S * SAMPLE_RATE else samples
    if stop - start < MIN_DURATION_S * SAMPLE_RATE:
        raise TooShortError(
            f"{(stop - start) / SAMPLE_RATE:.2f} s of sound, the rest is silent: {MIN_DURATION_S:g} s are needed"
        )
    return start, stop


def _frame_variances(frames: Samples) -> NDArray[np.float64]:
    """Power of each frame without its mean: (frames, FRAME) -> (frames,). The offset of a recording may drift."""
    powers = np.empty(len(frames))
    for start in range(0, len(frames), CACHED_FRAMES):
        centred = frames[start : start + CACHED_FRAMES].astype(np.float64)
        centred -= np.add.reduce(centred, axis=1, keepdims=True) / FRAME
        powers[start : start + CACHED_FRAMES] = np.einsum("ij,ij->i", centred, centred) / FRAME
    return powers
