"""Samples -> packets -> samples, by an encoder and a decoder of FFmpeg (package `av`).

Both run in memory, on one thread and with FFmpeg's bit-exact flag: equal samples in are equal samples out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.step import FULL_SCALE, as_int16
from mtqnet.errors import missing_extra

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

Samples = NDArray[np.float32]
Options = tuple[tuple[str, str], ...]
"""FFmpeg's names and values"""

OFFSET_8 = 128
"""Silence in unsigned 8-bit PCM"""
PCM_FRAME = 1024
"""Samples a packet where the encoder leaves its size open"""
COMMON: Options = (("threads", "1"), ("flags", "+bitexact"), ("strict", "experimental"))
"""Options of every encoder. `strict` enables encoders that FFmpeg calls experimental (Vorbis)."""


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
    """What the encoder takes, by the names of FFmpeg: s16, s16p, s32p, u8, flt or fltp"""
    layout: str = "mono"
    """"stereo" for stereo-only encoders: the signal is used for both channels, and the left one is returned"""
    bit_rate: int = 0
    """Bits per second; 0: defined by the options."""
    encoder_options: Options = ()
    decoder_options: Options = ()
    container: str = ""
    """Format of a file in between, for decoders that need more than the packets (WMA: "asf")"""
    trim: int = 0
    """Samples at the rate of the decoder that are dropped in front, for delays of less than a sample at 16 kHz"""
    lead: int = 0
    """Samples of silence at 16 kHz in front, for decoders that lose the beginning; `delay` is measured with it."""


@dataclass(frozen=True)
class Stream:
    """What goes over the wire."""

    packets: tuple[bytes, ...]
    extradata: bytes
    """Headers that a decoder needs before the first packet (AAC, Opus, Vorbis)."""


def coded(samples: Samples, coder: Coder) -> Samples:
    """(samples,) at 16 kHz, full scale 1 -> output of the decoder: about as many samples, `coder.delay` later.

    Raises MissingExtraError without PyAV.
    """
    given = resample(np.pad(samples, (coder.lead, 0)), SAMPLE_RATE, coder.rate)
    if coder.container:
        return resample(_filed(given, coder), coder.rate, SAMPLE_RATE)
    decoded, rate = decode(encode(given, coder), coder)
    return resample(decoded[coder.trim :], rate, SAMPLE_RATE)


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


def _filed(samples: Samples, coder: Coder) -> Samples:
    """(samples,) at `coder.rate` -> output of the decoder for a file in memory."""
    av, file = _av(), BytesIO()
    with av.open(file, "w", format=coder.container, container_options={"fflags": "+bitexact"}) as writer:
        stream = writer.add_stream(coder.encoder, rate=coder.rate, options=dict((*COMMON, *coder.encoder_options)))
        stream.layout, stream.format, stream.bit_rate = coder.layout, coder.sample_format, coder.bit_rate
        stream.codec_context.open()
        for frame in _frames(samples, stream.codec_context.frame_size or PCM_FRAME, coder):
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, format=coder.container) as reader:
        reader.streams.audio[0].thread_type = "NONE"
        return np.concatenate([_first_channel(frame) for frame in reader.decode(audio=0)])


def _context(name: str, mode: str, coder: Coder) -> AudioCodecContext:
    context = cast("AudioCodecContext", _av().CodecContext.create(name, mode))
    context.sample_rate = coder.rate
    context.layout = coder.layout
    return context


def _frames(samples: Samples, size: int, coder: Coder) -> Iterator[Any]:
    """Frames of `size` samples each, the last filled up with silence."""
    av = _av()
    padded = np.pad(samples, (0, -len(samples) % size))
    values = _as_format(padded, coder.sample_format)
    planes = 2 if coder.layout == "stereo" else 1
    for start in range(0, len(values), size):
        block = np.tile(values[start : start + size], (planes, 1))
        frame = av.AudioFrame.from_ndarray(block, format=coder.sample_format, layout=coder.layout)
        frame.sample_rate, frame.pts = coder.rate, start
        yield frame


def _as_format(samples: Samples, sample_format: str) -> NDArray[Any]:
    """Full scale 1 -> the numbers of FFmpeg's sample format."""
    kind = sample_format.removesuffix("p")
    if kind == "s16":
        return as_int16(samples)
    if kind == "s32":
        return as_int16(samples).astype(np.int32) << 16
    if kind == "u8":
        return ((as_int16(samples) >> 8) + OFFSET_8).astype(np.uint8)
    return samples


def _first_channel(frame: Any) -> Samples:
    array = frame.to_ndarray()  # (channels, samples), or (1, samples * channels) for interleaved formats
    first = array[0] if frame.format.is_planar else array[0, :: frame.layout.nb_channels]
    if array.dtype == np.uint8:
        return np.asarray((first.astype(np.float32) - OFFSET_8) / OFFSET_8, dtype=np.float32)
    scale = {np.dtype(np.int16): FULL_SCALE, np.dtype(np.int32): FULL_SCALE << 16}.get(array.dtype, 1)
    return np.asarray(first / np.float32(scale), dtype=np.float32)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise missing_extra("coding speech", "corpus") from error
    return av
