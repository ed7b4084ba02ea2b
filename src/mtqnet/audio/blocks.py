"""A file too long to be held: the samples that `audio.read` would give, in blocks, with flat memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio import audio
from mtqnet.audio.audio import SAMPLE_RATE, Samples
from mtqnet.audio.survey import Survey, Surveyor
from mtqnet.errors import EmptyAudioError

BLOCK_S = 10.0
"""Seconds that are read at a time."""


@dataclass(frozen=True)
class LongFile:
    """A file, and how its channels become one."""

    path: Path
    rate: int
    """Hz, of the file"""
    channel: int | None = None
    """The only one that is heard; None: the mean of all."""

    def blocks(self) -> Iterator[Samples]:
        """Mono samples at SAMPLE_RATE, in order, in blocks of about BLOCK_S. Raises UnreadableError."""
        resampler = Resampler(self.rate)
        for block in self.decoded():
            yield resampler.add(self.mixed(block))
        yield resampler.finish()

    def decoded(self) -> Iterator[Samples]:
        """(samples, channels) as they are in the file, in order."""
        with audio.readable(self.path), sf.SoundFile(audio.file_name(self.path)) as file:
            while len(block := file.read(round(BLOCK_S * self.rate), dtype="float32", always_2d=True)):
                yield block

    def mixed(self, block: Samples) -> Samples:
        """(samples, channels) -> (samples,)"""
        if self.channel is not None:
            return np.ascontiguousarray(block[:, self.channel])
        mean: Samples = block.mean(axis=1, dtype=np.float32)
        return mean


class Resampler:
    """`audio.resample` for chunks of any size: what comes out is the same, in other pieces.

    Chunks are (samples,), or with `channels` (samples, channels).
    """

    def __init__(self, rate: float, channels: int | None = None) -> None:
        self._stream = audio.resample_stream(rate, channels or 1) if rate != SAMPLE_RATE else None
        self._shape = (-1,) if channels is None else (-1, channels)

    def add(self, samples: Samples) -> Samples:
        """A chunk at the rate it was made for -> what is ready at SAMPLE_RATE."""
        return self._through(samples, last=False)

    def finish(self) -> Samples:
        """What was still inside the filter."""
        return self._through(np.zeros((0, *self._shape[1:]), dtype=np.float32), last=True)

    def _through(self, samples: Samples, last: bool) -> Samples:
        if self._stream is None:
            return samples
        # soxr takes one channel as (samples,) alone
        fed = samples.reshape(-1) if self._shape[1:] == (1,) else samples
        return np.asarray(self._stream.resample_chunk(fed, last=last), dtype=np.float32).reshape(self._shape)


def surveyed(path: Path, rate: int) -> tuple[LongFile, Survey]:
    """One pass over a file: how it is to be heard, and what is in it.

    A second pass where the channels cancel, as then the loudest alone is heard. Raises what `audio.read` and
    `checks.heard` raise.
    """
    file = LongFile(path, rate)
    channels, surveyor = Channels(), Surveyor()
    resampler = Resampler(rate)
    for block in file.decoded():
        mono = file.mixed(block)
        channels.add(block, mono)
        if not channels.bad:
            surveyor.add(resampler.add(mono))
    channels.refuse()
    if channels.cancel:
        file = replace(file, channel=channels.loudest)
        surveyor = Surveyor()
        for mono in file.blocks():
            surveyor.add(mono)
    else:
        surveyor.add(resampler.finish())
    return file, surveyor.finish(rate, channels.cancel)


class Channels:
    """Power of each channel and of their mean, and how many samples are no numbers."""

    def __init__(self) -> None:
        self.bad = 0
        self._samples = 0
        self._energies: NDArray[np.float64] = np.zeros(1)
        self._mono = 0.0

    def add(self, block: Samples, mono: Samples) -> None:
        """Take (samples, channels) and their mean (samples,)."""
        self._samples += len(block)
        self.bad += audio.not_finite(block)
        if not self.bad:
            self._energies = self._energies + np.square(block, dtype=np.float64).sum(axis=0)
            self._mono += float(np.square(mono, dtype=np.float64).sum())

    def refuse(self) -> None:
        """Raise EmptyAudioError or NotFiniteError."""
        if not self._samples:
            raise EmptyAudioError(audio.EMPTY)
        audio.need_finite(self.bad)

    @property
    def cancel(self) -> bool:
        """Whether next to nothing would be left of their mean."""
        return self._mono < audio.CANCEL_POWER * float(self._energies.max())

    @property
    def loudest(self) -> int:
        return int(self._energies.argmax())
