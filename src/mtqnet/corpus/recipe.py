"""A seed -> a chain of steps, written down completely; and the recipe -> the clip.

A recipe holds every number that shapes its clip. `draw` makes it from (seed, split, clip number) alone,
and `render` makes the samples from the recipe alone: the same recipe is the same clip, in any process, on
any day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mtqnet.corpus import pool as pools
from mtqnet.corpus import tracks
from mtqnet.corpus.degrade import STEPS
from mtqnet.corpus.degrade.step import Step
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.sources import SPLITS, Split
from mtqnet.corpus.tracks import Tracks
from mtqnet.errors import CorpusError
from mtqnet.signal.audio import SAMPLE_RATE
from mtqnet.signal.level import FLOOR_DB, active_level

MIN_CLIP_S, MAX_CLIP_S = 3.0, 7.0
"""Seconds. Scores of a window have to hold for any length near it."""
CLEAN_LEVEL_DBOV = -26.0
"""dBov, the nominal active level of P.56 and P.830: where every chain starts."""
PADDING = 0.05
"""Share of a clip that may be missing where a recording ends early."""

SCENES: Mapping[str, float] = {"clean": 0.04, "reference": 0.20, "chain": 0.76}
"""What a clip may be: undamaged; white and modulated noise alone, as in the rated reference conditions; or a
chain of any steps."""

CHANCES: Mapping[str, Mapping[str, float]] = {
    "clean": {},
    "reference": {"Mnru": 0.65, "WhiteNoise": 0.8, "BandLimit": 0.25},
    "chain": {
        "MeasuredRoom": 0.07,
        "DecayRoom": 0.16,
        "Mnru": 0.25,
        "RecordedNoise": 0.48,
        "WhiteNoise": 0.12,
        "ColouredNoise": 0.15,
        "Babble": 0.16,
        "SpectralGain": 0.35,
        "BandLimit": 0.30,
        "Clipping": 0.14,
        "FrameLoss": 0.14,
    },
}
"""Chance of each step. Steps come in the order of degrade.STEPS."""


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
    steps: tuple[Step, ...]

    def to_json(self) -> str:
        record = asdict(self)
        record["steps"] = [{"step": type(step).__name__, **vars(step)} for step in self.steps]
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        record = json.loads(text)
        record["steps"] = tuple(_step(dict(entry)) for entry in record["steps"])
        return cls(**record)


def draw(pool: Pool, split: Split, clip: int, seed: int, attempt: int = 0) -> Recipe:
    """The recipe of one clip. `attempt` counts redraws of clips that had no label."""
    rng = np.random.default_rng([seed, SPLITS.index(split), clip, attempt])
    item = pools.pick(pool.speech, rng)
    whole = round(item.seconds * SAMPLE_RATE)
    samples = min(whole, round(rng.uniform(MIN_CLIP_S, MAX_CLIP_S) * SAMPLE_RATE))
    start = int(rng.integers(whole - samples + 1))
    scene = str(rng.choice(list(SCENES), p=list(SCENES.values())))
    others = tuple(other for other in pool.speech if other.group != item.group)  # no babble of one's own voice
    steps = _draw_steps(scene, replace(pool, speech=others or pool.speech), rng, samples)
    return Recipe(split, clip, scene, item.path, item.group, start, samples, steps)


def render(recipe: Recipe) -> Tracks:
    """The clip: (samples,) of clean, speech and noise at 16 kHz. Raises CorpusError for a silent stretch."""
    source = pools.load(recipe.speech)
    clean = source[recipe.start : recipe.start + recipe.samples]
    level = active_level(clean)
    if len(clean) < (1 - PADDING) * recipe.samples or level <= FLOOR_DB:
        raise CorpusError(f"{recipe.speech} is silent or ends before sample {recipe.start + recipe.samples}")
    made = tracks.start(clean * np.float32(10 ** ((CLEAN_LEVEL_DBOV - level) / 20)))
    for step in recipe.steps:
        made = step(made)
    return made


def _draw_steps(scene: str, pool: Pool, rng: np.random.Generator, samples: int) -> tuple[Step, ...]:
    chances = CHANCES[scene]
    steps: list[Step] = []
    for name, kind in STEPS.items():
        if name == "MeasuredRoom" and not pool.rooms:
            continue
        if name == "DecayRoom" and any(type(step).__name__ == "MeasuredRoom" for step in steps):
            continue  # one room is enough
        if name == "Playback" or rng.random() < chances.get(name, 0.0):
            steps.append(kind.draw(rng, pool, samples))
    return tuple(steps)


def _step(entry: dict[str, Any]) -> Step:
    name = entry.pop("step")
    if name not in STEPS:
        raise CorpusError(f"unknown step {name!r}: the recipe was made by another version")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    step: Step = STEPS[name](**values)
    return step
