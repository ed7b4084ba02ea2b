"""Reading of recordings: any file, bytes or array becomes a mono signal at SAMPLE_RATE.

`read` returns all samples. `MonoSignal` gives the same samples in blocks, for recordings of any length.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile as sf
from numpy.typing import ArrayLike, NDArray

from mtqnet.audio.decoding import ArraySource, AudioSource, Readable, open_source
from mtqnet.audio.resampling import SAMPLE_RATE, Resampler, Samples
from mtqnet.errors import EmptyAudioError, NotFiniteError, UnreadableError, UsageError

Channels = Literal["mix", "each"] | int
"""Which channels of a recording are used: the mean of all ("mix"), every channel as a recording of its own
("each"), or one channel by its number. The first channel has number 1."""

CANCEL_POWER = 1e-3
"""-30 dB, relative to the loudest channel. The mean of channels that are independent loses 10 log10(channels), 18
dB for 64 of them, and one silent channel of two costs 6 dB. A mean below it is cancellation: one channel is
inverted."""
AUDIBLE_POWER = 1e-3
"""-30 dB, relative to the loudest channel. The noise of an unused input is below it; such channels are not
compared with the others."""
MAX_HELD_S = 3600.0
"""Seconds. `read` refuses longer recordings: an hour takes 230 MB. `mtqnet score` reads any length in blocks."""
LARGEST_SAMPLE = float(1 << 32)
"""Full scale is 1; floats that were not scaled have at most that of 32-bit integers. Larger samples are damage."""
MAX_DECODED_S = 7 * 24 * 3600.0
"""Seconds. A longer recording is refused: a damaged file may be decoded without end."""

on_progress: Callable[[], object] = lambda: None  # noqa: E731
"""Called after each decoded block and each scored window. A scoring process restarts its time limit
(scoring/workers.py)."""


@dataclass(frozen=True)
class Recording:
    """A mono recording in memory."""

    samples: Samples
    """Shape (samples,) at SAMPLE_RATE. Full scale is 1."""
    source_rate: int
    """Sample rate of the file or array in Hz"""
    source_channels: int
    """Number of channels of the file or array"""
    channels_cancel: bool = False
    """Whether the mean of the channels would cancel. `samples` are those of the loudest channel then."""
    channel_correlation: float = 1.0
    """See ChannelStatistics.correlation."""
    problem: str | None = None
    """Why the file is probably incomplete; None for a complete one"""

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / SAMPLE_RATE


def read(audio: Readable, channel: int | None = None, max_s: float = MAX_HELD_S) -> Recording:
    """Read a recording into memory.

    Args:
        audio: Path, bytes of a file, or binary file object.
        channel: Number of the channel that is read, from 1. None: the mean of all channels.
        max_s: Longest recording that is accepted, in seconds.

    Raises:
        MissingFileError: The path does not exist.
        UnreadableError: The file cannot be decoded, or is longer than `max_s`.
        EmptyAudioError: There are no samples.
        NotFiniteError: Samples are NaN or infinite.
        UsageError: The recording has no such channel.
    """
    return hold(MonoSignal(open_source(audio), channel), max_s)


def from_array(array: ArrayLike, rate: float | None, channel: int | None = None) -> Recording:
    """Convert samples in memory to a mono recording at SAMPLE_RATE.

    Args:
        array: Shape (samples,) or (samples, channels). Integers are divided by their full scale (int16 by 32768),
            floats are used as they are.
        rate: Sample rate in Hz.
        channel: Number of the channel that is used, from 1. None: the mean of all channels.

    Raises:
        UsageError: The rate is missing or implausible, the shape or type is not that of a recording, or there is
            no such channel.
        EmptyAudioError: There are no samples.
        NotFiniteError: Samples are NaN or infinite.
    """
    return hold(MonoSignal(ArraySource(array, rate), channel), max_s=float("inf"))


def check_no_rate(rate: float | None) -> None:
    """Raise UsageError where a sample rate is given together with a path."""
    if rate is not None:
        raise UsageError("`rate` applies to arrays only; audio files carry their own sample rate")


@dataclass(frozen=True)
class Excerpt:
    """A part of a file, for example one clip of a corpus."""

    path: Path
    start: int = 0
    """First sample, at the sample rate of the file"""
    samples: int | None = None
    """Number of samples at the sample rate of the file. None: to the end."""


def read_excerpt(excerpt: Excerpt) -> Samples:
    """Read a part of a file.

    Returns:
        Shape (samples,), mono at SAMPLE_RATE.

    Raises:
        UnreadableError: The file ends before the excerpt does. Other errors as for `read`.
    """
    if excerpt.start == 0 and excerpt.samples is None:
        return read(excerpt.path).samples
    open_source(excerpt.path)  # raises where it cannot be read
    try:
        path, frames = os.fspath(excerpt.path), excerpt.samples or -1
        samples, rate = sf.read(path, frames, excerpt.start, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError, RuntimeError) as error:
        raise UnreadableError(f"{excerpt.path} cannot be read ({error})") from error
    if excerpt.samples is not None and len(samples) < excerpt.samples:
        raise UnreadableError(f"{excerpt.path} ends before sample {excerpt.start + excerpt.samples}")
    return from_array(samples, rate).samples


class ChannelStatistics:
    """Compares the channels of a recording with their mean."""

    def __init__(self, channels: int) -> None:
        self._samples = 0
        self._sums: NDArray[np.float64] = np.zeros(channels + 1)  # the mean of the channels comes last
        self._powers: NDArray[np.float64] = np.zeros(channels + 1)
        self._products: NDArray[np.float64] = np.zeros(channels)  # of each channel and the mean

    def add(self, block: Samples, mono: Samples) -> None:
        """Take the next block.

        Args:
            block: Shape (samples, channels).
            mono: Shape (samples,), the mean of the channels.
        """
        wide, mean = block.astype(np.float64), mono.astype(np.float64)
        self._samples += len(block)
        self._sums += [*wide.sum(axis=0), mean.sum()]
        self._powers += [*np.einsum("ij,ij->j", wide, wide), mean @ mean]
        self._products += mean @ wide

    @property
    def cancel(self) -> bool:
        """Whether the mean of the channels is below CANCEL_POWER."""
        return bool(self._powers[-1] < CANCEL_POWER * self._powers[:-1].max(initial=0.0))

    @property
    def loudest(self) -> int:
        """Index of the channel with the largest power, from 0."""
        return int(self._powers[:-1].argmax())

    @property
    def correlation(self) -> float:
        """Smallest correlation of an audible channel with the mean of all, at most 1.

        1 for channels that are equal but for their level; 0.7 for two independent channels of the same level.
        """
        if len(self._products) < 2 or not self._samples:
            return 1.0
        variances = np.maximum(self._powers - self._sums**2 / self._samples, 0.0)
        audible = variances[:-1] > AUDIBLE_POWER * variances[:-1].max()
        if not audible.any() or variances[-1] <= 0:
            return 1.0
        products = self._products - self._sums[:-1] * self._sums[-1] / self._samples
        return float(min(1.0, (products[audible] / np.sqrt(variances[:-1][audible] * variances[-1])).min()))


class MonoSignal:
    """The mono signal of a source at SAMPLE_RATE, in blocks.

    Args:
        source: Source of the samples.
        channel: Number of the channel that is used, from 1. None: the mean of all channels.

    Raises:
        UsageError: The source has no such channel.
    """

    def __init__(self, source: AudioSource, channel: int | None = None, *, cancel: bool = False) -> None:
        if channel is not None and not 1 <= channel <= source.channels:
            raise UsageError(f"there is no channel {channel}: the recording has {source.channels}")
        self.source, self.channel = source, channel
        self.cancel = cancel
        self.correlation = 1.0
        self._statistics = ChannelStatistics(source.channels)
        self._samples = self._not_finite = 0

    def blocks(self) -> Iterator[Samples]:
        """Decode the source from its beginning.

        Yields:
            Shape (samples,) at SAMPLE_RATE. After the last block, call `check`.
        """
        self._statistics = ChannelStatistics(self.source.channels)
        self._samples = self._not_finite = 0
        resampler = Resampler(self.source.rate)
        for block in self.source.blocks():
            on_progress()
            self._samples += len(block)
            if self._samples > MAX_DECODED_S * self.source.rate:
                raise UnreadableError(f"longer than {MAX_DECODED_S / 3600:g} hours: cut it into parts")
            self._not_finite += _not_finite(block)
            if not self._not_finite:
                yield resampler.add(self._mono(block))
        if not self._not_finite:
            yield resampler.finish()

    @property
    def decoded_s(self) -> float | None:
        """Duration in seconds of what `blocks` decoded; None before it was called."""
        return self._samples / self.source.rate if self._samples else None

    def check(self) -> MonoSignal:
        """Check the samples after `blocks` was exhausted.

        Returns:
            This signal; or where the channels cancel, the signal of the loudest channel, to be decoded instead.

        Raises:
            EmptyAudioError: There were no samples.
            NotFiniteError: Samples are NaN or infinite.
        """
        if not self._samples and self.source.problem is not None:
            raise UnreadableError(f"no audio can be decoded ({self.source.problem})")
        if not self._samples:
            raise EmptyAudioError("the recording has no samples: record or copy it again")
        if self._not_finite:
            raise NotFiniteError(
                f"{self._not_finite} samples are NaN, infinite or above {LARGEST_SAMPLE:.0e}: correct the program "
                "that wrote the recording"
            )
        if self.channel is not None:
            return self
        self.correlation = self._statistics.correlation
        if self._statistics.cancel:
            return MonoSignal(self.source, self._statistics.loudest + 1, cancel=True)
        return self

    def _mono(self, block: Samples) -> Samples:
        if self.channel is not None:
            return np.ascontiguousarray(block[:, self.channel - 1])
        if block.shape[1] == 1:
            return block[:, 0]
        mono: Samples = block.mean(axis=1, dtype=np.float32)
        self._statistics.add(block, mono)
        return mono


def signals(source: AudioSource, channels: Channels = "mix") -> list[MonoSignal]:
    """Select channels of a source.

    Args:
        source: Source of the samples.
        channels: "mix", "each", or the number of a channel from 1.

    Returns:
        One signal, or for "each" a signal for every channel in order.

    Raises:
        UsageError: `channels` has another value, or the source has no such channel.
    """
    if channels == "mix":
        return [MonoSignal(source)]
    if channels == "each":
        return [MonoSignal(source, number + 1) for number in range(source.channels)]
    if isinstance(channels, bool) or not isinstance(channels, int):
        raise UsageError(f"channels {channels!r}: expected 'mix', 'each' or the number of a channel from 1")
    return [MonoSignal(source, channels)]


def hold(signal: MonoSignal, max_s: float = MAX_HELD_S) -> Recording:
    """Decode a signal into memory. Args, result and errors are those of `read`."""
    samples = _held(signal, max_s)
    checked = signal.check()
    if checked is not signal:
        samples = _held(checked, max_s)
    source = signal.source
    return Recording(
        samples, round(source.rate), source.channels, checked.cancel, signal.correlation, source.problem
    )


def _held(signal: MonoSignal, max_s: float) -> Samples:
    """All samples. A bytearray grows in place, so that they are not in memory twice."""
    held = bytearray()
    for block in signal.blocks():
        held += block.tobytes()
        if len(held) > 4 * max_s * SAMPLE_RATE:
            raise UnreadableError(
                f"longer than {max_s / 60:g} minutes: cut it into parts (`mtqnet score` reads any length)"
            )
    return np.frombuffer(held, dtype=np.float32)


def _not_finite(block: Samples) -> int:
    """Number of samples of (samples, channels) that are NaN, infinite or above LARGEST_SAMPLE in any channel."""
    finite = np.abs(block) <= LARGEST_SAMPLE
    return 0 if finite.all() else int(np.count_nonzero(~finite.all(axis=1)))


def playable(samples: NDArray[np.float32]) -> str:
    """Return (samples,) at 16 kHz as a data: URI for the audio player of an HTML page.

    The URI contains 16-bit FLAC in base64, which current browsers play and which is a third smaller than WAV. If
    samples exceed full scale, the whole recording is attenuated to full scale.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    stored = io.BytesIO()
    sf.write(stored, samples / max(1.0, peak), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(stored.getvalue()).decode("ascii")
