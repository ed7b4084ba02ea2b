"""Other voices: babble and a competing speaker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.corpus.degradations.noise import (
    LATEST_START,
    MAX_COMPETING_DB,
    MIN_COMPETING_DB,
    MIN_TALKERS,
    Babble,
    CompetingTalker,
    WhiteNoise,
)
from mtqnet.corpus.degradations.step import Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]


@pytest.fixture
def voices(material: Any) -> list[str]:
    return [str(path) for path in sorted(material.speech.rglob("*.flac"))]


@pytest.fixture
def quiet(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(45.0, 1)(start(talker(4.0, seed=3)))


@pytest.mark.parametrize("snr_db", [0.0, 15.0])
@pytest.mark.parametrize("at", [0.0, 0.5])
def test_competing_talker_begins_at_his_place_and_level(
    at: float, snr_db: float, voices: list[str], talker: Callable[..., Samples]
) -> None:
    made = CompetingTalker(voices[0], 800, at, snr_db)(start(talker(4.0, seed=3)))
    begins = round(at * len(made.clean))
    assert not made.noise[:begins].any() and made.noise[begins : begins + 16_000].any()
    assert active_level(made.speech) - active_level(made.noise) == pytest.approx(snr_db, abs=0.05)


def test_competing_talker_enters_without_a_click(voices: list[str], talker: Callable[..., Samples]) -> None:
    noise = CompetingTalker(voices[0], 9_000, 0.4, 0.0)(start(talker(4.0, seed=3))).noise
    begins = round(0.4 * len(noise))
    assert np.abs(noise[begins : begins + 4]).max() < 0.02 * np.abs(noise).max()


def test_other_voices_are_background_in_the_labels(voices: list[str], quiet: Tracks) -> None:
    before = label(quiet.clean, quiet.speech, quiet.noise)
    for step in (CompetingTalker(voices[0], 0, 0.0, 5.0), Babble(tuple(voices[::2][:2]), (0, 4_000), 5.0)):
        made = step(quiet)
        np.testing.assert_array_equal(made.speech, quiet.speech)
        after = label(made.clean, made.speech, made.noise)
        assert before.n_mos - after.n_mos > 1.0
        assert before.s_mos - after.s_mos < 0.5 * (before.n_mos - after.n_mos)


def test_louder_competitor_lowers_n_further(voices: list[str], quiet: Tracks) -> None:
    made = [CompetingTalker(voices[0], 0, 0.1, snr_db)(quiet) for snr_db in (30.0, 15.0, 0.0)]
    scores = [label(t.clean, t.speech, t.noise).n_mos for t in made]
    assert scores[0] > scores[1] + 0.3 and scores[1] > scores[2] + 0.3


def test_equal_parameters_equal_samples_and_silence_stays_silent(voices: list[str], quiet: Tracks) -> None:
    for step in (CompetingTalker(voices[1], 700, 0.3, 10.0), Babble((voices[0], voices[2]), (5, 9), 10.0)):
        copy = type(step)(**vars(step))
        np.testing.assert_array_equal(step(quiet).noise, copy(quiet).noise)
        assert step(quiet).noise.dtype == np.float32
        assert rms_level(step(start(np.zeros(32_000, np.float32))).mixture) < -80


def test_draws_vary_within_their_ranges(full_pool: Pool) -> None:
    rng = np.random.default_rng(3)
    rivals = [CompetingTalker.draw(rng, full_pool, 48_000) for _ in range(200)]
    for values, low, high in (
        ([step.snr_db for step in rivals], MIN_COMPETING_DB, MAX_COMPETING_DB),
        ([step.at for step in rivals], 0.0, LATEST_START),
    ):
        assert low <= min(values) < low + 0.1 * high and 0.9 * high < max(values) <= high
    assert len({step.file for step in rivals}) > 3
    crowds = {len(Babble.draw(rng, full_pool, 48_000).files) for _ in range(100)}
    assert min(crowds) == MIN_TALKERS and len(crowds) > 3
