"""Classic noise suppressors: spectral gains of this package, and noisereduce, WebRTC and SpeexDSP as black boxes.

The spectral gains are computed on the mixture and applied to both tracks: what they do to the speech and to the noise
is known exactly ("shadow filtering"). Each black box has a constant DELAY, samples at 16 kHz by which it is late:
measured on speech, and pinned by a test. Networks: neural_suppressors.py.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import metadata
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import exp1

from mtqnet.audio.features import istft, stft
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import (
    EXTRA,
    TAIL,
    Drawn,
    Need,
    Samples,
    Tracks,
    as_float,
    as_int16,
    between,
    drawn,
    either,
    fitted,
    in_frames,
    module,
    package,
    through,
    whole,
)
from mtqnet.corpus.sources import Pool
from mtqnet.errors import missing_extra

SMOOTHING = 0.98
"""Weight of the past in the decision-directed a-priori SNR (Ephraim and Malah 1984)."""
POWER_SMOOTHING = 0.85
"""Weight of the past in the power whose minimum is the noise."""
MINIMUM_FRAMES = 60
"""Frames of 16 ms, about one second: the reach of the minimum, before and after."""
MINIMUM_PRIOR = 10**-2.5
"""-25 dB, the least a-priori SNR of LogMmse: below it residual noise turns musical (Cappe 1994)."""
TINY = 1e-12
"""Power of a bin (full scale is 1) below which it is empty."""

Power = NDArray[np.floating]
Gain = NDArray[np.float64]


class Suppressor(Drawn):
    """A noise suppressor."""

    @classmethod
    def full(cls, rng: np.random.Generator) -> Self:
        """The suppressor as it is used in practice: at full strength, once."""
        return cls(*(one.metadata["full"](rng) for one in fields(cls)))  # type: ignore[arg-type]


class Shadowed(Suppressor, ABC):
    """A suppressor whose gain is computed on the mixture and applied to both tracks."""

    @abstractmethod
    def gain(self, power: Power) -> Gain:
        """(frames, bins) power of the mixture -> gain of the same shape, 0 to 1."""

    def __call__(self, tracks: Tracks) -> Tracks:
        gain = self.gain(np.abs(stft(tracks.mixture)) ** 2)
        speech, noise = (istft(gain * stft(part), len(part)) for part in (tracks.speech, tracks.noise))
        return replace(tracks, speech=speech, noise=noise)


@dataclass(frozen=True)
class SpectralGain(Shadowed):
    """A Wiener filter with decision-directed SNR and minimum statistics.

    `over` is how much noise is assumed beyond what is estimated, `floor_db` the least gain, `sharpness` the
    exponent on the gain (1 Wiener, 0.5 softer, 2 beyond what is sensible: musical noise and hollow speech).
    """

    over: float = between(0.7, 4, full=(0.8, 2))
    floor_db: float = between(-35, -6, full=(-30, -15))
    sharpness: float = between(0.5, 2, full=1.0)

    def gain(self, power: Power) -> Gain:
        wiener = _decision_directed(power, self.over, SMOOTHING, 0.0, lambda prior, _: prior / (1 + prior))
        return np.asarray(np.maximum(wiener**self.sharpness, 10 ** (self.floor_db / 20)))


@dataclass(frozen=True)
class SpectralSubtraction(Shadowed):
    """The noise spectrum taken off the spectrum of each frame (Boll 1979; Berouti et al. 1979).

    `over` is how often the noise is taken off (Berouti's alpha; 3 to 6 is usual, more eats the speech), `floor_db`
    what is left of the noise at least, in dB below it (Berouti's beta: a low floor leaves lone peaks, musical
    noise), `exponent` 1 for magnitudes (Boll), 2 for powers (Berouti).
    """

    over: float = between(1, 8, full=(2, 5))  # the usual over-subtraction of Berouti et al.
    floor_db: float = between(-50, -8, full=(-40, -15))
    exponent: int = whole(1, 2)

    def gain(self, power: Power) -> Gain:
        share = (_noise_power(power) / np.maximum(power, TINY)) ** (self.exponent / 2)
        floor = 10 ** (self.floor_db / 20 * self.exponent)
        left = np.maximum(1 - self.over * share, floor * share)
        return np.minimum(left, 1.0) ** (1 / self.exponent)


@dataclass(frozen=True)
class LogMmse(Shadowed):
    """The estimator of least mean square error in log amplitude (Ephraim and Malah 1985).

    `over` and `floor_db` as for SpectralGain; `smoothing` is the weight of the past in the a-priori SNR: 0.98 is
    usual, less lets the residual noise sing, more blurs the onsets of speech.
    """

    over: float = between(0.7, 4, full=(0.8, 2))
    floor_db: float = between(-30, -6, full=(-30, -15))
    smoothing: float = between(0.85, 0.995, full=0.98)

    def gain(self, power: Power) -> Gain:
        def rule(prior: Gain, snr: Power) -> Gain:
            wiener = np.maximum(prior, MINIMUM_PRIOR) / (1 + np.maximum(prior, MINIMUM_PRIOR))
            return np.asarray(np.minimum(wiener * np.exp(exp1(wiener * snr) / 2), 1.0))

        gain = _decision_directed(power, self.over, self.smoothing, TINY, rule)
        return np.asarray(np.maximum(gain, 10 ** (self.floor_db / 20)))


def _decision_directed(
    power: Power, over: float, smoothing: float, least: float, rule: Callable[[Gain, Power], Gain]
) -> Gain:
    """(frames, bins) gain of a rule of the a-priori SNR, which follows the gain of the frame before."""
    posterior = np.maximum(power / np.maximum(over * _noise_power(power), TINY), least)
    gain = np.empty_like(posterior)
    before = np.ones(power.shape[1])
    for frame, snr in enumerate(posterior):
        prior = smoothing * before + (1 - smoothing) * np.maximum(snr - 1, 0)
        gain[frame] = rule(prior, snr)
        before = gain[frame] ** 2 * snr
    return gain


def _noise_power(power: Power) -> Gain:
    """(frames, bins) -> (frames, bins): minimum of the smoothed power around each frame (Martin 2001)."""
    smooth = np.empty_like(power, dtype=np.float64)
    state = power[: MINIMUM_FRAMES // 4].mean(axis=0)
    for frame, row in enumerate(power):
        state = POWER_SMOOTHING * state + (1 - POWER_SMOOTHING) * row
        smooth[frame] = state
    edge = min(4, len(smooth) // 4)  # frames that the transform's padding touches: silence, which is not noise
    inner = smooth[edge : len(smooth) - edge]
    padded = np.pad(inner, ((MINIMUM_FRAMES, MINIMUM_FRAMES), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * MINIMUM_FRAMES + 1, axis=0)
    # The minimum of a smoothed power is about half of its mean
    return np.pad(2.0 * windows.min(axis=-1), ((edge, edge), (0, 0)), mode="edge")


# Black boxes

FRAME = 160
"""Samples, 10 ms: what WebRTC takes at a time; SpeexDSP takes any number."""


def draw_passes(rng: np.random.Generator) -> int:
    """How often a tool runs; twice as when both ends of a call reduce noise."""
    return 2 if rng.random() < 0.2 else 1


def reduced(tracks: Tracks, tool: Callable[[Samples], Samples], delay: int, wet: float, passes: int) -> Tracks:
    """Both tracks after `passes` runs of a tool, each late by `delay` samples, mixed with what went in.

    `wet` is the fraction of the tool's output, 0 to 1; the rest is the input with the same delay.
    """

    def run(given: Samples) -> Samples:
        out = given
        for _ in range(passes):
            out = fitted(tool(out), 0, len(given))
        if wet == 1.0:
            return out
        return np.float32(wet) * out + np.float32(1 - wet) * fitted(given, -passes * delay, len(given))

    return through(tracks, run, passes * delay)


class BlackBox(Suppressor, ABC):
    """A suppressor whose internals are not known. It may have the parameters `wet` and `passes` of `reduced`."""

    DELAY: ClassVar[int] = 0
    NEEDS: ClassVar[tuple[Need, ...]] = ()

    def __call__(self, tracks: Tracks) -> Tracks:
        wet, passes = getattr(self, "wet", 1.0), getattr(self, "passes", 1)
        return reduced(tracks, self.process, self.DELAY, wet, passes)

    @abstractmethod
    def process(self, given: Samples) -> Samples:
        """(samples,) -> about as many, late by DELAY."""


@dataclass(frozen=True)
class NoiseReduce(BlackBox):
    """Spectral gating (Sainburg, Thielk and Gentner 2020) by the package noisereduce, MIT.

    `share` is the fraction of the detected noise that is removed; `stationary` uses one threshold per frequency
    for the whole clip or moves with the sound.
    """

    share: float = between(0.4, 1.0, full=1.0)
    stationary: bool = either(0.5, True, False)

    NEEDS = (package("noisereduce", EXTRA),)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> without the last TAIL: silence behind the clip is no noise to learn from."""
        reduce_noise, sound = module("noisereduce", EXTRA).reduce_noise, given[:-TAIL]
        out = reduce_noise(sound, SAMPLE_RATE, stationary=self.stationary, prop_decrease=self.share, n_jobs=1)
        return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True)
class WebRtc(BlackBox):
    """The audio processing of WebRTC by the package webrtc-noise-gain, BSD (Google) and Apache-2.0 (package).

    `level` 1 to 4 is its noise suppression (4: beyond what calls use), 0 none; `auto_gain` the target of its gain
    control in dB below full scale, 0 none; `passes` is the number of such devices in series.
    """

    level: int = whole(1, 4, full=(2, 4))
    auto_gain: int = drawn(lambda _: 0)
    passes: int = drawn(draw_passes, full=1)

    DELAY = 96
    NEEDS = (package("webrtc_noise_gain", EXTRA),)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> WebRtc:
        gain = int(rng.integers(3, 32)) if rng.random() < 0.3 else 0
        return replace(super().draw(rng, pool, samples), auto_gain=gain)

    def process(self, given: Samples) -> Samples:
        processor = module("webrtc_noise_gain", EXTRA).AudioProcessor(self.auto_gain, self.level)
        pieces = [processor.Process10ms(frame.tobytes()).audio for frame in in_frames(as_int16(given), FRAME)]
        return as_float(np.frombuffer(b"".join(pieces), dtype=np.int16))


@dataclass(frozen=True)
class SpeexDsp(BlackBox):
    """The preprocessor of SpeexDSP (Valin 2007), BSD, by the library inside the package speexdsp-ns.

    `suppress_db` is the most that it takes off the noise, in dB below 0 (its own default: -15).
    """

    suppress_db: int = drawn(lambda rng: -int(rng.integers(6, 61)), full=lambda rng: -int(rng.integers(15, 41)))
    passes: int = drawn(draw_passes, full=1)

    DELAY = 160
    NEEDS = (package("speexdsp_ns", EXTRA),)

    def process(self, given: Samples) -> Samples:
        speex, frames = _speex(), np.ascontiguousarray(in_frames(as_int16(given), FRAME))
        state = speex.speex_preprocess_state_init(FRAME, SAMPLE_RATE)
        try:
            most = ctypes.c_int(self.suppress_db)
            speex.speex_preprocess_ctl(state, 18, ctypes.byref(most))  # SPEEX_PREPROCESS_SET_NOISE_SUPPRESS
            for frame in frames:  # in place
                speex.speex_preprocess_run(state, frame.ctypes.data)
        finally:
            speex.speex_preprocess_state_destroy(state)
        return as_float(frames.reshape(-1))


@lru_cache(maxsize=1)
def _speex() -> ctypes.CDLL:
    """The C library, whose noise suppression in dB the package's own interface leaves out."""
    try:
        files = metadata.files("speexdsp_ns") or []
        found = next(file for file in files if file.name.startswith("libspeexdsp"))
    except (metadata.PackageNotFoundError, StopIteration) as error:
        raise missing_extra("SpeexDSP", "corpus") from error
    library = ctypes.CDLL(str(found.locate()))
    pointer = ctypes.c_void_p
    library.speex_preprocess_state_init.restype = pointer
    library.speex_preprocess_state_init.argtypes = [ctypes.c_int, ctypes.c_int]
    library.speex_preprocess_ctl.argtypes = [pointer, ctypes.c_int, pointer]
    library.speex_preprocess_run.argtypes = [pointer, pointer]
    library.speex_preprocess_state_destroy.argtypes = [pointer]
    return library
