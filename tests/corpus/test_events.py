"""Hum, wind, clicks, and a background that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.noise import (
    CLICK_SPREAD_DB,
    MAINS_HZ,
    RAGGED_DB,
    SWINGS,
    Clicks,
    MainsHum,
    NoiseSwing,
    WhiteNoise,
    WindBursts,
)
from mtqnet.corpus.degradations.step import Step, Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]

ADDED: tuple[Step, ...] = (
    MainsHum(50, 20, 1.0, 10.0, 1),
    WindBursts(150.0, 1.0, 25.0, 0.0, 1),
    Clicks(15.0, 0.0, 0.0, 1000.0, 1),
    Clicks(10.0, 0.0, 3.0, 1500.0, 1),
)
SWUNG = tuple(NoiseSwing(shape, 20.0, 0.5, 0.5) for shape in SWINGS)


@pytest.fixture
def quiet(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(45.0, 1)(start(talker(4.0, seed=3)))


def ones(seconds: float) -> Tracks:
    """Speech and noise of a constant 1: what a gain does can be read off."""
    flat = np.ones(round(seconds * SAMPLE_RATE), np.float32)
    return Tracks(flat, flat, flat)


@pytest.mark.parametrize("mains_hz", MAINS_HZ)
def test_hum_is_lines_at_multiples_of_the_mains_frequency(mains_hz: int, talker: Callable[..., Samples]) -> None:
    hum = MainsHum(mains_hz, 12, 2.0, 10.0, 4)(start(talker(4.0))).noise.astype(np.float64)
    power = np.abs(np.fft.rfft(hum)) ** 2  # bins of 0.25 Hz
    lines = power[4 * mains_hz :: 4 * mains_hz][:12]
    assert lines.sum() > 0.9999 * power.sum()
    fall = 10 * np.log10(lines[0] / lines)
    np.testing.assert_allclose(fall, 2.0 * np.arange(12), atol=2 * RAGGED_DB)


def test_hum_has_the_snr_asked(talker: Callable[..., Samples]) -> None:
    made = MainsHum(60, 8, 1.0, 13.0, 4)(start(talker()))
    assert active_level(made.speech) - rms_level(made.noise) == pytest.approx(13.0, abs=0.02)


@pytest.mark.parametrize("corner_hz", [50.0, 200.0])
def test_wind_is_low_and_comes_in_gusts(corner_hz: float, talker: Callable[..., Samples]) -> None:
    wind = WindBursts(corner_hz, 1.0, 30.0, 0.0, 2)(start(talker(6.0))).noise.astype(np.float64)
    power = np.abs(np.fft.rfft(wind)) ** 2
    assert power[: 300 * 6].sum() > 0.95 * power.sum()
    gusts = rms_level_of_frames(wind, SAMPLE_RATE // 5)
    assert 15 < np.ptp(gusts) < 50


def rms_level_of_frames(samples: NDArray[np.float64], frame: int) -> NDArray[np.float64]:
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1)))


def test_clicks_are_as_many_and_as_loud_as_asked(talker: Callable[..., Samples]) -> None:
    tracks = start(talker(4.0))
    noise = np.abs(Clicks(10.0, -6.0, 0.0, 1000.0, 3)(tracks).noise)
    loudest = np.abs(tracks.speech).max() * 10 ** (-6 / 20)
    heard = noise[noise > 0]
    assert 36 <= len(heard) <= 40, "two at one place are one"
    assert heard.max() == pytest.approx(loudest, rel=1e-4)
    assert heard.min() > loudest * 10 ** (-CLICK_SPREAD_DB / 20) * 0.99


def test_resonant_click_rings_at_its_frequency_and_dies_away(talker: Callable[..., Samples]) -> None:
    noise = Clicks(0.25, 0.0, 4.0, 2000.0, 7)(start(talker(4.0))).noise
    begins = int(np.flatnonzero(noise)[0])
    ring = noise[begins : begins + 640].astype(np.float64)
    assert np.argmax(np.abs(np.fft.rfft(ring))) * SAMPLE_RATE / len(ring) == pytest.approx(2000, abs=60)
    fallen = 10 * np.log10(np.sum(ring[:64] ** 2) / np.sum(ring[128:192] ** 2))  # two time constants later
    assert fallen == pytest.approx(40 * np.log10(np.e), abs=1)


@pytest.mark.parametrize("step", ADDED, ids=str)
def test_added_noise_lowers_n_far_more_than_s(step: Step, quiet: Tracks) -> None:
    noisy = step(quiet)
    before, after = (label(t.clean, t.speech, t.noise) for t in (quiet, noisy))
    assert before.n_mos - after.n_mos > 1.0
    assert before.s_mos - after.s_mos < 0.5 * (before.n_mos - after.n_mos)
    np.testing.assert_array_equal(noisy.speech, quiet.speech)


def test_swing_is_a_gain_on_the_noise_alone() -> None:
    rise, fall, lull = (step(ones(4.0)) for step in SWUNG)
    soft = pytest.approx(0.1, rel=1e-3)
    for made in (rise, fall, lull):
        np.testing.assert_array_equal(made.speech, 1.0)
        assert made.noise.max() == pytest.approx(1.0) and made.noise.min() == soft
    assert rise.noise[0] == soft and rise.noise[-1] == pytest.approx(1.0) and np.all(np.diff(rise.noise) >= 0)
    np.testing.assert_allclose(fall.noise[1:], rise.noise[:0:-1], rtol=1e-3)
    assert lull.noise[32_000] == soft and lull.noise[0] == lull.noise[-1] == pytest.approx(1.0)


def test_change_takes_the_seconds_asked() -> None:
    slow, quick = (NoiseSwing("rise", 20.0, 0.5, seconds)(ones(4.0)).noise for seconds in (1.0, 0.005))
    for noise, samples in ((slow, 16_000), (quick, 80)):
        assert np.count_nonzero((noise > 0.1001) & (noise < 0.9999)) == pytest.approx(samples, rel=0.05)


@pytest.mark.parametrize("step", SWUNG, ids=str)
def test_softer_part_of_the_noise_raises_n_and_hardly_moves_s(
    step: NoiseSwing, talker: Callable[..., Samples]
) -> None:
    noisy = WhiteNoise(15.0, 1)(start(talker()))
    before, after = (label(t.clean, t.speech, t.noise) for t in (noisy, step(noisy)))
    assert after.n_mos > before.n_mos
    assert after.s_mos == pytest.approx(before.s_mos, abs=0.15)


@pytest.mark.parametrize("step", (*ADDED, *SWUNG), ids=str)
def test_equal_parameters_equal_samples_in_the_same_place(step: Step, quiet: Tracks) -> None:
    made, again = step(quiet), type(step)(**vars(step))(quiet)
    np.testing.assert_array_equal(made.noise, again.noise)
    np.testing.assert_array_equal(made.clean, quiet.clean)
    assert made.noise.dtype == np.float32 and made.noise.shape == quiet.noise.shape
    assert delay(made.clean, made.speech) == 0
    assert rms_level(step(start(np.zeros(32_000, np.float32))).mixture) < -80


@pytest.mark.parametrize("kind", [MainsHum, WindBursts, Clicks, NoiseSwing])
def test_draws_vary(kind: Any, full_pool: Pool) -> None:
    rng = np.random.default_rng(3)
    drawn = [kind.draw(rng, full_pool, 48_000) for _ in range(100)]
    assert len(set(map(str, drawn))) == 100
    for name in vars(drawn[0]):
        assert len({vars(step)[name] for step in drawn}) > 1, name
