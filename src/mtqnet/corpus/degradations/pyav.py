"""Samples -> packets -> samples, by an encoder and a decoder of FFmpeg (package `av`).

Both run in memory, on one thread and with FFmpeg's bit-exact flag: equal samples in are equal samples out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.errors import missing_extra

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

Samples = NDArray[np.float32]
Options = tuple[tuple[str, str], ...]
"""FFmpeg's names and values"""

FULL_SCALE_16 = 32768
"""Full scale of 16-bit PCM"""
PCM_FRAME = 1024
"""Samples a packet where the encoder leaves its size open"""
COMMON: Options = (("threads", "1"), ("flags", "+bitexact"), ("strict", "experimental"))
"""What every coder is told. `strict` lets encoders work that FFmpeg calls experimental (Vorbis)."""


@dataclass(frozen=True)
class Coder:
    """An encoder and its decoder."""

    encoder: str
    """FFmpeg's name"""
    decoder: str
    delay: int
    """Samples at 16 kHz by which `coded` is late."""
    rate: int = SAMPLE_RATE
    """Hz, at which the encoder is fed"""
    sample_format: str = "s16"
    """"s16", "flt" or "fltp": what the encoder takes"""
    layout: str = "mono"
    """"stereo" for encoders that know nothing else: the signal goes in twice, and the left one comes out"""
    bit_rate: int = 0
    """Bits a second; 0: the options say it."""
    encoder_options: Options = ()
    decoder_options: Options = ()


@dataclass(frozen=True)
class Stream:
    """What goes over the wire."""

    packets: tuple[bytes, ...]
    extradata: bytes
    """Headers that a decoder needs before the first packet (AAC, Opus, Vorbis)."""


def coded(samples: Samples, coder: Coder) -> Samples:
    """(samples,) at 16 kHz, full scale 1 -> what the decoder gives: about as many, `coder.delay` later.

    Raises MissingExtraError without PyAV.
    """
    given = resample(samples, SAMPLE_RATE, coder.rate)
    decoded, rate = decode(encode(given, coder), coder)
    return resample(decoded, rate, SAMPLE_RATE)


def encode(samples: Samples, coder: Coder) -> Stream:
    """(samples,) at `coder.rate` -> packets."""
    encoder = _context(coder.encoder, "w", coder)
    encoder.format = coder.sample_format
    if coder.bit_rate:
        encoder.bit_rate = coder.bit_rate
    encoder.options = dict((*COMMON, *coder.encoder_options))
    encoder.open()
    packets = [
        packet
        for frame in _frames(samples, encoder.frame_size or PCM_FRAME, coder)
        for packet in encoder.encode(frame)
    ]
    packets += encoder.encode(None)
    return Stream(tuple(bytes(packet) for packet in packets), encoder.extradata or b"")


def decode(stream: Stream, coder: Coder) -> tuple[Samples, int]:
    """Packets -> (samples,) and their rate in Hz, which is the decoder's choice (Opus: 48 kHz)."""
    av = _av()
    decoder = _context(coder.decoder, "r", coder)
    if stream.extradata:
        decoder.extradata = stream.extradata
    decoder.options = dict((*COMMON, *coder.decoder_options))
    decoder.open()
    packets = [*(av.Packet(packet) for packet in stream.packets), None]
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return np.concatenate([_first_channel(frame) for frame in frames]), int(frames[0].sample_rate)


def pcm16(samples: Samples) -> NDArray[np.int16]:
    """Full scale 1 -> 16 bit, rounded; what is louder is clipped."""
    scaled = np.rint(samples.astype(np.float64) * FULL_SCALE_16)
    return np.clip(scaled, -FULL_SCALE_16, FULL_SCALE_16 - 1).astype(np.int16)


def _context(name: str, mode: str, coder: Coder) -> AudioCodecContext:
    context = cast("AudioCodecContext", _av().CodecContext.create(name, mode))
    context.sample_rate = coder.rate
    context.layout = coder.layout
    return context


def _frames(samples: Samples, size: int, coder: Coder) -> Iterator[Any]:
    """Frames of `size` samples each, the last filled up with silence."""
    av = _av()
    padded = np.pad(samples, (0, -len(samples) % size))
    values = pcm16(padded) if coder.sample_format == "s16" else padded
    planes = 2 if coder.layout == "stereo" else 1
    for start in range(0, len(values), size):
        block = np.tile(values[start : start + size], (planes, 1))
        frame = av.AudioFrame.from_ndarray(block, format=coder.sample_format, layout=coder.layout)
        frame.sample_rate, frame.pts = coder.rate, start
        yield frame


def _first_channel(frame: Any) -> Samples:
    array = frame.to_ndarray()  # (channels, samples), or (1, samples * channels) for interleaved formats
    first = array[0] if frame.format.is_planar else array[0, :: frame.layout.nb_channels]
    scale = FULL_SCALE_16 if array.dtype == np.int16 else 1
    return np.asarray(first / np.float32(scale), dtype=np.float32)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise missing_extra("coding speech", "corpus") from error
    return av
