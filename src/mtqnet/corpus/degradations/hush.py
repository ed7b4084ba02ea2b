"""Hush, of the DeepFilterNet3 family, also against talkers in the background. Weights and code: Apache-2.0.

The package livekit-plugins-hush contains both. It is installed without its dependencies. Only two of its modules
are imported, which need numpy and onnxruntime.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from mtqnet.corpus.degradations.neural import draw_wet
from mtqnet.corpus.degradations.packages import package_file
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.degradations.tools import at_input_level, reduced
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.tracks import Samples, Tracks

FRAME = 160
"""Samples, 10 ms"""
ALIAS = "mtqnet_hush"
"""Name under which the two modules are imported: the package's own would import LiveKit's agents."""


@dataclass(frozen=True)
class Hush:
    """Hush at 16 kHz."""

    wet: float
    """Fraction of its output in the result"""

    DELAY = 160

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> Hush:  # noqa: ARG003
        return cls(draw_wet(rng))

    @classmethod
    def full(cls, rng: np.random.Generator) -> Hush:  # noqa: ARG003
        """As published."""
        return cls(1.0)

    def __call__(self, tracks: Tracks) -> Tracks:
        return reduced(tracks, self.process, self.DELAY, self.wet, 1)

    def process(self, given: Samples) -> Samples:
        """(samples,) -> (whole frames,) at the level of the input, late by DELAY."""
        hush, model = _model()
        session = hush.HushSession(model)
        out = [session.process_frame(frame) for frame in in_frames(given.astype(np.float32), FRAME)]
        return at_input_level(np.concatenate(out), given, self.DELAY)


@lru_cache(maxsize=1)
def _model() -> tuple[Any, Any]:
    """The module and its graphs, loaded once in a process."""
    path = package_file("livekit", "plugins/hush/_hush_model.py")
    package = ModuleType(ALIAS)
    package.__path__ = [str(path.parent)]
    sys.modules[ALIAS] = package
    hush = import_module(f"{ALIAS}._hush_model")
    return hush, hush.HushModel()
