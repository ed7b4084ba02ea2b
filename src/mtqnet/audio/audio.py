"""Any file or array -> mono float32 at 16 kHz."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import ArrayLike, NDArray

from mtqnet.errors import EmptyAudioError, MissingFileError, NotFiniteError, UnreadableError, UsageError

SAMPLE_RATE = 16_000
"""Hz. Every feature, label and weight of this package lives at this rate."""
MIN_RATE, MAX_RATE = 4_000, 768_000
"""Hz. Rates outside are typing errors, not recordings."""
MAX_CHANNELS = 64
"""A second axis longer than this is time, not channels."""
CANCEL_POWER = 1e-3
"""-30 dB. Independent channels lose 10 log10(channels) when averaged, 18 dB for MAX_CHANNELS; one silent partner
loses 6 dB. More is cancellation: a wire the wrong way round."""

QUALITY = "HQ"
"""Of soxr: 20 bits"""
EMPTY = "holds no samples: the header is there, the sound is not"

SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".wve", ".sph", ".nist", ".voc", ".avr"}
)
"""What a folder is searched for. A file that is named outright is read whatever its name."""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """Mono samples at SAMPLE_RATE, and what they came from."""

    samples: Samples
    """Shape (samples,), full scale is 1."""
    source_rate: int
    """Hz"""
    source_channels: int
    channels_cancel: bool = False
    """The mean of the channels would be next to nothing (one is the other's negative): these are the loudest's."""

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def read(path: str | Path) -> Recording:
    """Read any file that libsndfile reads.

    Raises MissingFileError, UnreadableError, EmptyAudioError or NotFiniteError.
    """
    path = Path(path)
    with readable(path):
        samples, rate = sf.read(file_name(path), dtype="float32", always_2d=True)
    _need_rate(rate)
    return _record(samples, rate)


@dataclass(frozen=True)
class Header:
    """What a file says of itself; its end may come earlier."""

    rate: int
    """Hz"""
    duration_s: float


def header(path: Path) -> Header:
    """The header of a file. Raises what `read` raises for a file that cannot be opened."""
    with readable(path), sf.SoundFile(file_name(path)) as file:
        found = Header(file.samplerate, file.frames / file.samplerate)
    _need_rate(found.rate)
    return found


def file_name(path: Path) -> str | bytes:
    """As soundfile takes it: text would have to be UTF-8, which a name need not be."""
    return str(path) if os.name == "nt" else os.fsencode(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what soundfile says of a file into MissingFileError, EmptyAudioError or UnreadableError."""
    if not path.exists():
        raise MissingFileError("no such file: check the path")
    if path.is_dir():
        raise UnreadableError("is a folder: name its files, or give the folder to `mtqnet score`")
    if path.stat().st_size == 0:
        raise EmptyAudioError("the file is empty (0 bytes): record or copy it again")
    try:
        yield
    except TypeError as error:  # soundfile wants to be told rate and channels of a .raw file
        raise UnreadableError("has no header: convert it to WAV, or give its samples and rate") from error
    except (sf.LibsndfileError, OSError, RuntimeError) as error:
        raise UnreadableError(f"not an audio file that libsndfile reads ({_short(error)})") from error


def _need_rate(rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnreadableError(f"its header says {rate} Hz, expected {MIN_RATE} to {MAX_RATE}: mend it")


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a file: where a corpus keeps one clip."""

    path: Path
    start: int = 0
    """Sample, at the file's own rate"""
    samples: int | None = None
    """None: to the end"""


def read_excerpt(excerpt: Excerpt) -> Samples:
    """Mono samples at SAMPLE_RATE of a stretch. Raises what `read` raises, and UnreadableError beyond the end."""
    if excerpt.start == 0 and excerpt.samples is None:
        return read(excerpt.path).samples
    if not excerpt.path.exists():
        raise MissingFileError(f"no such file {excerpt.path}: was the corpus moved or cut?")
    try:
        samples, rate = sf.read(
            excerpt.path, frames=excerpt.samples or -1, start=excerpt.start, dtype="float32", always_2d=True
        )
    except (sf.LibsndfileError, OSError, RuntimeError) as error:
        raise UnreadableError(f"{excerpt.path} cannot be read ({_short(error)})") from error
    if excerpt.samples is not None and len(samples) < excerpt.samples:
        raise UnreadableError(f"{excerpt.path} ends before sample {excerpt.start + excerpt.samples}")
    return _record(samples, rate).samples


def need_no_rate(rate: float | None) -> None:
    """Raise UsageError where a rate is given beside a path."""
    if rate is not None:
        raise UsageError("a file says its rate itself: leave `rate` out")


def need_rate(rate: float) -> None:
    """Raise UsageError for a rate that no recording has."""
    if not np.isfinite(rate) or not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(f"rate {rate!r} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")


def from_array(array: ArrayLike, rate: float | None) -> Recording:
    """Take samples, shape (samples,) or (samples, channels), at `rate` Hz.

    Integer arrays are scaled by their full scale (int16 by 32768), float arrays are taken as they are.
    Raises UsageError for a missing or impossible rate or a shape that is no recording, EmptyAudioError or
    NotFiniteError for what is in it.
    """
    if rate is None:
        raise UsageError("an array needs its rate in Hz: score(array, rate=16000)")
    need_rate(rate)
    samples = as_float(np.asarray(array))
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2:
        raise UsageError(f"expected (samples,) or (samples, channels), got shape {np.shape(array)}")
    if samples.shape[1] > MAX_CHANNELS or 0 < len(samples) < samples.shape[1]:
        raise UsageError(f"shape {np.shape(array)} looks like (channels, samples): give array.T")
    return _record(samples, rate)


def _record(samples: Samples, rate: float) -> Recording:
    if samples.size == 0:
        raise EmptyAudioError(EMPTY)
    need_finite(not_finite(samples))
    mono = samples.mean(axis=1, dtype=np.float32)
    powers = np.mean(np.square(samples, dtype=np.float64), axis=0)
    cancel = bool(np.mean(np.square(mono, dtype=np.float64)) < CANCEL_POWER * powers.max())
    if cancel:
        mono = samples[:, int(powers.argmax())]
    return Recording(resample(mono, rate, SAMPLE_RATE), round(rate), samples.shape[1], cancel)


def not_finite(samples: Samples) -> int:
    """(samples, channels) -> how many are NaN or infinite, in any channel."""
    finite = np.isfinite(samples)
    return 0 if finite.all() else int(np.count_nonzero(~finite.all(axis=1)))


def need_finite(bad: int) -> None:
    """Raise NotFiniteError where samples are no numbers."""
    if bad:
        raise NotFiniteError(f"{bad} samples are NaN or infinite: mend what wrote the recording")


def resample(samples: Samples, source: float, target: float) -> Samples:
    """Shape (samples,) at `source` Hz -> (samples * target / source,) at `target` Hz, by soxr (HQ)."""
    if source == target:
        return np.ascontiguousarray(samples, dtype=np.float32)
    import soxr  # here, as most files are at SAMPLE_RATE

    return np.asarray(soxr.resample(samples, source, target, quality=QUALITY), dtype=np.float32)


def resample_stream(source: float, channels: int = 1) -> Any:
    """A soxr.ResampleStream to SAMPLE_RATE: `resample_chunk` gives what `resample` would, piece by piece."""
    import soxr

    return soxr.ResampleStream(source, SAMPLE_RATE, channels, dtype="float32", quality=QUALITY)


def as_float(array: NDArray[Any]) -> Samples:
    """Any shape: floats as they are, integers divided by their full scale. Raises UsageError for other types."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which _record refuses in words
            return array.astype(np.float32)
    if array.dtype.kind == "i":
        scaled: Samples = (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
        return scaled
    if array.dtype == np.uint8:  # unsigned PCM, zero at 128
        return ((array.astype(np.float32)) - 128.0) / 128.0
    raise UsageError(f"samples of type {array.dtype} are not audio: give float or signed integer samples")


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[-1].split(": ")[-1].rstrip(".") if text else type(error).__name__
