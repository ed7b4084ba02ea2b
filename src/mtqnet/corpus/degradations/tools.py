"""Classic noise reducers of other packages, as black boxes.

Each has a constant DELAY, samples at 16 kHz by which it is late: measured on speech, and pinned by a test.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.coding import TAIL, fitted, through
from mtqnet.corpus.degradations.step import Samples, Tracks, as_float, as_int16, in_frames, uniform
from mtqnet.corpus.pool import Pool
from mtqnet.errors import missing_extra

Tool = Callable[[Samples], Samples]
FRAME = 160
"""Samples, 10 ms: what WebRTC takes at a time; SpeexDSP takes any number."""
SPEEX_SET_NOISE_SUPPRESS = 18
"""Request of speex_preprocess_ctl: an int in dB (speex_preprocess.h)."""

SECOND_PASS_CHANCE = 0.2
"""How often a tool runs twice, as when both ends of a call reduce noise"""


@dataclass(frozen=True)
class NoiseReduce:
    """Spectral gating (Sainburg, Thielk and Gentner 2020) by the package noisereduce, MIT.

    `share` is the fraction of the detected noise that is removed; `stationary` uses one threshold per frequency
    for the whole clip or moves with the sound.
    """

    share: float
    stationary: bool

    DELAY = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> NoiseReduce:  # noqa: ARG003
        return cls(uniform(rng, 0.4, 1.0), bool(rng.random() < 0.5))

    @classmethod
    def full(cls, rng: np.random.Generator) -> NoiseReduce:
        """All of what is taken for noise goes, the default of the package."""
        return cls(1.0, bool(rng.random() < 0.5))

    def __call__(self, tracks: Tracks) -> Tracks:
        return through(tracks, self.process, self.DELAY)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> without the last TAIL: silence behind the clip is no noise to learn from."""
        try:
            from noisereduce import reduce_noise
        except ImportError as error:
            raise missing_extra("noisereduce", "corpus") from error
        sound = given[:-TAIL]
        out = reduce_noise(sound, SAMPLE_RATE, stationary=self.stationary, prop_decrease=self.share, n_jobs=1)
        return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True)
class WebRtc:
    """The audio processing of WebRTC by the package webrtc-noise-gain, BSD (Google) and Apache-2.0 (package).

    `level` 1 to 4 is its noise suppression (4: beyond what calls use), 0 none; `auto_gain` the target of its gain
    control in dB below full scale, 0 none; `passes` is the number of such devices in series.
    """

    level: int
    auto_gain: int
    passes: int

    DELAY = 96

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> WebRtc:  # noqa: ARG003
        gain = int(rng.integers(3, 32)) if rng.random() < 0.3 else 0
        return cls(int(rng.integers(1, 5)), gain, draw_passes(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> WebRtc:
        """Moderate to very high suppression, without gain control."""
        return cls(int(rng.integers(2, 5)), 0, 1)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, 1.0, self.passes)

    def process(self, given: Samples) -> Samples:
        try:
            from webrtc_noise_gain import AudioProcessor
        except ImportError as error:
            raise missing_extra("WebRTC noise suppression", "corpus") from error
        processor = AudioProcessor(self.auto_gain, self.level)
        pieces = [processor.Process10ms(frame.tobytes()).audio for frame in in_frames(as_int16(given), FRAME)]
        return as_float(np.frombuffer(b"".join(pieces), dtype=np.int16))


@dataclass(frozen=True)
class SpeexDsp:
    """The preprocessor of SpeexDSP (Valin 2007), BSD, by the library inside the package speexdsp-ns.

    `suppress_db` is the most that it takes off the noise, in dB below 0 (its own default: -15).
    """

    suppress_db: int
    passes: int

    DELAY = 160

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> SpeexDsp:  # noqa: ARG003
        return cls(-int(rng.integers(6, 61)), draw_passes(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> SpeexDsp:
        """At least as strong as its default."""
        return cls(-int(rng.integers(15, 41)), 1)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, 1.0, self.passes)

    def process(self, given: Samples) -> Samples:
        library = _speex()
        frames = np.ascontiguousarray(in_frames(as_int16(given), FRAME))
        state = library.speex_preprocess_state_init(FRAME, SAMPLE_RATE)
        try:
            most = ctypes.c_int(self.suppress_db)
            library.speex_preprocess_ctl(state, SPEEX_SET_NOISE_SUPPRESS, ctypes.byref(most))
            for frame in frames:  # in place
                library.speex_preprocess_run(state, frame.ctypes.data)
        finally:
            library.speex_preprocess_state_destroy(state)
        return as_float(frames.reshape(-1))


def reduced(tracks: Tracks, tool: Tool, delay: int, wet: float, passes: int) -> Tracks:
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


def at_input_level(out: Samples, given: Samples, delay: int) -> Samples:
    """The output of a tool that sets its own level, at the level and with the polarity of its input.

    The gain is that of least squares. Networks trained on scale-invariant measures may turn the polarity.
    """
    late = fitted(out, delay, len(given)).astype(np.float64)
    power = float(late @ late)
    gain = float(late @ given) / power if power > 0 else 1.0
    return np.asarray(out * np.float32(gain or 1.0), dtype=np.float32)


def draw_passes(rng: np.random.Generator) -> int:
    return 2 if rng.random() < SECOND_PASS_CHANCE else 1


@lru_cache(maxsize=1)
def _speex() -> ctypes.CDLL:
    """The C library, whose noise suppression in dB the package's own interface leaves out."""
    try:
        files = metadata.files("speexdsp_ns") or []
    except metadata.PackageNotFoundError as error:
        raise missing_extra("SpeexDSP", "corpus") from error
    found = [file for file in files if file.name.startswith("libspeexdsp")]
    if not found:
        raise missing_extra("SpeexDSP", "corpus")
    library = ctypes.CDLL(str(found[0].locate()))
    pointer = ctypes.c_void_p
    library.speex_preprocess_state_init.restype = pointer
    library.speex_preprocess_state_init.argtypes = [ctypes.c_int, ctypes.c_int]
    library.speex_preprocess_ctl.argtypes = [pointer, ctypes.c_int, pointer]
    library.speex_preprocess_run.argtypes = [pointer, pointer]
    library.speex_preprocess_state_destroy.argtypes = [pointer]
    return library
