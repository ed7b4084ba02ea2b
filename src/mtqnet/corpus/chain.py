"""What a clip may go through: scenes, the links of a chain, and how often each step stands in one.

The order is that of a real call: room, microphone, noise, front-end processing, band, coder, network, playback.
Whole tools and whole coders are HELD_OUT: no clip of train, validation or test has been through one, and every
clip of the split `unseen` has. How a model does on those is the figure that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HELD_OUT_CODERS = {"Aac": 0.5, "G7231": 0.5}
"""One coder of transforms, one of speech, with their weights"""
HELD_OUT_REDUCERS = {"SpeexDsp": 0.5, "Gtcrn": 0.5}
"""One noise reducer of the classic kind, one neural"""
HELD_OUT = frozenset({*HELD_OUT_CODERS, *HELD_OUT_REDUCERS})


@dataclass(frozen=True)
class Link:
    """One place in the chain."""

    chance: float
    """That anything happens here"""
    kinds: Mapping[str, float]
    """Steps that may stand here, with their weights"""
    again: float = 0.0
    """Chance of a second step, of another kind: two noises, a tandem of coders"""


ROOM = Link(0.26, {"MeasuredRoom": 0.25, "DecayRoom": 0.30, "SimulatedRoom": 0.45})
MICROPHONE = Link(0.20, {"Equaliser": 0.5, "Clipping": 0.2, "Overdrive": 0.15, "DcOffset": 0.15}, again=0.1)
MODULATED = Link(0.20, {"Mnru": 1.0})
NOISE = Link(
    0.76,
    {
        "RecordedNoise": 0.44, "Babble": 0.14, "ColouredNoise": 0.10, "WhiteNoise": 0.09, "ModulatedNoise": 0.08,
        "CompetingTalker": 0.05, "MainsHum": 0.04, "WindBursts": 0.03, "Clicks": 0.03,
    },
    again=0.15,
)  # fmt: skip
SWING = Link(0.12, {"NoiseSwing": 1.0})
REDUCER = Link(
    0.38,
    {
        "SpectralGain": 0.14, "SpectralSubtraction": 0.14, "LogMmse": 0.12, "NoiseReduce": 0.08, "WebRtc": 0.14,
        "RnNoise": 0.12, "Nsnet2": 0.14, "Dtln": 0.12,
    },
)  # fmt: skip
GAIN = Link(0.10, {"AutomaticGain": 1.0})
BAND = Link(0.20, {"BandLimit": 0.55, "TelephoneBand": 0.45})
DIGITAL = Link(0.12, {"Clipping": 0.4, "Quantisation": 0.35, "Overdrive": 0.25})
CODER = Link(
    0.42,
    {
        "Opus": 0.30, "AmrNb": 0.20, "G711": 0.07, "G722": 0.05, "G726": 0.12, "Mp3": 0.12, "Vorbis": 0.07,
        "Sbc": 0.07,
    },
    again=0.15,
)  # fmt: skip
RARE = Link(1.0, {"Resynthesis": 0.55, "Mp2": 0.15, "RealAudio": 0.15, "Nellymoser": 0.15}, again=0.1)
"""What few clips need to have been through, so that what is new to a model is a little less new"""
NETWORK = Link(0.20, {"FrameLoss": 0.72, "Dropouts": 0.14, "Jitter": 0.14}, again=0.08)
PLAYBACK = Link(1.0, {"Playback": 1.0})

SCENES: Mapping[str, tuple[float, tuple[Link, ...]]] = {
    "clean": (0.03, (PLAYBACK,)),
    "reference": (
        0.13,
        (Link(0.7, {"Mnru": 1.0}), Link(0.8, {"WhiteNoise": 1.0}), Link(0.2, {"BandLimit": 1.0}), PLAYBACK),
    ),
    "coded": (0.16, (Link(1.0, CODER.kinds, 0.25), Link(0.35, NETWORK.kinds), PLAYBACK)),
    "chain": (
        0.56,
        (
            ROOM, MICROPHONE, MODULATED, NOISE, SWING, REDUCER, GAIN, BAND, DIGITAL, CODER, NETWORK, PLAYBACK,
        ),
    ),
    "rare": (0.12, (Link(0.35, NOISE.kinds), Link(0.1, REDUCER.kinds), RARE, Link(0.1, NETWORK.kinds), PLAYBACK)),
}  # fmt: skip
"""What a clip may be, with its chance: undamaged; white and modulated noise alone, as in the rated reference
conditions; coded speech without background; a chain of anything; or one of the kinds that stand nowhere else."""

_AFTER_NOISE = (ROOM, MICROPHONE, NOISE, SWING)
UNSEEN_SCENES: Mapping[str, tuple[float, tuple[Link, ...]]] = {
    "coded": (0.3, (Link(1.0, HELD_OUT_CODERS, 0.1), Link(0.2, NETWORK.kinds), PLAYBACK)),
    "reduced": (0.35, (*_AFTER_NOISE, Link(1.0, HELD_OUT_REDUCERS, 0.1), GAIN, BAND, PLAYBACK)),
    "chain": (
        0.35,
        (*_AFTER_NOISE, Link(0.6, HELD_OUT_REDUCERS), BAND, Link(1.0, HELD_OUT_CODERS), NETWORK, PLAYBACK),
    ),
}
"""The scenes of the split `unseen`: at least one step of HELD_OUT in every clip, and no other coder or reducer"""


def names() -> frozenset[str]:
    """Every step that any clip of any split may have been through."""
    scenes = (*SCENES.values(), *UNSEEN_SCENES.values())
    return frozenset(name for _, links in scenes for link in links for name in link.kinds)
