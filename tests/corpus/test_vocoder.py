"""Vocoded speech is aligned, has the same level, is worse with fewer parameters, and is the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level
from mtqnet.corpus.degradations.generative import Resynthesis
from mtqnet.corpus.degradations.step import Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.intrusive import pesq_wb
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]
FINE = Resynthesis(bands=100, step_db=0.0, smear=1, fine=1.0, phase=0.2, rounds=16, seed=1)


@pytest.fixture(scope="module")
def tracks(talker: Callable[..., Samples]) -> Tracks:
    return start(talker(4.0, seed=3))


def test_it_comes_in_time_and_as_loud(tracks: Tracks) -> None:
    made = FINE(tracks)
    assert delay(made.clean, made.mixture) == 0
    assert active_level(made.mixture) == pytest.approx(active_level(tracks.mixture), abs=1.0)


@pytest.mark.parametrize(
    "worse",
    [{"fine": 0.4}, {"bands": 16, "fine": 0.7}, {"step_db": 9.0}, {"smear": 4}, {"phase": 1.0, "rounds": 2}],
    ids=str,
)
def test_what_is_lost_is_heard(tracks: Tracks, worse: dict[str, Any]) -> None:
    made = replace(FINE, **worse)(tracks)
    assert pesq_wb(tracks.clean, made.mixture) < pesq_wb(tracks.clean, FINE(tracks).mixture) - 0.2


def test_labels_fall(tracks: Tracks) -> None:
    best, made = FINE(tracks), replace(FINE, fine=0.4, step_db=9.0, phase=1.0, rounds=4)(tracks)
    before, after = (label(t.clean, t.speech, t.noise) for t in (best, made))
    assert before.s_mos - after.s_mos > 0.1 and before.g_mos - after.g_mos > 0.1


def test_all_that_is_drawn_can_be_done(tracks: Tracks, material: Pool) -> None:
    for seed in range(12):
        step = Resynthesis.draw(np.random.default_rng(seed), material, len(tracks.clean))
        made = step(tracks)
        assert np.isfinite(made.mixture).all() and np.array_equal(made.mixture, step(tracks).mixture)
