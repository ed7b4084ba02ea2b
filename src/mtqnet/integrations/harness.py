"""One callable for harnesses that ask many metrics about the same samples, such as VERSA.

    from mtqnet.integrations.harness import Harness
    quality = Harness("base")                  # once
    row.update(quality(samples, rate))         # for each recording

VERSA (wavlab-speech/versa) calls a metric as a function of `(model, pred_x, fs)`, or as the method `compute` of an
object that was set up once. Either is one line around this class. Torch is not needed.
"""

from __future__ import annotations

import math
import os

from numpy.typing import ArrayLike

from mtqnet.scoring.predictor import Predictor


class Harness:
    """Call with samples and their rate in Hz; returns a dictionary of numbers, NaN where there is no score."""

    def __init__(self, model: str | os.PathLike[str] = "base", prefix: str = "mtqnet_", threads: int = 0) -> None:
        """`model`: a shipped one, or the path of your own. Raises ModelError."""
        self._predictor = Predictor(model, threads, track=False)
        self.names = {key: f"{prefix}{key}" for key in self._predictor.record.targets}
        """What each target's number is called"""

    def __call__(self, samples: ArrayLike, rate: float) -> dict[str, float]:
        """(samples,) or (samples, channels) at `rate` Hz -> each score under its name, in its own unit.

        All are NaN for a recording that cannot be scored (silent, too short, not finite): a harness goes on with
        the next. Raises UsageError for what is no recording.
        """
        scores = self._predictor.score(samples, rate)
        values = {name: scores.value(key) for key, name in self.names.items()}
        return {name: math.nan if value is None else value for name, value in values.items()}
