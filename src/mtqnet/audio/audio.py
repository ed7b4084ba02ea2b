"""Deprecated names of this package, for code that is being moved; see reading.py and resampling.py."""

from mtqnet.audio.containers import AUDIO_SUFFIXES as SUFFIXES
from mtqnet.audio.decoding import MAX_CHANNELS
from mtqnet.audio.decoding import to_float32 as as_float
from mtqnet.audio.reading import Excerpt, Recording, from_array, read, read_excerpt
from mtqnet.audio.resampling import MAX_RATE, MIN_RATE, SAMPLE_RATE, Samples, resample

__all__ = [
    "MAX_CHANNELS", "MAX_RATE", "MIN_RATE", "SAMPLE_RATE", "SUFFIXES", "Excerpt", "Recording", "Samples", "as_float",
    "from_array", "read", "read_excerpt", "resample",
]  # fmt: skip
