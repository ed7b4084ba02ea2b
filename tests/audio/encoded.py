"""Small files in formats that libsndfile cannot write, for tests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODECS = {
    "m4a": ("ipod", "aac", 44_100),
    "mp4": ("mp4", "aac", 48_000),
    "3gp": ("3gp", "aac", 16_000),
    "aac": ("adts", "aac", 16_000),
    "44.aac": ("adts", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "mka": ("matroska", "libopus", 48_000),
    "amr": ("amr", "libopencore_amrnb", 8_000),
    "g722.wav": ("wav", "g722", 16_000),
}
"""FFmpeg's muxer, encoder and a sample rate in Hz, by suffix"""


def encode(samples: NDArray[np.float32], suffix: str, **options: str) -> bytes:
    """Encode (samples,), at the rate that CODECS gives for the suffix, with options of the muxer."""
    import av

    muxer, codec, rate = CODECS[suffix]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoded"
        with av.open(str(path), "w", format=muxer, options=options) as container:
            stream: Any = container.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = rate
            size = stream.codec_context.frame_size or None
            convert = av.AudioResampler(stream.codec_context.format, layout="mono", rate=rate, frame_size=size)
            for part in [*convert.resample(frame), *convert.resample(None)]:
                for packet in stream.encode(part):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return path.read_bytes()
