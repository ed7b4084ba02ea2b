"""What a clip may go through: scenes, the links of a chain, and how often each kind of processing occurs in one.

The order is that of a real call: room, microphone, noise, front-end processing, band, codec, network, playback.
Whole tools and whole codecs are HELD_OUT: no clip of train, validation or test has been through one. Every clip
of the split `unseen` has been through one of the first group, every clip of `unseen2` through one of the second.
How a model does on those is the figure that counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mtqnet.corpus.sources import Split

HELD_OUT_CODECS = {"Aac": 0.5, "G7231": 0.5}
"""A transform codec and a speech codec, with their weights"""
HELD_OUT_SUPPRESSORS = {"SpeexDsp": 0.5, "Gtcrn": 0.5}
"""A classic noise suppressor and a neural one"""
HELD_OUT_CODECS_2 = {"AmrWb": 1.0}
HELD_OUT_SUPPRESSORS_2 = {"Hush": 1.0}
HELD_OUT: Mapping[Split, frozenset[str]] = {
    "unseen": frozenset({*HELD_OUT_CODECS, *HELD_OUT_SUPPRESSORS}),
    "unseen2": frozenset({*HELD_OUT_CODECS_2, *HELD_OUT_SUPPRESSORS_2}),
}
"""Split -> kinds that occur in no other split. The second group came later; it is reported separately, so that
figures of the first remain comparable."""


@dataclass(frozen=True)
class Link:
    """One place in the chain."""

    chance: float
    """That anything happens here"""
    kinds: Mapping[str, float]
    """Kinds of processing that may occur here, with their weights"""
    again: float = 0.0
    """Chance of a second one, of another kind: two noises, two codecs in tandem, two suppressors in series"""
    full: bool = False
    """Whether suppressors run as they are used in practice: at full strength, once"""
    snr_db: tuple[float, float] | None = None
    """Range of the SNR for noise; without it each kind has its own"""


@dataclass(frozen=True)
class Inserted:
    """Links that apply to a part of the clip, or to everything but a part (degradations/network.py)."""

    links: tuple[Link, ...]
    good: float
    """Chance that the part is the good one"""


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
SUPPRESSOR = Link(
    0.38,
    {
        "SpectralGain": 0.09, "SpectralSubtraction": 0.09, "LogMmse": 0.08, "NoiseReduce": 0.09, "WebRtc": 0.12,
        "RnNoise": 0.10, "Nsnet2": 0.10, "Dtln": 0.09, "DeepFilterNet": 0.10, "UlUnas": 0.08, "ConvTasNet": 0.06,
        "NeuralEnhancer": 0.10,
    },
)  # fmt: skip
GAIN = Link(0.10, {"AutomaticGain": 1.0})
BAND = Link(0.20, {"BandLimit": 0.55, "TelephoneBand": 0.45})
DIGITAL = Link(0.12, {"Clipping": 0.4, "Quantisation": 0.35, "Overdrive": 0.25})
CODEC = Link(
    0.42,
    {
        "Opus": 0.19, "AmrNb": 0.12, "G711": 0.05, "G722": 0.04, "G726": 0.06, "Mp3": 0.07, "Vorbis": 0.05,
        "Sbc": 0.04, "Speex": 0.06, "Silk": 0.05, "GsmFr": 0.04, "G729": 0.04, "Lc3": 0.06, "Codec2": 0.04,
        "LyraV2": 0.05, "OpusNeural": 0.04,
    },
    again=0.15,
)  # fmt: skip
RARE = Link(
    1.0,
    {
        "Resynthesis": 0.27, "Mp2": 0.07, "RealAudio": 0.07, "Nellymoser": 0.07, "AptX": 0.04, "Wma": 0.08,
        "Ac3": 0.08, "Adpcm": 0.07, "Dpcm": 0.06, "Cvsd": 0.07, "Siren": 0.06, "Lpc10": 0.06,
    },
    again=0.1,
)  # fmt: skip
"""Kinds that only a few clips need, so that a kind that is new to a model is less new"""
GENERATIVE = Link(1.0, {"LyraV2": 0.35, "OpusNeural": 0.25, "Resynthesis": 0.15, "NeuralVocoder": 0.25})
"""Speech whose waveform a decoder generates"""
NETWORK = Link(0.20, {"FrameLoss": 0.72, "Dropouts": 0.14, "Jitter": 0.14}, again=0.08)
PLAYBACK = Link(1.0, {"Playback": 1.0})

ORDINARY_SNR_DB = (10.0, 30.0)
ORDINARY_NOISE = Link(
    1.0,
    {
        "RecordedNoise": 0.60, "Babble": 0.16, "ColouredNoise": 0.07, "WhiteNoise": 0.05, "ModulatedNoise": 0.06,
        "WindBursts": 0.03, "CompetingTalker": 0.03,
    },
    again=0.08,
    snr_db=ORDINARY_SNR_DB,
)  # fmt: skip
"""The noise of a call from a usual place"""
FULL_SUPPRESSOR = Link(1.0, SUPPRESSOR.kinds, full=True)
SPLICED = Inserted(
    (
        Link(0.35, NOISE.kinds, snr_db=(-5.0, 25.0)),
        Link(0.20, SUPPRESSOR.kinds),
        Link(0.15, BAND.kinds),
        Link(0.20, {"Clipping": 0.4, "Quantisation": 0.3, "Mnru": 0.3}),
        Link(0.35, CODEC.kinds),
        Link(0.30, {"FrameLoss": 1.0}),
    ),
    good=0.4,
)

Links = tuple[Link | Inserted, ...]
Scenes = Mapping[str, tuple[float, Links]]

SCENES: Scenes = {
    "clean": (0.03, (PLAYBACK,)),
    "reference": (
        0.10,
        (Link(0.7, {"Mnru": 1.0}), Link(0.8, {"WhiteNoise": 1.0}), Link(0.2, {"BandLimit": 1.0}), PLAYBACK),
    ),
    "suppressed": (0.12, (ORDINARY_NOISE, FULL_SUPPRESSOR, PLAYBACK)),
    "series": (0.05, (ORDINARY_NOISE, Link(1.0, SUPPRESSOR.kinds, again=1.0), PLAYBACK)),
    "suppressed_coded": (
        0.06,
        (ORDINARY_NOISE, FULL_SUPPRESSOR, Link(1.0, CODEC.kinds), Link(0.2, NETWORK.kinds), PLAYBACK),
    ),
    "coded": (0.12, (Link(1.0, CODEC.kinds, 0.25), Link(0.35, NETWORK.kinds), PLAYBACK)),
    "generative": (
        0.08,
        (Link(0.35, ORDINARY_NOISE.kinds, snr_db=(5.0, 40.0)), GENERATIVE, Link(0.1, NETWORK.kinds), PLAYBACK),
    ),
    "rare": (
        0.08,
        (Link(0.35, NOISE.kinds), Link(0.1, SUPPRESSOR.kinds), RARE, Link(0.1, NETWORK.kinds), PLAYBACK),
    ),
    "spliced": (0.06, (Link(0.5, NOISE.kinds, snr_db=(15.0, 45.0)), SPLICED, PLAYBACK)),
    "chain": (
        0.30,
        (
            ROOM, MICROPHONE, MODULATED, NOISE, SWING, SUPPRESSOR, GAIN, BAND, DIGITAL, CODEC, NETWORK, PLAYBACK,
        ),
    ),
}  # fmt: skip
"""What a clip of train, validation and test may be, with its chance:

clean: undamaged. reference: white and modulated noise alone, as in the rated reference conditions. suppressed: the
ordinary case, speech at 10 to 30 dB SNR and one suppressor at full strength. series: two different suppressors.
suppressed_coded: a suppressor at full strength and a codec. coded: codecs without background. generative: speech
whose waveform a decoder generates. rare: kinds that occur nowhere else. spliced: a degradation in a part of the
clip, or everywhere but in a part. chain: anything."""

_AFTER_NOISE = (ROOM, MICROPHONE, NOISE, SWING)


def _unseen(codecs: Mapping[str, float], suppressors: Mapping[str, float]) -> Scenes:
    return {
        "coded": (0.3, (Link(1.0, codecs, 0.1), Link(0.2, NETWORK.kinds), PLAYBACK)),
        "reduced": (0.35, (*_AFTER_NOISE, Link(1.0, suppressors, 0.1), GAIN, BAND, PLAYBACK)),
        "chain": (
            0.35,
            (*_AFTER_NOISE, Link(0.6, suppressors), BAND, Link(1.0, codecs), NETWORK, PLAYBACK),
        ),
    }


UNSEEN_SCENES: Mapping[Split, Scenes] = {
    "unseen": _unseen(HELD_OUT_CODECS, HELD_OUT_SUPPRESSORS),
    "unseen2": _unseen(HELD_OUT_CODECS_2, HELD_OUT_SUPPRESSORS_2),
}
"""Scenes of the splits with held-out tools: at least one of them in every clip, no other codec or suppressor"""


def scenes_of(split: Split) -> Scenes:
    """The scenes from which clips of a split are drawn."""
    return UNSEEN_SCENES.get(split, SCENES)


def scene_names() -> tuple[str, ...]:
    """Names of all scenes, each once."""
    return tuple(dict.fromkeys(name for scenes in (SCENES, *UNSEEN_SCENES.values()) for name in scenes))


def names(*splits: Split) -> frozenset[str]:
    """Every kind of processing that a clip of these splits may have been through; without splits, of any."""
    every = [scenes_of(split) for split in splits] or [SCENES, *UNSEEN_SCENES.values()]
    return frozenset(kind for scenes in every for _, links in scenes.values() for kind in _kinds(links))


def _kinds(links: Links) -> Iterator[str]:
    for link in links:
        if isinstance(link, Inserted):
            yield "Splice"
            yield from _kinds(link.links)
        else:
            yield from link.kinds
