"""Speech that is resynthesised from a few parameters, as by vocoders and neural codecs: the waveform is lost.

Low rates leave the spectral envelope of speech and some of its pitch, and a neural decoder guesses the
rest. No such decoder can be had here, but its faults can: coarse envelopes, lost harmonics, smeared time, and
phases that do not fit, which sound rough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.audio.stft import BINS, istft, stft
from mtqnet.corpus.degradations.blackbox import through
from mtqnet.corpus.degradations.step import draw_seed, uniform
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks

Array = NDArray[np.float64]

TINY = 1e-7
"""Magnitude below which a bin is silent; speech at -26 dBov has spectra of 0.1 to 10."""


@dataclass(frozen=True)
class Resynthesis:
    """Resynthesis from coarse magnitudes with phases by Griffin and Lim (1984), similar to decoders of mel spectra.

    `bands` of equal width on the mel axis describe the envelope, rounded to steps of `step_db` (0: not at all) and
    smeared over `smear` frames of 16 ms; `fine` is the share of the spectrum's fine structure (its harmonics) that
    comes back, 0 to 1; `rounds` of Griffin and Lim begin at phases that are off by up to `phase` half turns.
    """

    bands: int
    step_db: float
    smear: int
    fine: float
    phase: float
    rounds: int
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Resynthesis:  # noqa: ARG003
        return cls(
            bands=int(rng.integers(16, 101)),
            step_db=uniform(rng, 0, 9) if rng.random() < 0.7 else 0.0,
            smear=int(rng.integers(2, 5)) if rng.random() < 0.3 else 1,
            fine=uniform(rng, 0.4, 1.0),
            phase=uniform(rng, 0.1, 0.7),
            rounds=int(rng.integers(8, 33)),
            seed=draw_seed(rng),
        )

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.process, 0)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> the same speech, resynthesised."""
        rng = np.random.default_rng(self.seed)
        spectra = stft(given)
        size = np.abs(spectra)
        phases = np.angle(spectra) + np.pi * self.phase * rng.uniform(-1, 1, size.shape)
        wanted = self._magnitudes(size)
        made = wanted * np.exp(1j * phases)
        for _ in range(self.rounds):
            again = stft(istft(made, len(given)))
            made = wanted * again / np.maximum(np.abs(again), TINY)
        return istft(made, len(given))

    def _magnitudes(self, size: Array) -> Array:
        """(frames, bins) -> the same, coarse."""
        spread = _bands(self.bands)
        envelope = np.maximum(size @ spread / np.maximum(spread.sum(axis=0), TINY), TINY)  # (frames, bands)
        fine = np.maximum(size, TINY) / (envelope @ spread.T)
        late = self.smear % 2 - 1  # of an even number of frames the extra one comes later
        level = uniform_filter1d(20 * np.log10(envelope), self.smear, axis=0, mode="nearest", origin=late)
        coarse: Array = 10 ** (_rounded(level, self.step_db) / 20) @ spread.T * fine**self.fine
        return coarse


def _rounded(values: Array, step: float) -> Array:
    return np.asarray(np.round(values / step) * step if step else values)


def _bands(count: int) -> Array:
    """(bins, bands): triangles on the mel axis (O'Shaughnessy) that add up to 1 at each bin."""
    mel = 2595 * np.log10(1 + np.linspace(0, SAMPLE_RATE / 2, BINS) / 700)
    centres = np.linspace(0, mel[-1], count)
    return np.asarray(np.maximum(0.0, 1 - np.abs(mel[:, None] - centres) / (centres[1] - centres[0])))
