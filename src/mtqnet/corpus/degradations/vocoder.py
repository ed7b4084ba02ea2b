"""Speech that is resynthesised from a few parameters, as by vocoders: envelope, pitch and noise; the waveform is
lost.

Low rates leave the spectral envelope of speech and some of its pitch, and a decoder guesses the rest. Resynthesis has
the faults of such decoders: coarse envelopes, lost harmonics, smeared time, and phases that do not fit, which sound
rough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mtqnet.audio.features import STFT_BINS, istft, stft
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import through
from mtqnet.corpus.degradations.step import Samples, Tracks, draw_seed, uniform
from mtqnet.corpus.pool import Pool

Array = NDArray[np.float64]

HOP = 128
"""Samples between frames, 8 ms; frame t is centred at sample t * HOP."""
WINDOW = 1024
"""Samples of the autocorrelation, 64 ms: almost four periods of the lowest voice"""
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
STEPS_PER_OCTAVE = 32
BAND_HZ = (90.0, 1800.0)
"""Frequencies that the autocorrelation uses: below is mains hum, above its peaks are ragged."""
EXPONENT = 1.0
"""Of the magnitudes whose inverse transform is the autocorrelation: 2 for the usual one, less flattens the
formants.
"""
OCTAVE_COST = 0.06
"""Added for each octave above LOWEST_HZ: twice the period fits as well as the period itself."""
JUMP_COST, WIDEST_JUMP = 0.012, 6
"""Cost of a change of one step from frame to frame, and the most steps"""
VOICED_FROM, VOICED_FULLY = 0.3, 0.6
"""Autocorrelation at the period, relative to lag zero, between which the pulses fade in"""
SILENT_DB = -40.0
"""Level of a frame relative to the loudest, below which a frame is unvoiced"""
HIGHEST_HARMONIC_HZ = 7800.0
CHUNK = 2048
"""Frames that are transformed together"""


def pitch(samples: Samples) -> tuple[Array, Array]:
    """Fundamental frequency in Hz and degree of voicing, 0 to 1: (samples,) -> 1 + samples // HOP of each.

    Generalised autocorrelation of windowed frames divided by that of the window (Boersma 1993), and the path
    through its values on a logarithmic axis that has the largest sum (dynamic programming).
    """
    frames = 1 + len(samples) // HOP
    padded = np.pad(samples.astype(np.float64), WINDOW // 2 + HOP)[HOP:]
    views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    taper = np.hanning(WINDOW)
    hertz = np.fft.rfftfreq(2 * WINDOW, 1 / SAMPLE_RATE)
    band = (hertz >= BAND_HZ[0]) & (hertz <= BAND_HZ[1])
    window_correlation = np.fft.irfft(np.abs(np.fft.rfft(taper, 2 * WINDOW)) ** EXPONENT)
    window_correlation /= window_correlation[0]
    count = int(np.log2(HIGHEST_HZ / LOWEST_HZ) * STEPS_PER_OCTAVE) + 1
    grid = LOWEST_HZ * 2 ** (np.arange(count) / STEPS_PER_OCTAVE)
    lag = SAMPLE_RATE / grid
    below = np.floor(lag).astype(int)
    part = lag - below
    values, power = np.empty((frames, count)), np.empty(frames)
    for start in range(0, frames, CHUNK):
        spectra = np.fft.rfft(views[start : start + CHUNK] * taper, 2 * WINDOW, axis=1)
        correlation = np.fft.irfft(np.abs(spectra) ** EXPONENT * band, axis=1)
        power[start : start + CHUNK] = correlation[:, 0]
        relative = correlation / np.maximum(correlation[:, :1], 1e-12) / np.maximum(window_correlation, 1e-3)
        values[start : start + CHUNK] = relative[:, below] * (1 - part) + relative[:, below + 1] * part
    path = _best_path(values + OCTAVE_COST * np.arange(count) / STEPS_PER_OCTAVE)
    strength = values[np.arange(frames), path]
    loud = power > power.max(initial=0.0) * 10 ** (SILENT_DB / 20 * EXPONENT)
    return grid[path], np.clip((strength - VOICED_FROM) / (VOICED_FULLY - VOICED_FROM), 0, 1) * loud


def pulses(frequency: Array, voicing: Array, length: int) -> Samples:
    """(frames,) each -> (length,): all harmonics with equal amplitude and power 1, faded by the degree of
    voicing.
    """
    centres = np.arange(len(frequency)) * HOP
    place = np.arange(length)
    hertz = np.exp(np.interp(place, centres, np.log(frequency)))
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    count = np.floor(HIGHEST_HARMONIC_HZ / hertz)
    half = np.sin(phase / 2)
    near = np.abs(half) < 1e-6
    # The sum of cos(k * phase) for k = 1 to count (Dirichlet kernel)
    total = np.where(near, count, np.sin((count + 0.5) * phase) / np.where(near, 1.0, 2 * half) - 0.5)
    return np.asarray(total / np.sqrt(count / 2) * np.interp(place, centres, voicing), dtype=np.float32)


def _best_path(values: Array) -> NDArray[np.intp]:
    """(frames, steps) -> the step of each frame on the path of the largest sum of values less the cost of
    jumps.
    """
    frames, count = values.shape
    jumps = np.arange(-WIDEST_JUMP, WIDEST_JUMP + 1)
    cost = JUMP_COST * np.abs(jumps)
    came_from = np.zeros((frames, count), dtype=np.int8)
    total = values[0]
    padded = np.full(count + 2 * WIDEST_JUMP, -np.inf)
    options = np.lib.stride_tricks.sliding_window_view(padded, len(jumps))
    for frame in range(1, frames):
        padded[WIDEST_JUMP:-WIDEST_JUMP] = total
        choices = options - cost
        best = choices.argmax(axis=1)
        came_from[frame] = best
        total = choices[np.arange(count), best] + values[frame]
    path = np.empty(frames, dtype=np.intp)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] + jumps[came_from[frame, path[frame]]]
    return path


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
    mel = 2595 * np.log10(1 + np.linspace(0, SAMPLE_RATE / 2, STFT_BINS) / 700)
    centres = np.linspace(0, mel[-1], count)
    return np.asarray(np.maximum(0.0, 1 - np.abs(mel[:, None] - centres) / (centres[1] - centres[0])))
