"""Properties of all steps and of kinds of steps. Single steps: test_steps.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.degradations.device import BandLimit, Clipping, Mnru, Playback
from mtqnet.corpus.degradations.network import FrameLoss
from mtqnet.corpus.degradations.noise import Babble, ColouredNoise, RecordedNoise, WhiteNoise
from mtqnet.corpus.degradations.room import DecayRoom, MeasuredRoom
from mtqnet.corpus.degradations.step import Step, Tracks, start
from mtqnet.corpus.degradations.suppressors import SpectralGain
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay

Samples = NDArray[np.float32]

GAIN_OR_LINEAR: tuple[Step, ...] = (
    Mnru(20.0, True, 1),
    Clipping(12.0, False),
    Clipping(12.0, True),
    FrameLoss(0.1, 1.5, 20, 1),
    BandLimit(300.0, 3400.0, 12),
    SpectralGain(1.5, -20.0, 1.0),
    Playback(-30.0),
)
"""Steps that do the same to both tracks"""
SYNTHETIC: tuple[Step, ...] = (
    *GAIN_OR_LINEAR,
    Mnru(20.0, False, 1),
    WhiteNoise(10.0, 1),
    ColouredNoise(6.0, 10.0, 1),
    DecayRoom(0.4, 3.0, 1),
)
DRAWN = tuple(name for name in STEPS if name != "Splice")
"""Kinds that draw their own parameters"""
NOISES = ("recorded", "white", "pink", "babble")


@pytest.fixture
def tracks(talker: Callable[..., Samples]) -> Tracks:
    """Speech with soft noise."""
    return WhiteNoise(25.0, 7)(start(talker(3.0, seed=3)))


@pytest.fixture(params=NOISES)
def noise_step(request: pytest.FixtureRequest, material: Any) -> Step:
    hum = str(min(material.noise.iterdir()))
    talkers = tuple(map(str, sorted(material.speech.rglob("*.flac"))[:4]))
    kinds: dict[str, Step] = {
        "recorded": RecordedNoise(hum, 1_000, 12.0),
        "white": WhiteNoise(12.0, 2),
        "pink": ColouredNoise(3.0, 12.0, 2),
        "babble": Babble(talkers, (0, 500, 9_000, 40_000), 12.0),
    }
    return kinds[request.param]


@pytest.mark.parametrize("step", SYNTHETIC, ids=str)
def test_same_parameters_give_the_same_samples(step: Step, tracks: Tracks) -> None:
    copy = type(step)(**vars(step))
    for part in ("clean", "speech", "noise"):
        np.testing.assert_array_equal(getattr(step(tracks), part), getattr(copy(tracks), part))


@pytest.mark.parametrize("step", GAIN_OR_LINEAR, ids=str)
def test_sum_of_the_tracks_is_what_the_step_does_to_the_mixture(step: Step, tracks: Tracks) -> None:
    whole = step(Tracks(tracks.clean, tracks.mixture, np.zeros_like(tracks.clean)))
    np.testing.assert_allclose(step(tracks).mixture, whole.mixture, atol=2e-5)


@pytest.mark.parametrize("step", SYNTHETIC, ids=str)
def test_step_keeps_length_type_reference_and_time(step: Step, tracks: Tracks) -> None:
    made = step(tracks)
    for part in (made.clean, made.speech, made.noise):
        assert part.dtype == np.float32 and part.shape == tracks.clean.shape and np.isfinite(part).all()
    np.testing.assert_array_equal(made.clean, tracks.clean)
    assert delay(made.clean, made.speech) == 0, "the speech came late"


@pytest.mark.parametrize("step", SYNTHETIC, ids=str)
def test_step_makes_no_sound_of_silence(step: Step) -> None:
    made = step(start(np.zeros(32_000, np.float32)))
    assert rms_level(made.mixture) < -90


def test_noise_stands_as_far_below_the_speech_as_asked(noise_step: Step, tracks: Tracks) -> None:
    quiet = Tracks(tracks.clean, tracks.speech, np.zeros_like(tracks.noise))
    made = noise_step(quiet)
    assert active_level(made.speech) - rms_level(made.noise) == pytest.approx(12.0, abs=0.02)


def test_noise_leaves_the_speech_alone_and_adds_to_the_noise(noise_step: Step, tracks: Tracks) -> None:
    made = noise_step(tracks)
    np.testing.assert_array_equal(made.speech, tracks.speech)
    assert rms_level(made.noise) > rms_level(tracks.noise) + 3
    assert delay(made.clean, made.mixture) == 0


def test_recorded_material_gives_the_same_samples_twice(noise_step: Step, tracks: Tracks) -> None:
    copy = type(noise_step)(**vars(noise_step))
    np.testing.assert_array_equal(noise_step(tracks).noise, copy(tracks).noise)


def test_measured_room_does_not_delay_the_speech(material: Any, tracks: Tracks) -> None:
    """The impulse response has 2.5 ms before the direct path, the clip does not."""
    step = MeasuredRoom(str(material.rooms / "office.wav"), 0.0)
    made = step(tracks)
    assert delay(made.clean, made.speech) == 0
    np.testing.assert_array_equal(made.noise, tracks.noise)
    np.testing.assert_array_equal(made.speech, step(tracks).speech)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_step_is_numbers_that_json_keeps_and_can_be_applied(
    name: str, full_pool: Pool, tracks: Tracks
) -> None:
    if lacking := missing(name):
        pytest.skip("; ".join(f"{need.name} is not installed: {need.install}" for need in lacking))
    rng = np.random.default_rng(4)
    drawn = [STEPS[name].draw(rng, full_pool, len(tracks.clean)) for _ in range(40)]
    assert len(set(map(str, drawn))) > 10, "hardly any variety"
    for step in drawn:
        kept = json.loads(json.dumps(vars(step)))
        assert {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()} == vars(step)
    assert np.isfinite(drawn[0](tracks).mixture).all()


@pytest.mark.parametrize("name", DRAWN)
def test_draw_depends_on_the_generator_alone(name: str, full_pool: Pool) -> None:
    one, two = (STEPS[name].draw(np.random.default_rng(5), full_pool, 48_000) for _ in range(2))
    assert one == two
