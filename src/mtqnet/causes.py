"""Causes of low quality: the kinds of degradation that a model with a causes head detects.

Probabilities are calibrated on simulated clips, whose processing is known. Several causes can be present at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A kind of degradation."""

    key: str
    """Name in tables and results"""
    name: str
    """Name for people"""
    advice: str
    """What usually helps, in one sentence"""


CAUSES: tuple[Cause, ...] = (
    Cause("noise", "background noise", "Move closer to the microphone, or use a noise suppressor."),
    Cause("reverberation", "reverberation", "Move closer to the microphone, or choose a room with soft surfaces."),
    Cause("clipping", "clipping or overload", "Lower the recording level."),
    Cause("band_limitation", "band limitation", "Check for a narrowband codec, or a sampling rate of 8 kHz."),
    Cause("coding", "coding", "Use a higher bit rate or a newer codec."),
    Cause("packet_loss", "packet loss or dropouts", "Check the network, the jitter buffer and the concealment."),
    Cause("suppression", "suppression artefacts", "Lower the strength of the noise suppressor, or replace it."),
)
CAUSE_KEYS: tuple[str, ...] = tuple(cause.key for cause in CAUSES)
BY_CAUSE: dict[str, Cause] = {cause.key: cause for cause in CAUSES}
