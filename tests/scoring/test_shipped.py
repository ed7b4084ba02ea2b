"""The shipped weights: plausible scores, and equal scores after changes that do not affect quality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

import mtqnet
from mtqnet.audio import reading, resampling
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.audio.windows import MAX_WINDOW_S
from mtqnet.targets import KEYS, TARGETS

Voice = Callable[..., Samples]
TRAINING_UNIT = 0.1
"""A tenth of a MOS point, or as large a share of another target's range."""


@pytest.fixture(scope="module")
def base() -> mtqnet.Predictor:
    return mtqnet.load("base")


def on_training_scale(scores: mtqnet.Scores) -> NDArray[np.float64]:
    """(6,), MOS-like units, so that one bound fits all targets."""
    scores.raise_for_error()
    return np.array([float(t.to_training(np.array(scores.value(t.key), dtype=float))) for t in TARGETS])


def with_noise(samples: Samples, snr_db: float) -> Samples:
    noise = np.random.default_rng(7).standard_normal(len(samples))
    noise *= np.sqrt(np.mean(samples.astype(float) ** 2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (samples + noise).astype(np.float32)


def test_it_has_all_six_targets_and_a_licence(base: mtqnet.Predictor) -> None:
    assert sorted(base.record.targets) == sorted(KEYS)
    assert base.record.name == "base"
    assert base.record.licence


def test_noise_is_heard(base: mtqnet.Predictor, examples: Path) -> None:
    speech = reading.read(examples / "1_clean.flac").samples
    clean, noisy = base.score(speech, SAMPLE_RATE), base.score(with_noise(speech, 0), SAMPLE_RATE)
    assert clean.n_mos is not None
    assert noisy.n_mos is not None
    assert clean.n_mos > noisy.n_mos + 0.5
    assert clean.sdi_est is not None
    assert noisy.sdi_est is not None
    assert clean.sdi_est < noisy.sdi_est


def test_track_has_the_rate_it_claims(base: mtqnet.Predictor, voice: Voice) -> None:
    track = base.score(voice(4.0), SAMPLE_RATE).track
    assert track is not None
    assert len(track.times_s) == pytest.approx(4.0 * base.record.frame_rate_hz, abs=1.5)
    assert np.isfinite(track.values).all()


def test_level_inside_the_valid_range_moves_scores_little(base: mtqnet.Predictor, voice: Voice) -> None:
    noisy = with_noise(voice(4.0, level_db=-26), 15)
    reference = on_training_scale(base.score(noisy, SAMPLE_RATE))
    for gain_db in (-19, -10, 11):  # -45, -36 and -15 dBov
        moved = on_training_scale(base.score(noisy * np.float32(10 ** (gain_db / 20)), SAMPLE_RATE))
        assert np.abs(moved - reference).max() < 5 * TRAINING_UNIT, gain_db


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_copies_at_other_rates_score_the_same(base: mtqnet.Predictor, voice: Voice, rate: int) -> None:
    here = with_noise(voice(4.0), 25)
    away = resampling.resample(here, SAMPLE_RATE, rate)
    moved = on_training_scale(base.score(away, rate)) - on_training_scale(base.score(here, SAMPLE_RATE))
    assert np.abs(moved).max() < TRAINING_UNIT * 2


def test_the_16_bit_file_scores_as_its_float_array(base: mtqnet.Predictor, voice: Voice, tmp_path: Path) -> None:
    samples = with_noise(voice(3.0), 25)
    sf.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="PCM_16")
    by_file, by_array = base.score(tmp_path / "a.wav"), base.score(samples, SAMPLE_RATE)
    assert np.abs(on_training_scale(by_file) - on_training_scale(by_array)).max() < TRAINING_UNIT


def test_a_long_recording_scores_like_its_windows(base: mtqnet.Predictor, voice: Voice) -> None:
    samples = with_noise(voice(2.5 * MAX_WINDOW_S), 10)
    pieces = [base.score(piece, SAMPLE_RATE) for piece in np.array_split(samples, 3)]
    whole = base.score(samples, SAMPLE_RATE)
    for key in KEYS:  # products in 8 bits round samples that differ in the last digit to neighbouring steps
        assert whole.value(key) == pytest.approx(np.mean([piece.value(key) or 0 for piece in pieces]), rel=1e-2)


def test_two_predictors_agree_to_the_bit(base: mtqnet.Predictor, voice: Voice) -> None:
    assert mtqnet.load("base").score(voice(3.0), SAMPLE_RATE) == base.score(voice(3.0), SAMPLE_RATE)


@pytest.mark.shared
def test_real_speech_in_noise_is_ordered(base: mtqnet.Predictor, shared_data: Path) -> None:
    files = sorted((shared_data / "speech_librispeech").rglob("*.flac"))[::40]
    drops = []
    for file in files:
        clean = reading.read(file).samples
        pair = [on_training_scale(base.score(one, SAMPLE_RATE)) for one in (clean, with_noise(clean, 5))]
        drops.append(pair[0] - pair[1])
    assert np.mean(drops, axis=0)[:5].min() > 0.5
    assert np.mean(drops, axis=0)[5] < 0  # SDI: less is better


@pytest.mark.parametrize("pause_s", [1.0, 5.0, 30.0])
def test_padding_a_recording_with_zeros_moves_no_score(base: mtqnet.Predictor, pause_s: float) -> None:
    recording = Path(__file__).parents[2] / "examples/recordings/3_crowd.flac"
    samples, rate = sf.read(recording, dtype="float32")
    padded = np.concatenate([samples, np.zeros(round(pause_s * rate), dtype=np.float32)])
    alone, longer = base.score(samples, rate), base.score(padded, rate)
    for target in TARGETS:
        assert getattr(longer, target.key) == pytest.approx(getattr(alone, target.key), abs=0.1)
