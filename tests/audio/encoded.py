"""Small files in formats that libsndfile cannot write, for tests."""

from __future__ import annotations

import base64
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
    "wma": ("asf", "wmav2", 44_100),
    "avi": ("avi", "pcm_s16le", 16_000),
    "mp3.avi": ("avi", "libmp3lame", 44_100),
    "mkv": ("matroska", "pcm_s16le", 16_000),
    "flv": ("flv", "nellymoser", 16_000),
    "ac3": ("ac3", "ac3", 48_000),
    "tta": ("tta", "tta", 16_000),
    "wv": ("wv", "wavpack", 16_000),
    "mpg": ("mpeg", "mp2", 44_100),
    "mts": ("mpegts", "aac", 44_100),
    "mp3.wav": ("wav", "libmp3lame", 16_000),
}
"""FFmpeg's muxer, encoder and a sample rate in Hz, by suffix"""

AMR_WB = base64.b64decode(
    "IyFBTVItV0IKBNYJF88nJguv87OSj//4+K2gBMVJ8md/vEkv34OeUM4U+n0gBNPJ3md/pCkv75OZr2DDZ4GABM+J5KdvvEsv56OZgJxvzwCQ"
    "BN1Jti1LpCgvx4OT6iwNPzrQBNcJiOkbpAgv94OYYIhjR+yQBNiJCAkV2B9v5rIpcAiM4+sQBKA9ABiZKVGYZ17ZEAQAlIAwBBASACkf+3HB"
    "2H7feLigOMQQBBA5ADAddmBC3z1cMAAYkQEQBAAQACicIVdQ+F7bYpZFEpEwBBAwACgdRsOC5y1RdgQGAGBABNEBABkeBQ8v64OcsZUQQ7Uw"
    "BNVJ+Hd+Ryov07OVWOiYKhWQBNnJ9u9+Rw/v76ORtMHvhRdwBNHJ/u99aEpvx7Oaftba7foQBNuJeW1KRw3v75Oant7ec3wABM6JyQ8vfEhv"
    "x4OQs+SDgUeABNZJiKEcS0/v67OcdqnMILTwBIAPADkBGBuudzPQ8AAQHFDgBCAQACmdn7HAX1SfsDEr3ZcABBAQACEeGJAB4E7bQKAYgUQA"
    "BAAxADmchoBE2zlfSKCAAGggBBAwACkckHNV9E7bKjIgODggBAAwADGdTSUEyyld4BCACFjQBNNIcOM/0QovQIA8buVSG1uABNzI8+99aIp3"
    "RIA6pitxlDOgBNnI9u98S23naLG64opYmB3QBNDI/qd9SY93dIGyqYqIgO6ABMaIkodyR27pWJG3O87c1tHABNsIZeFRSY1XVYGw4cBFxFhw"
    "BNiuDAkDQC8/14OcVIQKAC5QBJA/ADGQzpBVZBxksAACEBCwBAAxADGcZsRF2HrcwIAJsNrQBBAwACAcRMACwx1ewVEQEVAQBARxQDWMbSQE"
    "9FrbYIQgwLYABBAwADAd5sZDwxVXQCAAIODABAAwACGdDiHE8HrcMAmAAsmwBBAwACgc5cfD+wVXMJBAQMBABAAxACmdryEE6ErTQGQEBAAA"
    "BBAwACAcxMbD8zVXAJVUEFTwBAAwACGdbSXE5GrYtORxQUBABBAwADAcpccD8xVUsOR0VMTABAAwACmcTCME+GrdUCAAEJjwBBAxADAcxsdD"
    "9xVXBIAEgMSABAAxADGcziJE7ErewEAgQABABBAwACAcxMID8xVX0DIAGBgwBAAxACmcDiaEyGrT0hRkQlIgBBAxACgc58PD8zVQ0BISIggw"
    "BAAxADGcDyeEyGrdIcAByOjA"
)
"""One second of the voice of tests/conftest.py at -20 dBov, in AMR-WB at 6.6 kbit/s; FFmpeg has no encoder"""

SPEEX = base64.b64decode(
    "T2dnUwACAAAAAAAAAAAAAAAAAAAAANLgrrsBUFNwZWV4ICAgMS4yLjEAAAAAAAAAAAAAAAAAAAABAAAAUAAAAEAfAAAAAAAABAAAAAEAAABmCA"
    "AAoAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAT2dnUwAAAAAAAAAAAAAAAAAAAQAAANnNLHsBJwYAAABmZm1wZWcBAAAAFQAAAGVuY29kZXI9TGF2"
    "YyBsaWJzcGVleE9nZ1MABBgfAAAAAAAAAAAAAAIAAADX3UP7MgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBg"
    "YGBgYGD0GEDAAPCJVCigIPCdukIAAPCcq2IAAPC5gl5AAPD00EJAAPC5g0JAAPC5gkGAAPC5hOCAAPCoJGDAYPC0EiCBYPCFDAY2APCctmZ2IP"
    "D1gQbyYPD1gEb2IPD1gEc1wPCcYCGBwPDCIWdygPC2qwe2gPC3KUe2gPC3KUf2gPD36Sf2YPCcpmfyIPCchmit4PCxRkIBQPCwvk5BYPCwhlJR"
    "oPDwPVWVgPCIFwTZAPC5h8DAIPChfmMAwPChLyvCAPCJ0QHBwPCFCsYyQPCct8Y2YPCcpmX2YPCcpOX2YPCcpOX2QPCcpOX2QPCcpOY2YPCco2"
    "Z2YPCF/4Z2gPCF+IZ2gPCdpmZ2YPCcpOZ2QPD0Qca2QPCp4mipoPCpZHeRAPDoo99RAPCoaiFBIP"
)
"""One second of speech in Speex at 8 kHz, in Ogg; PyAV's FFmpeg has no encoder"""


def encode(samples: NDArray[np.float32], suffix: str, **options: str) -> bytes:
    """Encode (samples,) at the rate in CODECS for this suffix, with options of the muxer."""
    import av

    muxer, codec, rate = CODECS[suffix]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoded"
        with av.open(str(path), "w", format=muxer, options=options) as container:
            stream: Any = container.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = rate
            stream.bit_rate = 96_000
            size = stream.codec_context.frame_size or None
            convert = av.AudioResampler(stream.codec_context.format, layout="mono", rate=rate, frame_size=size)
            for part in [*convert.resample(frame), *convert.resample(None)]:
                for packet in stream.encode(part):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return path.read_bytes()
