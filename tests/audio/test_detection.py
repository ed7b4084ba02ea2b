"""Detection of noise and music, and the bandwidth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtqnet.audio.detection import GROUP, MEASURED, REST, SEGMENT, SoundType, SpeechDetector
from mtqnet.audio.flags import MUSIC_PERSISTENCE, NOISE_CHANGE
from mtqnet.audio.reading import read
from mtqnet.audio.resampling import SAMPLE_RATE, Samples, resample

Voice = Callable[..., Samples]
WHITE = np.random.default_rng(0).standard_normal(12 * SAMPLE_RATE).astype(np.float32)
TIME = np.arange(12 * SAMPLE_RATE) / SAMPLE_RATE


def sound_type(samples: Samples, chunk: int = 10**9) -> SoundType:
    detector = SpeechDetector()
    for start in range(0, len(samples), chunk):
        detector.add(samples[start : start + chunk])
    return detector.finish()


@pytest.mark.parametrize("gain", [1e-3, 1.0])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_noise_of_any_spectrum_and_level_has_little_spectral_change(exponent: float, gain: float) -> None:
    hertz = np.maximum(np.fft.rfftfreq(len(WHITE), 1 / SAMPLE_RATE), 20.0)
    noise = gain * np.fft.irfft(np.fft.rfft(WHITE) * (20 / hertz) ** exponent, len(WHITE))
    found = sound_type(noise.astype(np.float32))
    assert found.spectral_change < NOISE_CHANGE - 0.05
    assert abs(found.tonal_persistence) < 0.1


def test_speech_changes_and_its_tones_do_not_last(talker: Voice) -> None:
    for seed in range(5):
        found = sound_type(talker(6.0, seed=seed))
        assert found.spectral_change > NOISE_CHANGE + 0.2
        assert found.tonal_persistence < MUSIC_PERSISTENCE - 0.05


def test_speech_at_0_db_snr_changes(talker: Voice) -> None:
    for seed in range(5):
        speech = talker(6.0, seed=seed)
        noise = np.float32(speech.std()) * WHITE[: len(speech)]
        assert sound_type(speech + noise).spectral_change > NOISE_CHANGE + 0.02


def test_tones_of_chords_last() -> None:
    chord = sum(np.sin(2 * np.pi * hertz * n * TIME) / n for hertz in (220.0, 277.2, 329.6) for n in (1, 2, 3))
    assert sound_type(np.asarray(0.05 * chord, dtype=np.float32)).tonal_persistence > 0.9


@pytest.mark.parametrize(("rate", "hertz"), [(4_000, 2_000), (8_000, 4_000), (11_025, 5_500), (16_000, 8_000)])
def test_bandwidth_of_resampled_noise(rate: int, hertz: float) -> None:
    narrow = resample(WHITE[: 4 * rate], rate, SAMPLE_RATE)
    assert sound_type(narrow).bandwidth_hz == pytest.approx(hertz, abs=251)


def test_hum_does_not_change_the_bandwidth() -> None:
    hum = (np.sin(2 * np.pi * 50 * TIME)).astype(np.float32)
    assert sound_type(hum + np.float32(1e-4) * WHITE).bandwidth_hz == 8_000


@pytest.mark.parametrize("chunk", [1, 7_777, SEGMENT, 50_001])
def test_result_does_not_depend_on_the_block_size(talker: Voice, chunk: int) -> None:
    samples = talker(5.3)[: 2 * SEGMENT + REST if chunk > 1 else SEGMENT + 3]
    assert sound_type(samples, chunk) == sound_type(samples)


def test_pauses_between_sentences_are_ignored(talker: Voice) -> None:
    speech = talker(4.0)
    pause = np.float32(1e-4) * WHITE[: 3 * SEGMENT]
    assert sound_type(np.concatenate([speech, pause, speech])).spectral_change == pytest.approx(
        sound_type(speech).spectral_change, abs=1e-3
    )


def test_the_loudest_segments_of_each_group_are_measured(talker: Voice) -> None:
    """Noise that is fainter than the speech, in the other segments of its group, is not measured."""
    speech, noise = talker(2.0 * MEASURED), WHITE[: (GROUP - MEASURED) * SEGMENT]
    alone, mixed = sound_type(speech), sound_type(np.concatenate([speech, 0.5 * np.float32(speech.std()) * noise]))
    assert mixed == alone
    group = np.concatenate([speech, 0.5 * np.float32(speech.std()) * noise])
    assert sound_type(np.concatenate([group, noise])).spectral_change < alone.spectral_change


@pytest.mark.parametrize("gain", [1e10, 1e30])
def test_unscaled_samples_give_the_same_result(talker: Voice, gain: float) -> None:
    speech = talker(6.0)
    found, known = sound_type(np.float32(gain) * speech), sound_type(speech)
    assert found.bandwidth_hz == known.bandwidth_hz
    assert found.spectral_change == pytest.approx(known.spectral_change, abs=1e-3)
    assert found.tonal_persistence == pytest.approx(known.tonal_persistence, abs=1e-3)


def test_short_or_silent_signals_give_nan() -> None:
    for samples in (WHITE[: SEGMENT - 1], np.zeros(2 * SEGMENT, np.float32), np.full(SEGMENT, 0.5, np.float32)):
        found = sound_type(samples)
        assert np.isnan([found.bandwidth_hz, found.spectral_change, found.tonal_persistence]).all()


def test_a_single_click_gives_finite_values() -> None:
    click = np.zeros(2 * SEGMENT, np.float32)
    click[SEGMENT // 2] = 1.0
    found = sound_type(click)
    assert np.isfinite([found.bandwidth_hz, found.spectral_change]).all()


def test_tones_are_measured_from_four_seconds_of_sound() -> None:
    tone = np.sin(2 * np.pi * 440 * TIME).astype(np.float32)
    pause = np.float32(1e-4) * WHITE[: 3 * SAMPLE_RATE]
    assert np.isnan(sound_type(tone[: round(3.9 * SAMPLE_RATE)]).tonal_persistence)
    assert np.isnan(sound_type(np.concatenate([tone[: 2 * SAMPLE_RATE], pause])).tonal_persistence)
    assert sound_type(tone[: 4 * SAMPLE_RATE]).tonal_persistence > 0.9


def test_short_excerpts_of_the_clean_example_are_not_music(examples: Path) -> None:
    speech = read(examples / "1_clean.flac").samples
    for number in range(16):
        samples = speech[number * 800 :][: round((2.5 + number % 4 / 2) * SAMPLE_RATE)]
        assert not sound_type(samples).tonal_persistence > MUSIC_PERSISTENCE
