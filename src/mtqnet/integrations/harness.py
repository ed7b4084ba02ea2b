"""Scores as one function, for evaluation toolkits that compute many metrics of the same samples, such as VERSA.

    from mtqnet.integrations.harness import Harness
    quality = Harness("base")                  # once
    row.update(quality(samples, rate))         # for each recording

VERSA (github.com/wavlab-speech/versa) calls a metric either as a function of `(model, pred_x, fs)` or as the method
`compute` of an object; both can be written as one line that calls this class. Torch is not needed.
"""

from __future__ import annotations

import math
import os

from numpy.typing import ArrayLike

from mtqnet.scoring.predictor import Predictor


class Harness:
    """A function of samples and their rate in Hz that returns a dictionary of scores; NaN for a missing score."""

    def __init__(self, model: str | os.PathLike[str] = "base", prefix: str = "mtqnet_") -> None:
        """Load a model.

        Args:
            model: Name of a shipped model, or path of your own.
            prefix: Beginning of the keys of the dictionary.

        Raises:
            ModelError: The model is missing, damaged or incompatible.
        """
        self._predictor = Predictor(model, track=False)
        self.names = {key: f"{prefix}{key}" for key in self._predictor.record.targets}
        """Key of each score in the dictionary, by target"""

    def __call__(self, samples: ArrayLike, rate: float) -> dict[str, float]:
        """Score one recording.

        Args:
            samples: Shape (samples,) or (samples, channels).
            rate: Sample rate in Hz.

        Returns:
            Scores in their own units. All are NaN if the recording cannot be scored (silent, too short, not finite),
            so that the toolkit continues with the next recording.

        Raises:
            UsageError: The samples are not an array of a supported shape.
        """
        scores = self._predictor.score(samples, rate)
        values = {name: scores.value(key) for key, name in self.names.items()}
        return {name: math.nan if value is None else value for name, value in values.items()}
