"""Siren 7 (the base of ITU-T G.722.1, 16 kbit/s, wideband), by GStreamer's elements sirenenc and sirendec (LGPL).

Debian packages gstreamer1.0-tools, gstreamer1.0-plugins-base and gstreamer1.0-plugins-bad.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import programs
from mtqnet.corpus.degradations.coding import Pcm, PcmCoding, draw_level
from mtqnet.corpus.degradations.packages import SIREN
from mtqnet.corpus.pool import Pool
from mtqnet.errors import MissingExtraError

PIPELINE = (
    f"fdsrc fd=0 ! rawaudioparse format=pcm pcm-format=s16le sample-rate={SAMPLE_RATE} num-channels=1 "
    "! sirenenc ! sirendec ! fdsink fd=1"
)


@dataclass(frozen=True)
class Siren(PcmCoding):
    """Siren 7: a transform codec of video conferences and messengers."""

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Siren:  # noqa: ARG003
        return cls(level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 320

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        if not has_siren():
            raise MissingExtraError(f"GStreamer's sirenenc is not installed: {SIREN}")
        command = ("gst-launch-1.0", "-q", *PIPELINE.split())
        return programs.pcm(programs.run(command, pcm.tobytes(), SIREN))


@lru_cache(maxsize=1)
def has_siren() -> bool:
    """Whether GStreamer and its Siren elements are installed."""
    if not (shutil.which("gst-launch-1.0") and shutil.which("gst-inspect-1.0")):
        return False
    command = ("gst-inspect-1.0", "--exists", "sirenenc")
    return subprocess.run(command, capture_output=True, timeout=programs.LONGEST_S).returncode == 0
