"""Automatic gain control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import AutomaticGain
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.step import Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]

PUMP = AutomaticGain(-20.0, 30.0, 5.0, 60.0)
CALM = AutomaticGain(-20.0, 6.0, 50.0, 2000.0)


@pytest.fixture
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(30.0, 1)(start(talker()))


def tone(*levels_db: float) -> Tracks:
    """A second of 500 Hz at each level."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    parts = [10 ** (level / 20) * np.sqrt(2) * np.sin(2 * np.pi * 500 * time) for level in levels_db]
    return start(np.concatenate(parts).astype(np.float32))


def test_steady_sound_comes_to_the_target() -> None:
    for level_db in (-45.0, -30.0, -12.0):
        made = AutomaticGain(-22.0, 30.0, 5.0, 100.0)(tone(level_db))
        assert rms_level(made.speech[-4000:]) == pytest.approx(-22.0, abs=0.2)


def test_gain_has_limits() -> None:
    made = AutomaticGain(-20.0, 10.0, 5.0, 50.0)(tone(-50.0))
    assert rms_level(made.speech[-4000:]) == pytest.approx(-40.0, abs=0.2)


def test_two_levels_come_nearer() -> None:
    before = tone(-40.0, -20.0)
    after = AutomaticGain(-25.0, 12.0, 10.0, 100.0)(before)
    spans = [rms_level(t.speech[-4000:]) - rms_level(t.speech[12_000:16_000]) for t in (before, after)]
    assert spans[0] == pytest.approx(20.0, abs=0.1)
    assert spans[1] == pytest.approx(3.0, abs=0.5), "+12 dB is the limit for one, -5 dB reaches the target"


def test_gain_falls_with_the_attack_time_and_rises_with_the_release_time() -> None:
    gain_db = 20 * np.log10(AutomaticGain(-25.0, 30.0, 20.0, 200.0)._gain(tone(-25.0, -5.0, -25.0).mixture))
    fallen, risen = gain_db[16_000 + 320], gain_db[32_000 + 3200]
    assert fallen == pytest.approx(-20 * (1 - np.exp(-1)), abs=2.5)
    assert risen == pytest.approx(-20 * np.exp(-1), abs=1.0)


def test_one_gain_for_both_tracks(noisy: Tracks) -> None:
    made = PUMP(noisy)
    gain = PUMP._gain(noisy.mixture)
    np.testing.assert_array_equal(made.speech, noisy.speech * gain)
    np.testing.assert_array_equal(made.noise, noisy.noise * gain)
    np.testing.assert_allclose(made.mixture, noisy.mixture * gain, atol=1e-6)


def test_noise_breathes_up_in_the_pauses(noisy: Tracks) -> None:
    """A short release lifts the pauses: less N, and less S than N loses. A slow, weak control leaves both."""
    before, calm, pumped = (label(t.clean, t.speech, t.noise) for t in (noisy, CALM(noisy), PUMP(noisy)))
    assert pumped.n_mos < before.n_mos - 0.4
    assert before.s_mos - pumped.s_mos < before.n_mos - pumped.n_mos
    assert calm.n_mos == pytest.approx(before.n_mos, abs=0.1)
    assert calm.s_mos == pytest.approx(before.s_mos, abs=0.1)


def test_equal_parameters_equal_samples_in_the_same_place(noisy: Tracks) -> None:
    made, again = PUMP(noisy), replace(PUMP)(noisy)
    np.testing.assert_array_equal(made.mixture, again.mixture)
    np.testing.assert_array_equal(made.clean, noisy.clean)
    assert made.speech.dtype == made.noise.dtype == np.float32 and made.speech.shape == noisy.clean.shape
    assert np.isfinite(made.mixture).all() and delay(made.clean, made.speech) == 0
    assert not PUMP(start(np.zeros(30_001, np.float32))).mixture.any()


def test_draws_vary(full_pool: Pool) -> None:
    rng = np.random.default_rng(3)
    drawn = [AutomaticGain.draw(rng, full_pool, 48_000) for _ in range(200)]
    assert len(set(drawn)) == 200
    assert all(step.attack_ms <= 100 and 50 <= step.release_ms <= 2000 for step in drawn)
    assert min(step.release_ms for step in drawn) < 80 and max(step.release_ms for step in drawn) > 1500
