"""Reducers whose gain is ours: the rule, the two tracks, and what stronger settings do to the labels."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.features import stft
from mtqnet.audio.level import rms_level
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import Tracks, start
from mtqnet.corpus.degradations.suppressors import LogMmse, SpectralGain, SpectralSubtraction
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]
Reducer = SpectralGain | SpectralSubtraction | LogMmse

LADDERS: tuple[tuple[Reducer, Reducer, Reducer], ...] = (
    (SpectralGain(0.7, -6.0, 0.5), SpectralGain(1.5, -20.0, 1.0), SpectralGain(4.0, -35.0, 2.0)),
    (SpectralSubtraction(1.0, -10.0, 2), SpectralSubtraction(3.0, -20.0, 2), SpectralSubtraction(8.0, -50.0, 2)),
    (SpectralSubtraction(1.0, -10.0, 1), SpectralSubtraction(1.5, -20.0, 1), SpectralSubtraction(4.0, -40.0, 1)),
    (LogMmse(0.7, -6.0, 0.98), LogMmse(1.0, -15.0, 0.98), LogMmse(4.0, -30.0, 0.98)),
)
"""Mild, usual and beyond what is sensible"""
ALL = tuple(step for ladder in LADDERS for step in ladder)
LOUD, FRAMES = 100, 200
"""A frame in the middle of so many frames"""


@pytest.fixture(scope="module")
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return ColouredNoise(3.0, 10.0, 3)(start(talker(4.0)))


def steady_noise_with(power: float) -> NDArray[np.float64]:
    """Power of steady noise that is estimated as 1, with one frame of another power."""
    frames = np.full((FRAMES, 257), 0.5)  # the estimate is twice the minimum
    frames[LOUD] = power
    return frames


@pytest.mark.parametrize("ladder", LADDERS, ids=lambda ladder: str(ladder[1]))
def test_stronger_takes_more_noise_and_harms_speech_more(ladder: tuple[Reducer, ...], noisy: Tracks) -> None:
    made = [noisy, *(step(noisy) for step in ladder)]
    labels = [label(t.clean, t.speech, t.noise) for t in made]
    rises = np.diff([quest.equivalent_snr_db for quest in labels])
    assert (rises[:-1] > 0.5).all()
    assert rises[-1] > 0.2, "beyond what is sensible musical noise is left, which counts in the pauses"
    assert min(quest.n_mos for quest in labels[1:]) > labels[0].n_mos + 0.1
    assert (np.diff([quest.equivalent_q_db for quest in labels]) < -2).all()
    assert labels[-1].s_mos < labels[1].s_mos - 0.5


@pytest.mark.parametrize("step", ALL, ids=str)
def test_one_gain_from_the_mixture_is_applied_to_both_tracks(step: Reducer, noisy: Tracks) -> None:
    made = step(noisy)
    whole = step(Tracks(noisy.clean, noisy.mixture, np.zeros_like(noisy.clean)))
    np.testing.assert_allclose(made.mixture, whole.mixture, atol=1e-6)
    swapped = step(Tracks(noisy.clean, noisy.noise, noisy.speech))
    np.testing.assert_allclose(swapped.noise, made.speech, atol=1e-6)
    assert rms_level(made.noise) < rms_level(noisy.noise) - 1


@pytest.mark.parametrize("step", ALL, ids=str)
def test_gain_lies_between_zero_and_one(step: Reducer, noisy: Tracks) -> None:
    gain = step.gain(np.abs(stft(noisy.mixture)) ** 2)
    assert gain.min() >= 0 and 0.9 < gain.max() <= 1


@pytest.mark.parametrize("step", ALL, ids=str)
def test_length_type_reference_and_time_stay(step: Reducer, noisy: Tracks) -> None:
    made = step(noisy)
    for part in (made.speech, made.noise):
        assert part.dtype == np.float32 and part.shape == noisy.clean.shape and np.isfinite(part).all()
    np.testing.assert_array_equal(made.clean, noisy.clean)
    assert delay(made.clean, made.speech) == 0


@pytest.mark.parametrize("samples", [32_000, 700])
@pytest.mark.parametrize("step", ALL, ids=str)
def test_silence_stays_silent(step: Reducer, samples: int) -> None:
    assert not step(start(np.zeros(samples, np.float32))).mixture.any()


@pytest.mark.parametrize("kind", [SpectralGain, SpectralSubtraction, LogMmse])
def test_drawn_parameters_survive_json(kind: type[Reducer], full_pool: Pool, noisy: Tracks) -> None:
    drawn = [kind.draw(np.random.default_rng(seed), full_pool, 48_000) for seed in range(20)]
    assert len(set(drawn)) == 20
    for step in drawn:
        assert kind(**json.loads(json.dumps(vars(step)))) == step
    copy = kind(**json.loads(json.dumps(vars(drawn[0]))))
    np.testing.assert_array_equal(copy(noisy).mixture, drawn[0](noisy).mixture)


@pytest.mark.parametrize("over", [1.0, 4.0])
def test_powers_are_subtracted(over: float) -> None:
    """Berouti et al. 1979: |S|^2 = |Y|^2 - alpha |N|^2."""
    gain = SpectralSubtraction(over, -40.0, 2).gain(steady_noise_with(10.0))
    np.testing.assert_allclose(gain[LOUD] ** 2 * 10, 10 - over)


def test_magnitudes_are_subtracted() -> None:
    """Boll 1979: |S| = |Y| - |N|."""
    gain = SpectralSubtraction(1.0, -40.0, 1).gain(steady_noise_with(16.0))
    np.testing.assert_allclose(gain[LOUD] * 4, 4 - 1)


@pytest.mark.parametrize("exponent", [1, 2])
def test_what_is_left_of_the_noise_is_the_floor(exponent: int) -> None:
    """20 dB below the noise, however loud the frame was."""
    for power in (1.0, 2.0):
        gain = SpectralSubtraction(8.0, -20.0, exponent).gain(steady_noise_with(power))
        np.testing.assert_allclose(gain[LOUD] * power**0.5, 0.1)


def test_low_floor_leaves_musical_noise() -> None:
    """Lone peaks: the power of the residual noise is less evenly spread."""
    silent = start(np.zeros(64_000, np.float32))
    noise = silent.with_noise(0.01 * np.random.default_rng(1).standard_normal(64_000))
    uneven = []
    for floor_db in (-6.0, -20.0, -40.0):
        power = np.abs(stft(SpectralSubtraction(2.0, floor_db, 2)(noise).noise)) ** 2
        uneven.append(np.mean(power**2) / np.mean(power) ** 2)
    assert uneven[0] < uneven[1] / 1.5 < uneven[2] / 1.5


def test_log_mmse_gain_is_that_of_the_paper() -> None:
    """A-priori SNR 1, a-posteriori SNR 2: v = 1, E1(1) = 0.2194, gain 0.5 exp(0.1097)."""
    gain = LogMmse(1.0, -60.0, 0.0).gain(steady_noise_with(2.0))
    np.testing.assert_allclose(gain[LOUD], 0.558, atol=5e-4)


def test_log_mmse_with_less_memory_leaves_a_less_even_residue() -> None:
    silent = start(np.zeros(64_000, np.float32))
    noise = silent.with_noise(0.01 * np.random.default_rng(1).standard_normal(64_000))
    uneven = []
    for smoothing in (0.995, 0.98, 0.9):
        power = np.abs(stft(LogMmse(1.0, -20.0, smoothing)(noise).noise)) ** 2
        steady = power[60:-10]  # the estimate has to settle first
        uneven.append(np.mean(steady**2) / np.mean(steady) ** 2)
    assert uneven[0] < uneven[1] / 1.2 < uneven[2] / 1.5
