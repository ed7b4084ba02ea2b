"""The ONNX session: padding does not change the scores, and the scores are finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtqnet.audio.features import log_mel
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import ModelError
from mtqnet.scoring.models import find
from mtqnet.scoring.runtime import Runtime

Voice = Callable[..., Samples]


def test_values_are_what_the_graph_computes(toy_model: Path, voice: Voice) -> None:
    samples = voice(2.0)
    output = Runtime(find(toy_model)).run(samples)
    frames = log_mel(samples).mean(axis=1)
    np.testing.assert_allclose(output.values[0], 0.5 * frames.mean() + 6.85, atol=1e-4)
    np.testing.assert_allclose(output.frames[:, 3], 0.3 * frames + 4.8, atol=1e-4)


def test_each_frame_has_a_row(toy_model: Path, voice: Voice) -> None:
    runtime = Runtime(find(toy_model))
    for seconds in (3.0, 0.5, 7.33, 1.001):
        clip = voice(seconds)
        assert runtime.run(clip).frames.shape == (len(clip) // 160, 6)


def test_peak_normalisation_makes_the_level_vanish(make_model: Callable[..., Path], voice: Voice) -> None:
    clips = [voice(1.0), voice(1.0) * np.float32(0.25)]
    plain, normalised = (
        [runtime.run(clip).values for clip in clips]
        for runtime in (Runtime(find(make_model())), Runtime(find(make_model(peak_normalise=True))))
    )
    assert np.abs(plain[0] - plain[1]).max() > 0.1
    np.testing.assert_allclose(normalised[0], normalised[1], atol=1e-5)


def test_samples_beyond_all_measure_are_named(toy_model: Path) -> None:
    absurd = np.array([3e30, -3e30] * (SAMPLE_RATE // 2), dtype=np.float32)
    with pytest.raises(ModelError, match=r"peak is 3e\+30"):
        Runtime(find(toy_model)).run(absurd)
