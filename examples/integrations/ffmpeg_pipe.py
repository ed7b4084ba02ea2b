"""Score audio that FFmpeg decodes: any format, a part of a file, one stream of a video, or a live stream.

In a shell:  ffmpeg -v error -i video.mp4 -f s16le -ac 1 -ar 16000 - | mtqnet score - --rate 16000
"""

from __future__ import annotations

import subprocess

import numpy as np

import mtqnet

RATE = 16_000


def score(
    source: str, start_s: float = 0.0, seconds: float | None = None, filters: str = "anull"
) -> mtqnet.Scores:
    """Score a part of a source after filters of FFmpeg, such as "pan=mono|c0=c1" for the right channel."""
    length = [] if seconds is None else ["-t", str(seconds)]
    command = ["ffmpeg", "-v", "error", "-ss", str(start_s), *length, "-i", source, "-af", filters]
    decoded = subprocess.run(
        [*command, "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"], capture_output=True, check=True
    )
    return mtqnet.score(np.frombuffer(decoded.stdout, np.int16), RATE)


if __name__ == "__main__":
    import sys

    print(score(sys.argv[1]))
