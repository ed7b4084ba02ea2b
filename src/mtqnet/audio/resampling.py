"""Sample rate of the package, and conversion of other rates to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError

Samples = NDArray[np.float32]
"""Samples as float32. Full scale is 1."""

SAMPLE_RATE = 16_000
"""Hz. All features, labels and weights of the package refer to this rate."""
MIN_RATE, MAX_RATE = 4_000, 768_000
"""Hz. Accepted sample rates; telephone speech has 8,000, the fastest converters have 768,000."""
QUALITY = "HQ"
"""Quality setting of soxr: 20 bits"""


def check_rate(rate: float) -> None:
    """Check that a sample rate is plausible.

    Args:
        rate: Sample rate in Hz.

    Raises:
        UsageError: `rate` is not between MIN_RATE and MAX_RATE.
    """
    if not np.isfinite(rate) or not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(f"sample rate {rate!r} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")


def resample(samples: Samples, source: float, target: float) -> Samples:
    """Convert the sample rate with soxr.

    Args:
        samples: Shape (samples,).
        source: Sample rate of `samples` in Hz.
        target: Sample rate of the result in Hz.

    Returns:
        Shape (samples * target / source,).
    """
    if source == target:
        return np.ascontiguousarray(samples, dtype=np.float32)
    import soxr  # imported here because recordings at SAMPLE_RATE do not need it

    return np.asarray(soxr.resample(samples, source, target, quality=QUALITY), dtype=np.float32)


class Resampler:
    """Streaming conversion to SAMPLE_RATE: the blocks of the result are equal to `resample` of the whole signal.

    Args:
        rate: Sample rate of the input in Hz.
        channels: Number of channels. Blocks have the shape (samples, channels), or (samples,) for None.
    """

    def __init__(self, rate: float, channels: int | None = None) -> None:
        self._stream: Any = None
        if rate != SAMPLE_RATE:
            import soxr

            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, channels or 1, dtype="float32", quality=QUALITY)
        self._shape = (-1,) if channels is None else (-1, channels)

    def add(self, samples: Samples) -> Samples:
        """Convert the next block.

        Args:
            samples: Any number of samples at the input rate.

        Returns:
            The samples at SAMPLE_RATE that are complete. The filter delays them by a few milliseconds.
        """
        return self._convert(samples, last=False)

    def finish(self) -> Samples:
        """Return the samples that remain in the filter after the last block."""
        return self._convert(np.zeros((0, *self._shape[1:]), dtype=np.float32), last=True)

    def _convert(self, samples: Samples, last: bool) -> Samples:
        if self._stream is None:
            return samples
        flat = samples.reshape(-1) if self._shape[1:] == (1,) else samples  # soxr expects mono as (samples,)
        return np.asarray(self._stream.resample_chunk(flat, last=last), dtype=np.float32).reshape(self._shape)
