"""The neural vocoder and the neural enhancer of research/neural as steps of a corpus."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level
from mtqnet.corpus.degradations import STEPS, generative, neural_suppressors
from mtqnet.corpus.degradations.generative import NeuralVocoder
from mtqnet.corpus.degradations.neural_suppressors import NeuralEnhancer
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import TAIL, Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.errors import MissingExtraError
from mtqnet.labels.intrusive import pesq_wb
from mtqnet.labels.pairing import delay

Samples = NDArray[np.float32]
Step = NeuralVocoder | NeuralEnhancer

VOCODERS = tuple(NeuralVocoder(quality, 0.0, 1) for quality in generative.QUALITIES)
ENHANCERS = tuple(NeuralEnhancer(quality, 1.0, 1) for quality in neural_suppressors.QUALITIES)
ALL: tuple[Step, ...] = (*VOCODERS, *ENHANCERS)


@pytest.fixture(scope="module")
def clean(talker: Callable[..., Samples]) -> Samples:
    return talker(3.0, seed=3)


@pytest.fixture(scope="module")
def noisy(clean: Samples) -> Tracks:
    return ColouredNoise(3.0, 8.0, 3)(start(clean))


def test_both_are_registered() -> None:
    assert STEPS["NeuralVocoder"] is NeuralVocoder and STEPS["NeuralEnhancer"] is NeuralEnhancer


@pytest.mark.parametrize("step", ALL, ids=str)
def test_delay_is_pinned(step: Step, clean: Samples) -> None:
    given = np.pad(clean, (0, TAIL))
    assert abs(delay(_envelope(given), _envelope(step.process(given)))) <= 16


def _envelope(samples: Samples) -> Samples:
    """Smoothed over 32 ms, without its mean: a vocoder does not keep the waveform."""
    smooth = np.convolve(np.abs(samples), np.hanning(514)[1:-1], mode="same")
    return np.asarray(smooth - smooth.mean(), dtype=np.float32)


@pytest.mark.parametrize("step", ALL, ids=str)
def test_level_does_not_depend_on_the_input_level(step: Step, clean: Samples) -> None:
    loud, quiet = step.process(clean), step.process(np.float32(0.125) * clean) * np.float32(8)
    np.testing.assert_allclose(quiet, loud, atol=1e-3 * float(np.abs(loud).max()))


@pytest.mark.parametrize("step", ALL, ids=str)
def test_speech_keeps_its_level(step: Step, clean: Samples) -> None:
    assert active_level(step.process(clean)) == pytest.approx(active_level(clean), abs=2.0)


def test_enhancer_reduces_noise(clean: Samples, noisy: Tracks) -> None:
    made = ENHANCERS[-1](noisy)
    assert pesq_wb(clean, made.mixture) > pesq_wb(clean, noisy.mixture)
    quiet = np.convolve(np.abs(clean), np.ones(1600), mode="same") < 1e-3
    before, after = (np.mean(np.square(t.mixture[quiet])) for t in (noisy, made))
    assert 10 * np.log10(before / after) > 3


def test_rounded_bands_are_worse(clean: Samples) -> None:
    fine, coarse = (NeuralVocoder("late", step_db, 1).process(clean) for step_db in (0.0, 8.0))
    assert pesq_wb(clean, coarse) < pesq_wb(clean, fine)


@pytest.mark.parametrize("step", ALL, ids=str)
def test_equal_parameters_give_equal_samples(step: Step, noisy: Tracks) -> None:
    again = type(step)(**json.loads(json.dumps(vars(step))))
    first, second = step(noisy), again(noisy)
    np.testing.assert_array_equal(first.mixture, second.mixture)
    np.testing.assert_array_equal(first.clean, noisy.clean)
    assert np.isfinite(first.mixture).all() and first.mixture.shape == noisy.clean.shape


@pytest.mark.parametrize("step", [VOCODERS[-1], ENHANCERS[-1]], ids=str)
def test_silence_and_a_click(step: Step) -> None:
    silence = np.zeros(10_000, np.float32)
    assert not step(start(silence)).mixture.any()
    click = silence.copy()
    click[5_000] = 0.5
    assert np.isfinite(step(start(click)).mixture).all()


@pytest.mark.parametrize("kind", [NeuralVocoder, NeuralEnhancer])
def test_drawn_parameters_survive_json(kind: type[Step], material: Pool) -> None:
    drawn = [kind.draw(np.random.default_rng(seed), material, 48_000) for seed in range(40)]
    assert {step.quality for step in drawn} == {step.quality for step in ALL if isinstance(step, kind)}
    for step in drawn:
        assert kind(**json.loads(json.dumps(vars(step)))) == step


@pytest.mark.parametrize("step", [VOCODERS[-1], ENHANCERS[-1]], ids=str)
def test_missing_weights_are_an_error_that_names_their_source(
    step: Step, clean: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtqnet.corpus.degradations.step.CHECKOUT", Path("nowhere"))
    monkeypatch.setenv("MTQNET_WEIGHTS", "nowhere")
    with pytest.raises(MissingExtraError, match="research/neural"):
        step.process(clean)
