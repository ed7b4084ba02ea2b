"""What all codecs and other tools that convert samples share: the level, the delay, speech and noise as two tracks.

The internals of a tool are not known. Its effect on the speech and on the noise is estimated from its input and
output (labels/three_signal.py), after its delay is removed. The delay is a constant, measured between 400 and 3400 Hz,
where the high-pass filter of a codec does not change the phase; tests pin it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import FLOOR_DB, NOMINAL_DBOV, active_level
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.step import Tracks, as_float, as_int16, uniform
from mtqnet.labels.three_signal import components

Samples = NDArray[np.float32]

TAIL = 4800
"""Samples, 0.3 s of silence behind a clip: a tool with a delay returns the end of the clip during this silence."""
HEADROOM = 0.98
"""Largest magnitude of the input; louder clips are attenuated before the tool and amplified after it."""


def through(tracks: Tracks, tool: Callable[[Samples], Samples], delay: int) -> Tracks:
    """Return both tracks after a tool that processes the mixture.

    `tool` takes (samples,) at 16 kHz, full scale 1, and returns about as many; `delay` is the delay of its output in
    samples (constant for a tool; pinned by tests). The sum of the two tracks is the output of the tool.
    """
    mixture = tracks.mixture
    peak = float(np.abs(mixture).max(initial=0.0))
    if peak == 0.0:
        return tracks
    gain = np.float32(min(1.0, HEADROOM / peak))
    given = np.pad(mixture * gain, (0, TAIL))
    processed = fitted(np.asarray(tool(given), dtype=np.float32), delay, len(mixture)) / gain
    speech, noise = components(tracks.speech, mixture, processed)
    return replace(tracks, speech=speech, noise=noise)


def fitted(processed: Samples, delay: int, length: int) -> Samples:
    """Return `length` samples of the output of a tool from `delay` on (negative: early), padded with silence."""
    late = processed[delay:] if delay >= 0 else np.pad(processed, (-delay, 0))
    late = late[:length]
    return np.pad(late, (0, length - len(late)))


Pcm = NDArray[np.int16]

NARROWBAND = 8_000
"""Hz, sample rate of telephone codecs"""
LOWEST_DBOV, HIGHEST_DBOV = -38.0, -16.0
"""dBov: ITU-T P.830 tests codecs at levels on both sides of the nominal one."""


@dataclass(frozen=True)
class Coding(ABC):
    """An encoder and its decoder."""

    level_dbov: float = field(default=NOMINAL_DBOV, kw_only=True)
    """Active level at the encoder; the decoded signal gets the original level again."""

    @property
    @abstractmethod
    def delay(self) -> int:
        """Samples at 16 kHz by which `transcode` is late."""

    @abstractmethod
    def transcode(self, samples: Samples) -> Samples:
        """Encode and decode (samples,) at 16 kHz, full scale 1; return about as many, `delay` samples late."""

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.at_level, self.delay)

    def at_level(self, samples: Samples) -> Samples:
        """`transcode` at `level_dbov`, with the original level again afterwards."""
        gain = np.float32(_gain(samples, self.level_dbov))
        return np.asarray(self.transcode(samples * gain) / gain, dtype=np.float32)


@dataclass(frozen=True)
class PcmCoding(Coding):
    """A codec with 16-bit input and output."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the codec in Hz"""
        return SAMPLE_RATE

    @abstractmethod
    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        """Encode and decode (samples,) at `sample_rate`."""

    def transcode(self, samples: Samples) -> Samples:
        pcm = as_int16(resample(samples, SAMPLE_RATE, self.sample_rate))
        return resample(as_float(self.transcode_pcm(pcm)), self.sample_rate, SAMPLE_RATE)


@dataclass(frozen=True)
class NarrowbandCoding(PcmCoding):
    """A codec with 16-bit input and output at 8 kHz."""

    @property
    def sample_rate(self) -> int:
        return NARROWBAND


def draw_level(rng: np.random.Generator) -> float:
    """Level at the encoder in dBov."""
    return uniform(rng, LOWEST_DBOV, HIGHEST_DBOV)


def _gain(samples: Samples, level_dbov: float) -> float:
    level, peak = active_level(samples), float(np.abs(samples).max(initial=0.0))
    if level <= FLOOR_DB or peak == 0.0:
        return 1.0
    return min(float(10 ** ((level_dbov - level) / 20)), HEADROOM / peak)
