"""Scores over time: each is that of its stretch alone, and a fault of a second is seen where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

import mtqnet
from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import UsageError
from mtqnet.evaluation.plots import worst_stretch
from mtqnet.scoring.over_time import HOP_S, MAX_VALUES, local_track, with_local_track
from mtqnet.scoring.predictor import Predictor

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def toy(toy_model: Path) -> Predictor:
    return Predictor(toy_model, threads=1)


def test_values_are_the_scores_of_the_stretches(toy: Predictor, voice: Callable[..., Samples]) -> None:
    samples = voice(6.0, seed=1)
    track = local_track(toy, samples)
    assert track is not None and np.allclose(np.diff(track.times_s), HOP_S)
    assert (track.times_s[0], track.times_s[-1]) == (HOP_S / 2, 6.0 - HOP_S / 2)
    for place, (start_s, stop_s) in {0: (0.0, 1.75), 5: (1.25, 4.25), 11: (4.25, 6.0)}.items():
        alone = toy.score(samples[round(start_s * SAMPLE_RATE) : round(stop_s * SAMPLE_RATE)], SAMPLE_RATE)
        assert track.values[place].tolist() == [alone.value(key) for key in track.targets]


def test_silence_is_left_out_and_short_recordings_have_none(toy: Predictor, voice: Callable[..., Samples]) -> None:
    sound = voice(4.0, seed=1)
    paused = np.concatenate([sound, np.zeros(6 * SAMPLE_RATE, dtype=np.float32), sound])
    track = local_track(toy, paused)
    assert track is not None and np.diff(track.times_s).max() >= 3.0 and np.isfinite(track.values).all()
    assert local_track(toy, sound[: 3 * SAMPLE_RATE]) is None
    scores = toy.score(sound[: 3 * SAMPLE_RATE], SAMPLE_RATE)
    assert with_local_track(toy, sound[: 3 * SAMPLE_RATE], scores) is scores


def test_long_recordings_have_no_more_values(toy: Predictor, voice: Callable[..., Samples]) -> None:
    samples = np.tile(voice(4.0, seed=1), round(1.5 * MAX_VALUES * HOP_S / 4.0))
    track = local_track(toy, samples)
    assert track is not None and len(track.times_s) == MAX_VALUES


def test_fault_of_two_seconds_is_where_it_is(examples: Path) -> None:
    clean = reading.read(examples / "1_clean.flac").samples
    whole = np.tile(clean, 3)[: 12 * SAMPLE_RATE].copy()
    noise = np.random.default_rng(1).standard_normal(2 * SAMPLE_RATE) * np.sqrt(np.mean(clean**2))
    whole[7 * SAMPLE_RATE : 9 * SAMPLE_RATE] += noise.astype(np.float32)
    track = mtqnet.over_time(whole, SAMPLE_RATE)
    assert track is not None
    n_mos = track.values[:, track.targets.index("n_mos")]
    assert 6.5 <= track.times_s[n_mos.argmin()] <= 9.5
    assert n_mos.max() - n_mos.min() > 1.0
    found = worst_stretch(track)
    assert found is not None and found.start_s < 8.0 < found.stop_s


def test_fault_at_an_end_is_marked_within_the_recording(examples: Path) -> None:
    clean = reading.read(examples / "1_clean.flac").samples
    whole = np.tile(clean, 3)[: 12 * SAMPLE_RATE].copy()
    noise = np.random.default_rng(1).standard_normal(3 * SAMPLE_RATE) * np.sqrt(np.mean(clean**2))
    for place in (slice(0, 3 * SAMPLE_RATE), slice(9 * SAMPLE_RATE, None)):
        broken = whole.copy()
        broken[place] += noise.astype(np.float32)
        track = mtqnet.over_time(broken, SAMPLE_RATE)
        assert track is not None
        found = worst_stretch(track, 12.0)
        assert found is not None and 0.0 <= found.start_s < found.stop_s <= 12.0


def test_files_and_arrays_are_alike(examples: Path, toy_model: Path) -> None:
    file = examples / "2_office_noise.flac"
    samples, rate = sf.read(file, dtype="float32")
    one, two = mtqnet.over_time(file, model=toy_model), mtqnet.over_time(samples, rate, model=toy_model)
    assert np.array_equal(one.values, two.values)
    with pytest.raises(UsageError, match="rate"):
        mtqnet.over_time(file, rate)
