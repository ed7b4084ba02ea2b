"""Turn recordings of any form into utterances and noise files at 16 kHz, and measure their quality.

Speech is trimmed. Long recordings are cut at pauses, and single words of one speaker are joined, so that an utterance
lasts 3 to 10 seconds. The measures decide what may serve as a clean reference:

contrast      level of the louder half of the frames over the quietest twentieth, in dB
bandwidth     highest frequency whose smoothed power is within 65 dB of the largest, in Hz
clipped       fraction of the source's samples that lie at full scale
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from scipy.signal import welch

RATE = 16_000
"""Hz"""
FRAME = 320
"""Samples: 20 ms"""
FLOOR_DB = -100.0
MARGIN_S = 0.12
"""Background that is left before and after speech"""
FADE_S = 0.01
"""At the edges of each joined word"""
PAUSE_S = 0.25
"""Shortest gap at which a long recording may be cut"""
MIN_S, MAX_S = 3.0, 10.0
"""Length of an utterance"""
SHORTEST_S = 2.0
"""A remainder or a short sentence below this length is dropped: the corpus builder would not use it."""
MIN_CONTRAST_DB = 30.0
MAX_CLIPPED = 1e-3
BANDWIDTH_DB = 65.0
NOISE_PIECE_S, NOISE_MOST_S, NOISE_SHORTEST_S = 60.0, 300.0, 1.0
"""A noise recording is cut into pieces, and no more than its first minutes are used."""
NOISE_SILENT_DB = -65.0
"""A noise piece is dropped unless a quarter of its frames exceed this level."""
SPEECH_PEAK, NOISE_PEAK = 0.7, 0.7

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Quality:
    """Measures of one utterance."""

    contrast_db: float
    bandwidth_hz: int


def decode(data: bytes, suffix: str) -> tuple[Samples, float]:
    """Return (mono samples at 16 kHz, clipped fraction). Raises ValueError if the bytes are not audio."""
    try:
        if suffix in (".g722", ".m4a", ".gsm", ".webm", ".3gp", ".caf"):
            wave, rate = _decode_av(data, suffix)
        else:
            wave, rate = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError, RuntimeError, TypeError) as error:
        raise ValueError(f"cannot be decoded as audio: {error}") from error
    if len(wave) == 0 or not np.isfinite(wave).all():
        raise ValueError("contains no samples, or samples that are not finite")
    peak = float(np.abs(wave).max())
    clipped = float(np.mean(np.abs(wave) >= 0.999 * peak)) if peak >= 0.98 else 0.0
    mono = wave.mean(axis=1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32), clipped


def levels(samples: Samples) -> NDArray[np.float64]:
    """Return the level of each frame of 20 ms, in dB of full scale."""
    frames = len(samples) // FRAME
    power = np.mean(samples[: frames * FRAME].astype(np.float64).reshape(frames, FRAME) ** 2, axis=1)
    return np.asarray(10 * np.log10(power + 10 ** (FLOOR_DB / 10)))


def measure(samples: Samples) -> Quality:
    """Return contrast and bandwidth of an utterance."""
    level = np.sort(levels(samples))
    if len(level) < 10:
        return Quality(0.0, 0)
    loud = 10 * np.log10(np.mean(10 ** (level[len(level) // 2 :] / 10)))
    contrast = loud - level[len(level) // 20]
    frequencies, power = welch(samples, RATE, nperseg=1024)
    smooth = np.convolve(power, np.ones(13) / 13, mode="same")
    strong = np.flatnonzero(smooth >= smooth.max() * 10 ** (-BANDWIDTH_DB / 10))
    return Quality(round(float(contrast), 1), int(frequencies[strong[-1]]))


def trim(samples: Samples) -> Samples:
    """Return the samples from the first to the last active frame with a margin. Empty if nothing is active."""
    runs = _runs(samples, 0.0)
    return samples[_start(runs[0][0]) : _stop(runs[-1][1])] if runs else samples[:0]


def utterances(samples: Samples) -> Iterator[Samples]:
    """Yield pieces of a long recording, cut in pauses, each of 2 to 10 seconds."""
    runs = [part for run in _runs(samples, PAUSE_S) for part in _divide(samples, *run)]
    group: list[tuple[int, int]] = []
    for run in runs:
        if group and (run[1] - group[0][0]) * FRAME > (MAX_S - 2 * MARGIN_S) * RATE:
            yield from _piece(samples, group)
            group = []
        group.append(run)
    if group:
        yield from _piece(samples, group)


def join(words: Iterable[Samples], seed: int) -> Iterator[tuple[int, Samples]]:
    """Yield (number of the first word, utterance): trimmed words in order until 3 to 10 seconds are reached.

    Each word keeps its own background before and after it, with a fade of 10 ms, so that the pauses between words
    are not digital silence.
    """
    rng = np.random.default_rng(seed)
    target, parts, first = rng.uniform(MIN_S, 8.0), list[Samples](), 0
    for number, word in enumerate(words):
        piece = _faded(trim(word))
        if not 0.25 * RATE <= len(piece) <= MAX_S * RATE:
            continue
        if parts and sum(map(len, parts)) + len(piece) > MAX_S * RATE:
            yield first, np.concatenate(parts)
            parts = []
        if not parts:
            first = number
        parts.append(piece)
        if sum(map(len, parts)) >= target * RATE:
            yield first, np.concatenate(parts)
            target, parts = rng.uniform(MIN_S, 8.0), []
    if parts and sum(map(len, parts)) >= SHORTEST_S * RATE:
        yield first, np.concatenate(parts)


def pieces_of_noise(samples: Samples) -> Iterator[Samples]:
    """Yield pieces of a noise recording of at most a minute; stretches that are silent are left out."""
    samples = samples[: round(NOISE_MOST_S * RATE)]
    count = max(1, round(len(samples) / (NOISE_PIECE_S * RATE)))
    for piece in np.array_split(samples, count):
        if len(piece) >= NOISE_SHORTEST_S * RATE and np.percentile(levels(piece), 75) > NOISE_SILENT_DB:
            yield piece


def scaled(samples: Samples, peak: float) -> Samples:
    """Return the samples with this peak."""
    return samples * np.float32(peak / max(float(np.abs(samples).max()), 1e-6))


def _decode_av(data: bytes, suffix: str) -> tuple[Samples, int]:
    import av

    form = {".g722": "g722", ".gsm": "gsm"}.get(suffix)
    try:
        with av.open(io.BytesIO(data), format=form) as container:
            frames = [frame.to_ndarray() for frame in _as_float(container)]
            rate = int(container.streams.audio[0].rate)
    except (av.FFmpegError, IndexError) as error:
        raise OSError(str(error)) from error
    wave = np.concatenate(frames, axis=1).T if frames else np.zeros((0, 1))
    return wave.astype(np.float32), rate


def _as_float(container: Any) -> Iterator[Any]:
    import av

    resampler = av.AudioResampler(format="fltp")
    for frame in container.decode(audio=0):
        yield from resampler.resample(frame)


def _runs(samples: Samples, gap_s: float) -> list[tuple[int, int]]:
    """Return the active stretches, in frames; those with a gap of less than `gap_s` between them are one."""
    level = levels(samples)
    if len(level) < 5:
        return []
    low, loud = np.percentile(level, [10, 95])
    active = np.flatnonzero(level > min(max(loud - 40, low + 6), loud - 12))
    if len(active) == 0 or loud < -70:
        return []
    cuts = np.flatnonzero(np.diff(active) > max(1, round(gap_s * RATE / FRAME)))
    starts = active[np.concatenate([[0], cuts + 1])]
    stops = active[np.concatenate([cuts, [len(active) - 1]])] + 1
    return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def _divide(samples: Samples, start: int, stop: int) -> list[tuple[int, int]]:
    """Cut a stretch without pauses that is too long at its quietest frame."""
    most = round((MAX_S - 2 * MARGIN_S) * RATE / FRAME)
    if stop - start <= most:
        return [(start, stop)]
    level = levels(samples[start * FRAME : stop * FRAME])
    cut = start + most // 2 + int(np.argmin(level[most // 2 : most]))
    return [(start, cut), *_divide(samples, cut, stop)]


def _piece(samples: Samples, group: Sequence[tuple[int, int]]) -> Iterator[Samples]:
    piece = samples[_start(group[0][0]) : _stop(group[-1][1])]
    if len(piece) >= SHORTEST_S * RATE:
        yield _faded(piece)


def _start(frame: int) -> int:
    return max(0, frame * FRAME - round(MARGIN_S * RATE))


def _stop(frame: int) -> int:
    return frame * FRAME + round(MARGIN_S * RATE)


def _faded(samples: Samples) -> Samples:
    fade = min(round(FADE_S * RATE), len(samples) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    faded = samples.copy()
    faded[:fade] *= ramp
    faded[len(faded) - fade :] *= ramp[::-1]
    return faded
