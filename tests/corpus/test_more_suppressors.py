"""Noise suppressors of separate packages and weights: delay, level, noise reduction.

A suppressor whose tool is not installed is skipped with the install command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.corpus import recipe as chain
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.degradations.neural_suppressors import (
    NO_LIMIT,
    ConvTasNet,
    DeepFilterNet,
    Hush,
    UlUnas,
    at_input_level,
)
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import TAIL, Tracks, start
from mtqnet.corpus.describe import is_ordinary
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]
Tool = DeepFilterNet | UlUnas | Hush | ConvTasNet

PINNED: tuple[tuple[Tool, int], ...] = (
    (DeepFilterNet(NO_LIMIT, False), 0),
    (UlUnas(1.0, 1), 0),
    (Hush(1.0), 160),
    (ConvTasNet(1.0), 0),
)


def need(step: Tool) -> None:
    """Skip the test if the tool is not installed."""
    if lacking := missing(type(step).__name__):
        pytest.skip("; ".join(f"{one.name} is not installed: {one.install}" for one in lacking))


@pytest.fixture(scope="module")
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return ColouredNoise(3.0, 10.0, 3)(start(talker(3.0)))


@pytest.mark.parametrize(("step", "samples"), PINNED, ids=str)
def test_delay_is_pinned_and_taken_off(step: Tool, samples: int, noisy: Tracks) -> None:
    need(step)
    given = np.pad(noisy.clean, (0, TAIL))
    made = step.process(given)[: len(given)]
    assert delay(given[: len(made)], made) == samples == step.DELAY
    assert delay(noisy.clean, step(noisy).mixture) == 0


@pytest.mark.parametrize("step", [tool for tool, _ in PINNED], ids=str)
def test_noise_goes_and_speech_keeps_its_level(step: Tool, noisy: Tracks) -> None:
    need(step)
    made = step(noisy)
    before, after = (label(t.clean, t.speech, t.noise) for t in (noisy, made))
    assert after.n_mos > before.n_mos + 0.1
    assert rms_level(noisy.noise) - rms_level(made.noise) > 3
    assert active_level(made.speech) == pytest.approx(active_level(noisy.speech), abs=4)


@pytest.mark.parametrize("step", [tool for tool, _ in PINNED], ids=str)
def test_same_samples_again_and_silence_stays_silent(step: Tool, noisy: Tracks) -> None:
    need(step)
    short = Tracks(noisy.clean[:16_000], noisy.speech[:16_000], noisy.noise[:16_000])
    first = step(short)
    again = type(step)(**json.loads(json.dumps(vars(step))))(short)
    np.testing.assert_array_equal(first.mixture, again.mixture)
    assert first.mixture.shape == short.clean.shape and np.isfinite(first.mixture).all()
    assert not step(start(np.zeros(8_000, np.float32))).mixture.any()


def test_limit_keeps_more_of_the_noise(noisy: Tracks) -> None:
    mild, full = DeepFilterNet(6.0, False), DeepFilterNet(NO_LIMIT, False)
    need(mild)
    assert rms_level(mild(noisy).noise) > rms_level(full(noisy).noise) + 3


def test_hush_imports_no_framework(noisy: Tracks) -> None:
    need(Hush(1.0))
    Hush(1.0).process(noisy.mixture[:1_600])
    assert "livekit.agents" not in sys.modules and "livekit.plugins.hush" not in sys.modules


@pytest.mark.parametrize("name", sorted({*chain.SUPPRESSOR.kinds, *chain.HELD_OUT_SUPPRESSORS, "Hush"}))
def test_full_strength_counts_as_ordinary_and_survives_json(name: str, full_pool: Pool) -> None:
    for seed in range(10):
        step = STEPS[name].full(np.random.default_rng(seed))
        assert is_ordinary([{"step": name, **json.loads(json.dumps(vars(step)))}, {"step": "Playback"}])
        assert STEPS[name](**json.loads(json.dumps(vars(step)))) == step
    assert isinstance(STEPS[name].draw(np.random.default_rng(1), full_pool, 48_000), STEPS[name])


def test_level_and_polarity_of_the_input_are_restored() -> None:
    given = np.random.default_rng(1).standard_normal(4_000).astype(np.float32)
    late = np.pad(-0.3 * given, (50, 0))[:4_000]
    np.testing.assert_allclose(at_input_level(late, given, 50)[50:], given[:-50], rtol=1e-3)
    assert not at_input_level(np.zeros(10, np.float32), given[:10], 0).any()
