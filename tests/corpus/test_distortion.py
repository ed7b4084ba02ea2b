"""Overdrive, quantisation, and the range of modulated noise. Clipping itself: test_steps.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import rms_level
from mtqnet.corpus.degradations.device import (
    MAX_Q_DB,
    MIN_Q_DB,
    Clipping,
    Mnru,
    Overdrive,
    Quantisation,
)
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.step import Step, Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]

ALL: tuple[Step, ...] = (Overdrive(12.0), Quantisation(8, 3.0), Quantisation(5, 9.0))


@pytest.fixture
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(25.0, 1)(start(talker()))


@pytest.mark.parametrize("gain_db", [3.0, 20.0])
def test_overdrive_cuts_at_full_scale_what_the_gain_lifts_beyond(gain_db: float, noisy: Tracks) -> None:
    made = Overdrive(gain_db)(noisy)
    lifted = noisy.mixture / np.abs(noisy.mixture).max() * 10 ** (gain_db / 20)
    np.testing.assert_allclose(made.mixture, np.clip(lifted, -1.0, 1.0), atol=1e-6)
    assert np.count_nonzero(np.abs(lifted) > 1) > 0


def test_overdrive_is_clipping_at_another_level(noisy: Tracks) -> None:
    cut, driven = Clipping(9.0, False)(noisy), Overdrive(9.0)(noisy)
    np.testing.assert_allclose(driven.speech, cut.speech / np.abs(cut.mixture).max(), atol=1e-5)


def test_a_bit_is_worth_6_db(noisy: Tracks) -> None:
    """Error of a uniform quantiser: step^2 / 12, so 6.02 dB a bit (Bennett, BSTJ 27, 1948)."""
    peak = float(np.abs(noisy.mixture).max())
    for bits in (8, 9, 10, 12):
        made = Quantisation(bits, 0.0)(noisy)
        step = 2 * peak / 2**bits
        expected = 20 * np.log10(step) - 10 * np.log10(12)
        assert rms_level(made.mixture - noisy.mixture) == pytest.approx(expected, abs=0.3)


def test_headroom_costs_as_many_db(noisy: Tracks) -> None:
    errors = [rms_level(Quantisation(10, room)(noisy).mixture - noisy.mixture) for room in (0.0, 9.0)]
    assert errors[1] - errors[0] == pytest.approx(9.0, abs=0.3)


@pytest.mark.parametrize("bits", [4, 8])
def test_what_is_heard_lies_on_the_steps(bits: int, noisy: Tracks) -> None:
    heard = Quantisation(bits, 0.0)(noisy).mixture
    steps = heard / (np.abs(noisy.mixture).max() * 2.0 ** (1 - bits))
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert len(np.unique(np.round(steps))) > 2**bits / 2


def test_error_goes_to_what_is_there(noisy: Tracks) -> None:
    """To the speech while there is speech, to the noise in the pauses, to one alone that is alone."""
    step = Quantisation(6, 6.0)
    made = step(noisy)
    spoken = np.abs(noisy.speech) > 0.02
    speech_error, noise_error = made.speech - noisy.speech, made.noise - noisy.noise
    assert np.sum(speech_error[spoken] ** 2) > 20 * np.sum(noise_error[spoken] ** 2)
    pause = np.convolve(np.abs(noisy.speech), np.ones(801), "same") == 0
    assert np.count_nonzero(pause) > 1000
    assert np.sum(noise_error[pause] ** 2) > 100 * np.sum(speech_error[pause] ** 2)
    silence = np.zeros_like(noisy.clean)
    np.testing.assert_array_equal(step(Tracks(noisy.clean, noisy.speech, silence)).noise, 0.0)
    np.testing.assert_allclose(step(Tracks(noisy.clean, silence, noisy.noise)).speech, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("mild", "hard"),
    [(Overdrive(3.0), Overdrive(20.0)), (Quantisation(12, 0.0), Quantisation(5, 6.0))],
    ids=lambda step: type(step).__name__,
)
def test_more_degradation_lowers_s_further_than_n(mild: Step, hard: Step, noisy: Tracks) -> None:
    before, after = (label(t.clean, t.speech, t.noise) for t in (mild(noisy), hard(noisy)))
    assert after.s_mos < before.s_mos - 0.7
    assert before.n_mos - after.n_mos < before.s_mos - after.s_mos
    assert after.g_mos < before.g_mos


@pytest.mark.parametrize("step", ALL, ids=str)
def test_equal_parameters_equal_samples_in_the_same_place(step: Step, noisy: Tracks) -> None:
    made, again = step(noisy), type(step)(**vars(step))(noisy)
    whole = step(Tracks(noisy.clean, noisy.mixture, np.zeros_like(noisy.clean)))
    np.testing.assert_allclose(made.mixture, whole.mixture, atol=1e-6)
    for part in ("speech", "noise"):
        np.testing.assert_array_equal(getattr(made, part), getattr(again, part))
        assert getattr(made, part).dtype == np.float32 and getattr(made, part).shape == noisy.clean.shape
    np.testing.assert_array_equal(made.clean, noisy.clean)
    assert delay(made.clean, made.speech) == 0
    assert not step(start(np.zeros(32_000, np.float32))).mixture.any()


def test_draws_cover_their_ranges(full_pool: Pool) -> None:
    rng = np.random.default_rng(3)
    q_db = [Mnru.draw(rng, full_pool, 48_000).q_db for _ in range(300)]
    assert MIN_Q_DB <= min(q_db) < MIN_Q_DB + 1 and MAX_Q_DB - 1 < max(q_db) <= MAX_Q_DB
    assert {Quantisation.draw(rng, full_pool, 48_000).bits for _ in range(300)} == set(range(4, 13))
    gains = [Overdrive.draw(rng, full_pool, 48_000).gain_db for _ in range(300)]
    assert 3 <= min(gains) < 3.5 and 19.5 < max(gains) <= 20
