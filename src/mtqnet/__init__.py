"""Non-intrusive speech quality assessment: S-MOS, N-MOS, G-MOS and estimates of PESQ, STOI and SDI of a recording.

>>> import mtqnet
>>> print(mtqnet.score("call.wav"))                        # one recording; doctest: +SKIP
>>> mtqnet.score("calls/").to_frame()                      # a folder; doctest: +SKIP
>>> predictor = mtqnet.load("base")                        # load a model once; doctest: +SKIP
>>> predictor.score(samples, rate=48000).s_mos             # samples in memory; doctest: +SKIP
>>> mtqnet.stream(rate=48000).feed(chunk)                  # live sound; doctest: +SKIP

`mtqnet.TARGETS` describes the six scores. Modules are imported when one of their names is first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtqnet.errors import (
        AudioError,
        CorpusError,
        MissingExtraError,
        ModelError,
        MtqnetError,
        NoAudioFoundError,
        TooShortError,
        UsageError,
    )
    from mtqnet.scoring.intervals import Interval
    from mtqnet.scoring.over_time import over_time
    from mtqnet.scoring.predictor import Predictor, load, score
    from mtqnet.scoring.scores import COLUMNS, Results, Scores, Track
    from mtqnet.scoring.stream import Stream, stream
    from mtqnet.targets import TARGETS

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
"""onnxruntime 1.29 and later collects usage data and contacts a server unless this is set before it is loaded."""

__version__ = "0.2.0"

__all__ = [
    "COLUMNS",
    "TARGETS",
    "AudioError",
    "CorpusError",
    "Interval",
    "MissingExtraError",
    "ModelError",
    "MtqnetError",
    "NoAudioFoundError",
    "Predictor",
    "Results",
    "Scores",
    "Stream",
    "TooShortError",
    "Track",
    "UsageError",
    "__version__",
    "load",
    "over_time",
    "score",
    "stream",
]

_HOMES = {
    "COLUMNS": "mtqnet.scoring.scores",
    "Interval": "mtqnet.scoring.intervals",
    "Results": "mtqnet.scoring.scores",
    "TARGETS": "mtqnet.targets",
    "Predictor": "mtqnet.scoring.predictor",
    "Scores": "mtqnet.scoring.scores",
    "Stream": "mtqnet.scoring.stream",
    "Track": "mtqnet.scoring.scores",
    "load": "mtqnet.scoring.predictor",
    "over_time": "mtqnet.scoring.over_time",
    "score": "mtqnet.scoring.predictor",
    "stream": "mtqnet.scoring.stream",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'mtqnet' has no attribute '{name}'")
    return getattr(import_module(_HOMES.get(name, "mtqnet.errors")), name)


def __dir__() -> list[str]:
    return __all__
