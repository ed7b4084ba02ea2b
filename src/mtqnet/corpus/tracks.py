"""Speech and noise as two tracks: input and output of every step of a recipe.

Listeners keep SIG high while noise is added and lower it only when the speech itself is damaged. A label that
says so needs the speech in the degraded clip apart from the noise, so both are carried through
every step. Filters are linear and gains are products: applied to each track, their sum is exactly what the
step does to the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Tracks:
    """(samples,) each, at 16 kHz."""

    clean: Samples
    """The reference. No step changes it."""
    speech: Samples
    noise: Samples

    @property
    def mixture(self) -> Samples:
        """The sum of both tracks, (samples,)."""
        return self.speech + self.noise

    def gained(self, gain: Samples | float) -> Tracks:
        """Both tracks times a gain: one number, or one a sample."""
        factor = np.float32(gain) if isinstance(gain, float) else gain
        return replace(self, speech=self.speech * factor, noise=self.noise * factor)

    def filtered(self, response: NDArray[np.floating]) -> Tracks:
        """Both tracks through a zero-phase filter with this magnitude at each rfft bin of the clip."""
        length = len(self.clean)
        return replace(
            self,
            speech=np.fft.irfft(np.fft.rfft(self.speech) * response, length).astype(np.float32),
            noise=np.fft.irfft(np.fft.rfft(self.noise) * response, length).astype(np.float32),
        )

    def with_noise(self, noise: NDArray[np.floating]) -> Tracks:
        return replace(self, noise=self.noise + noise.astype(np.float32))

    def with_speech(self, speech: NDArray[np.floating]) -> Tracks:
        return replace(self, speech=speech.astype(np.float32))


def start(clean: Samples) -> Tracks:
    return Tracks(clean, clean, np.zeros_like(clean))
