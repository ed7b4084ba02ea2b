"""Noise whose level wanders, and the SNRs that are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.noise import (
    MAX_SNR_DB,
    MIN_SNR_DB,
    USUAL_SNR_DB,
    ModulatedNoise,
    WhiteNoise,
    draw_snr,
    fluctuation,
)
from mtqnet.corpus.degradations.step import start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]


def test_drawn_snr_covers_its_range_and_is_mostly_usual() -> None:
    rng = np.random.default_rng(1)
    drawn = np.array([draw_snr(rng) for _ in range(4000)])
    assert MIN_SNR_DB <= drawn.min() < MIN_SNR_DB + 2 and MAX_SNR_DB - 2 < drawn.max() <= MAX_SNR_DB
    usual = (drawn > USUAL_SNR_DB[0]) & (drawn < USUAL_SNR_DB[1])
    assert 0.85 < usual.mean() < 0.99


@pytest.mark.parametrize("rate_hz", [0.5, 4.0])
def test_level_wanders_between_its_bounds_at_about_the_rate(rate_hz: float) -> None:
    level = 20 * np.log10(fluctuation(20 * SAMPLE_RATE, 18.0, rate_hz, np.random.default_rng(2)))
    assert level.max() == pytest.approx(0, abs=1e-6) and level.min() == pytest.approx(-18.0, abs=1e-6)
    risen = np.diff((level > np.median(level)).astype(int)) == 1
    assert np.count_nonzero(risen) / 20 == pytest.approx(rate_hz, rel=0.3)


def test_modulated_noise_has_its_snr_and_its_level_swings(talker: Callable[..., Samples]) -> None:
    steady, swinging = (ModulatedNoise(0.0, depth, 2.0, 10.0, 3)(start(talker())) for depth in (0.0, 24.0))
    spread = []
    for made in (steady, swinging):
        assert active_level(made.speech) - rms_level(made.noise) == pytest.approx(10.0, abs=0.02)
        frames = made.noise[: len(made.noise) // 800 * 800].reshape(-1, 800)
        spread.append(np.ptp(10 * np.log10(np.mean(frames**2, axis=1))))
    assert spread[0] < 4 and 20 < spread[1] < 30


def test_modulated_noise_lowers_n_far_more_than_s(talker: Callable[..., Samples]) -> None:
    quiet = WhiteNoise(40.0, 1)(start(talker()))
    noisy = ModulatedNoise(3.0, 20.0, 4.0, 10.0, 1)(quiet)
    before, after = (label(t.clean, t.speech, t.noise) for t in (quiet, noisy))
    assert before.n_mos - after.n_mos > 1.0
    assert before.s_mos - after.s_mos < 0.3 * (before.n_mos - after.n_mos)
    np.testing.assert_array_equal(noisy.speech, quiet.speech)


def test_equal_parameters_equal_samples_and_silence_stays_silent(talker: Callable[..., Samples]) -> None:
    tracks = start(talker(2.0))
    one, two, other = (ModulatedNoise(3.0, 20.0, 4.0, 10.0, seed)(tracks).noise for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)
    assert one.dtype == np.float32 and one.shape == tracks.clean.shape
    silent = ModulatedNoise(3.0, 20.0, 4.0, 10.0, 5)(start(np.zeros(32_000, np.float32)))
    assert rms_level(silent.mixture) < -80


def test_draws_vary(full_pool: Pool) -> None:
    rng = np.random.default_rng(3)
    drawn = [ModulatedNoise.draw(rng, full_pool, 48_000) for _ in range(200)]
    rates = [step.rate_hz for step in drawn]
    assert min(rates) < 0.5 and max(rates) > 6 and len(set(drawn)) == 200
