"""What moves as speech does, what lasts as music does, and how far up it reaches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mtqnet.audio.audio import SAMPLE_RATE, Samples, resample
from mtqnet.audio.character import GROUP, LOOKED_AT, PIECE, REST, Character, CharacterMeter
from mtqnet.audio.flags import LASTING, STILL

Voice = Callable[..., Samples]
WHITE = np.random.default_rng(0).standard_normal(12 * SAMPLE_RATE).astype(np.float32)
TIME = np.arange(12 * SAMPLE_RATE) / SAMPLE_RATE


def character(samples: Samples, chunk: int = 10**9) -> Character:
    meter = CharacterMeter()
    for start in range(0, len(samples), chunk):
        meter.add(samples[start : start + chunk])
    return meter.finish()


@pytest.mark.parametrize("gain", [1e-3, 1.0])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_noise_of_any_colour_stands_still_at_any_level(exponent: float, gain: float) -> None:
    hertz = np.maximum(np.fft.rfftfreq(len(WHITE), 1 / SAMPLE_RATE), 20.0)
    noise = gain * np.fft.irfft(np.fft.rfft(WHITE) * (20 / hertz) ** exponent, len(WHITE))
    found = character(noise.astype(np.float32))
    assert found.movement < STILL - 0.05
    assert abs(found.persistence) < 0.1


def test_syllables_move_and_their_pitch_does_not_last(talker: Voice) -> None:
    for seed in range(5):
        found = character(talker(6.0, seed=seed))
        assert found.movement > STILL + 0.2
        assert found.persistence < LASTING - 0.05


def test_speech_in_noise_as_loud_still_moves(talker: Voice) -> None:
    for seed in range(5):
        speech = talker(6.0, seed=seed)
        noise = np.float32(speech.std()) * WHITE[: len(speech)]
        assert character(speech + noise).movement > STILL + 0.02


def test_chords_last() -> None:
    chord = sum(np.sin(2 * np.pi * hertz * n * TIME) / n for hertz in (220.0, 277.2, 329.6) for n in (1, 2, 3))
    assert character(np.asarray(0.05 * chord, dtype=np.float32)).persistence > 0.9


@pytest.mark.parametrize(("rate", "hertz"), [(4_000, 2_000), (8_000, 4_000), (11_025, 5_500), (16_000, 8_000)])
def test_bandwidth_is_where_a_lower_rate_ends(rate: int, hertz: float) -> None:
    narrow = resample(WHITE[: 4 * rate], rate, SAMPLE_RATE)
    assert character(narrow).bandwidth_hz == pytest.approx(hertz, abs=251)


def test_hum_below_the_voice_does_not_hide_the_band() -> None:
    hum = (np.sin(2 * np.pi * 50 * TIME)).astype(np.float32)
    assert character(hum + np.float32(1e-4) * WHITE).bandwidth_hz == 8_000


@pytest.mark.parametrize("chunk", [1, 7_777, PIECE, 50_001])
def test_blocks_of_any_size_give_the_same(talker: Voice, chunk: int) -> None:
    samples = talker(5.3)[: 2 * PIECE + REST if chunk > 1 else PIECE + 3]
    assert character(samples, chunk) == character(samples)


def test_pauses_between_sentences_do_not_count(talker: Voice) -> None:
    speech = talker(4.0)
    pause = np.float32(1e-4) * WHITE[: 3 * PIECE]
    assert character(np.concatenate([speech, pause, speech])).movement == pytest.approx(
        character(speech).movement, abs=1e-3
    )


def test_of_each_group_the_loudest_pieces_are_looked_at(talker: Voice) -> None:
    """Noise a little fainter than the speech, in the other pieces of its group, is not heard."""
    speech, noise = talker(2.0 * LOOKED_AT), WHITE[: (GROUP - LOOKED_AT) * PIECE]
    alone, mixed = character(speech), character(np.concatenate([speech, 0.5 * np.float32(speech.std()) * noise]))
    assert mixed == alone
    group = np.concatenate([speech, 0.5 * np.float32(speech.std()) * noise])
    assert character(np.concatenate([group, noise])).movement < alone.movement


@pytest.mark.parametrize("gain", [1e10, 1e30])
def test_samples_that_were_never_scaled_say_the_same(talker: Voice, gain: float) -> None:
    speech = talker(6.0)
    found, known = character(np.float32(gain) * speech), character(speech)
    assert found.bandwidth_hz == known.bandwidth_hz
    assert found.movement == pytest.approx(known.movement, abs=1e-3)
    assert found.persistence == pytest.approx(known.persistence, abs=1e-3)


def test_too_little_says_nothing_and_silence_does_not_either() -> None:
    for samples in (WHITE[: PIECE - 1], np.zeros(2 * PIECE, np.float32), np.full(PIECE, 0.5, np.float32)):
        found = character(samples)
        assert np.isnan([found.bandwidth_hz, found.movement, found.persistence]).all()


def test_a_click_is_no_division_by_nothing() -> None:
    click = np.zeros(2 * PIECE, np.float32)
    click[PIECE // 2] = 1.0
    found = character(click)
    assert np.isfinite([found.bandwidth_hz, found.movement, found.persistence]).all()
