"""The simulated room. Measured and statistical rooms: test_degrade.py and test_steps.py."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.room import DIRECT_S, MAX_RESPONSE_S, SimulatedRoom
from mtqnet.corpus.degradations.step import Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.errors import CorpusError
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]

OFFICE = SimulatedRoom((5.0, 4.0, 2.8), 0.4, (0.3, 0.4, 0.5), (0.45, 0.5, 0.45))
PRINT_HASH = """
import hashlib
from mtqnet.corpus.degradations.room import SimulatedRoom
room = SimulatedRoom((5.0, 4.0, 2.8), 0.4, (0.3, 0.4, 0.5), (0.45, 0.5, 0.45))
print(hashlib.sha256(room._response().tobytes()).hexdigest())
"""


def response(room: SimulatedRoom) -> NDArray[np.float64]:
    """What the room makes of a click: (2 s,)."""
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[0] = 1.0
    return room(start(click)).speech.astype(np.float64)


def reverberation_time(heard: NDArray[np.float64]) -> float:
    """Seconds: T20 of ISO 3382, -5 to -25 dB of the backward integral, times three."""
    left = 10 * np.log10(np.cumsum(heard[::-1] ** 2)[::-1] / np.sum(heard**2) + 1e-12)
    inside = np.flatnonzero((left < -5) & (left > -25))
    slope = np.polyfit(inside / SAMPLE_RATE, left[inside], 1)[0]
    return float(-60 / slope)


@pytest.mark.parametrize(
    ("size_m", "rt60_s"), [((4.0, 3.0, 2.5), 0.2), ((5.0, 4.0, 2.8), 0.4), ((8.0, 6.0, 3.2), 0.6)]
)
def test_room_decays_in_its_reverberation_time(size_m: tuple[float, float, float], rt60_s: float) -> None:
    """Sabine's formula takes the field for diffuse, which a bare box is not: a quarter of deviation is usual."""
    room = replace(OFFICE, size_m=size_m, rt60_s=rt60_s)
    assert reverberation_time(response(room)) == pytest.approx(rt60_s, rel=0.25)


def test_direct_path_comes_first_with_gain_one_and_walls_later() -> None:
    heard = response(OFFICE)
    assert heard[0] == pytest.approx(1.0, abs=1e-6)
    # The floor is nearest: 1.4 m below the mouth, 1.26 m below the microphone, 0.862 m apart on the plan.
    metres = np.hypot(2.66, np.hypot(0.75, 0.4)) - np.sqrt(0.75**2 + 0.4**2 + 0.14**2)
    floor = round(metres / 343 * SAMPLE_RATE)
    assert int(np.argmax(heard[1:])) + 1 == pytest.approx(floor, abs=1)
    assert np.abs(heard[1 : floor - 1]).max() < 0.05, "only the direct sound before it"


def test_farther_microphone_has_more_room() -> None:
    parts = []
    for place in ((0.35, 0.4, 0.5), (0.8, 0.8, 0.5)):
        heard = response(replace(OFFICE, microphone=place))
        direct = round(DIRECT_S * SAMPLE_RATE)
        parts.append(10 * np.log10(np.sum(heard[:direct] ** 2) / np.sum(heard[direct:] ** 2)))
    assert parts[0] > parts[1] + 10


def test_room_lowers_s_and_leaves_the_noise_alone(talker: Callable[..., Samples]) -> None:
    dry = WhiteNoise(30.0, 1)(start(talker()))
    mild, hard = (
        replace(OFFICE, rt60_s=rt60_s, microphone=place)(dry)
        for rt60_s, place in ((0.15, (0.36, 0.42, 0.5)), (0.6, (0.6, 0.7, 0.5)))
    )
    scores = [label(t.clean, t.speech, t.noise).s_mos for t in (dry, mild, hard)]
    assert scores[0] > scores[1] > scores[2] + 0.5
    np.testing.assert_array_equal(hard.noise, dry.noise)


def test_drawn_rooms_can_be_and_do_not_delay_the_speech(full_pool: Pool, talker: Callable[..., Samples]) -> None:
    rng = np.random.default_rng(6)
    dry = start(talker(3.0, seed=3))
    drawn = [SimulatedRoom.draw(rng, full_pool, 48_000) for _ in range(100)]
    assert len(set(drawn)) == 100
    assert min(room.rt60_s for room in drawn) < 0.3 and max(room.rt60_s for room in drawn) > 0.6
    for room in drawn[:25]:
        made = room(dry)
        assert delay(made.clean, made.speech) == 0, room
        assert np.isfinite(made.speech).all() and made.speech.dtype == np.float32
        assert len(room._response()) <= MAX_RESPONSE_S * SAMPLE_RATE


def test_equal_parameters_equal_samples_in_another_process_too() -> None:
    here = hashlib.sha256(replace(OFFICE)._response().tobytes()).hexdigest()
    there = subprocess.run([sys.executable, "-c", PRINT_HASH], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_silence_and_a_speaker_at_the_microphone_are_no_trouble(talker: Callable[..., Samples]) -> None:
    assert rms_level(OFFICE(start(np.zeros(32_000, np.float32))).mixture) < -90
    touching: Tracks = replace(OFFICE, microphone=OFFICE.source)(start(talker(2.0)))
    assert np.isfinite(touching.speech).all()


def test_room_that_cannot_be_so_dead_is_refused() -> None:
    with pytest.raises(CorpusError, match="as dead as"):
        replace(OFFICE, rt60_s=0.02)._response()
