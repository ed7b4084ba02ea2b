"""A recording gets a score or a reason; flags come where they should and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtqnet.audio.audio import SAMPLE_RATE, Recording, Samples, from_array, read, resample
from mtqnet.audio.checks import (
    FLAT_TOP_QUANTILE,
    FLAT_TOP_TOLERANCE,
    _flat_top,
    facts,
    flags,
    heard,
    refuse,
)
from mtqnet.errors import SilentError, TooShortError

Voice = Callable[..., Samples]


def recording(samples: Samples, rate: int = SAMPLE_RATE) -> Recording:
    return from_array(samples, rate)


@pytest.fixture(scope="module")
def speech(voice: Voice) -> Voice:
    """`voice` with breath up to the end of the band: nothing is wrong with it."""

    def breathing(seconds: float, level_db: float = -26.0, rate: int = SAMPLE_RATE) -> Samples:
        sound = voice(seconds, rate=rate, level_db=level_db)
        breath = np.random.default_rng(1).standard_normal(len(sound)).astype(np.float32)
        return sound + np.float32(0.05) * np.abs(sound) * breath

    return breathing


def test_half_a_second_is_the_limit(voice: Voice) -> None:
    refuse(recording(voice(0.5)))
    with pytest.raises(TooShortError, match=r"0\.01 s"):
        refuse(recording(voice(0.01)))
    with pytest.raises(TooShortError):
        refuse(recording(voice(0.5)[:-1]))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("offset", [0.0, 0.5, -1.0])
def test_silence_and_constant_dc_are_refused_at_every_rate(rate: int, offset: float) -> None:
    with pytest.raises(SilentError, match="nothing to hear"):
        refuse(recording(np.full(2 * rate, offset, np.float32), rate))


def test_dither_alone_is_silence() -> None:
    dither = np.random.default_rng(0).integers(-1, 2, 2 * SAMPLE_RATE).astype(np.int16)
    with pytest.raises(SilentError):
        refuse(from_array(dither, SAMPLE_RATE))


def test_faint_speech_is_heard_and_flagged(speech: Voice) -> None:
    faint = recording(speech(3.0, level_db=-65))
    refuse(faint)
    assert flags(faint) == ("low_level",)


def test_one_word_in_a_long_silence_is_heard_and_called_short(speech: Voice) -> None:
    samples = np.zeros(60 * SAMPLE_RATE, np.float32)
    samples[SAMPLE_RATE : 2 * SAMPLE_RATE] = speech(1.0)
    refuse(recording(samples))
    assert flags(recording(samples)) == ("short",)


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100, 48_000])
@pytest.mark.parametrize("level_db", [-45, -26, -15])
def test_clean_speech_has_no_flags(speech: Voice, level_db: float, rate: int) -> None:
    assert flags(recording(speech(3.0, level_db=level_db, rate=rate), rate)) == ()


def test_short_and_loud(speech: Voice) -> None:
    assert flags(recording(speech(1.9))) == ("short",)
    assert flags(recording(speech(2.0))) == ()
    assert flags(recording(speech(3.0, level_db=-5))) == ("high_level",)


@pytest.mark.parametrize("offset", [0.06, -0.2])
def test_an_offset_is_told_whatever_its_sign(speech: Voice, offset: float) -> None:
    assert flags(recording(speech(3.0) + np.float32(offset))) == ("dc",)


def test_an_offset_below_the_threshold_is_not_told(speech: Voice) -> None:
    assert flags(recording(speech(3.0) + np.float32(0.04))) == ()


def test_a_call_in_a_wide_file_is_narrow_and_a_file_of_its_own_rate_is_not(speech: Voice) -> None:
    call = speech(4.0, rate=8_000)
    assert flags(recording(call, 8_000)) == ("low_rate",)
    for rate in (16_000, 48_000):
        assert flags(recording(resample(call, 8_000, rate), rate)) == ("narrow_band",)


def test_a_word_in_a_quiet_background_is_little_speech_and_half_of_the_time_is_not(speech: Voice) -> None:
    background = np.float32(1e-3) * white(20 * SAMPLE_RATE)
    word, half = background.copy(), background.copy()
    word[5 * SAMPLE_RATE : 6 * SAMPLE_RATE] += speech(1.0)
    half[5 * SAMPLE_RATE : 15 * SAMPLE_RATE] += speech(10.0)
    assert "little_speech" in flags(recording(word))
    assert flags(recording(half)) == ()


def test_a_word_that_begins_at_the_very_end_makes_no_false_level(speech: Voice) -> None:
    """P.56 alone would share all energy among the few steps that reach its highest threshold."""
    sound = speech(4.0)
    onset = np.full(48, 0.9, np.float32)
    found = facts(recording(np.concatenate([sound, onset])))
    assert found.active_dbov < -18
    assert found.active_share > 0.5


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_clipping_is_seen_at_any_level_and_after_resampling(voice: Voice, rate: int, gain: float) -> None:
    loud = voice(3.0, rate=rate, level_db=-12)
    ceiling = np.quantile(np.abs(loud), 0.97)  # 3 % of the samples are cut off
    assert "clipped" not in flags(recording(loud, rate))
    assert "clipped" in flags(recording(np.clip(loud, -ceiling, ceiling) * np.float32(gain), rate))


def test_clipping_of_one_half_wave_is_enough(voice: Voice) -> None:
    loud = voice(3.0)
    assert "clipped" in flags(recording(np.minimum(loud, np.quantile(loud, 0.97))))


@pytest.mark.parametrize("level_db", [-40.0, -20.0])
def test_active_level_is_that_of_the_speech_whatever_the_dc(voice: Voice, level_db: float) -> None:
    """A quarter of the voice is pause: the active level lies above the RMS, by less than 6 dB."""
    plain = facts(recording(voice(4.0, level_db=level_db)))
    shifted = facts(recording(voice(4.0, level_db=level_db) + np.float32(0.2)))
    assert level_db <= plain.active_dbov <= level_db + 6
    assert shifted.active_dbov == pytest.approx(plain.active_dbov, abs=0.1)


def test_facts_of_a_known_signal() -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    found = facts(recording((0.5 * np.sin(2 * np.pi * 1_000 * time)).astype(np.float32)))
    assert found.duration_s == 2.0
    assert found.peak == pytest.approx(0.5, abs=1e-3)
    assert found.loudest_dbov == pytest.approx(-9.03, abs=0.01)  # -6.02 for the half, -3.01 for the sine
    assert found.active_dbov == pytest.approx(-9.03, abs=0.2)


@pytest.mark.shared
def test_real_clean_speech_is_hardly_ever_flagged(shared_data: Path) -> None:
    files = sorted((shared_data / "speech_librispeech").rglob("*.flac"))[::20]
    found = [flags(read(file)) for file in files]
    assert files
    assert sum("clipped" in one or "low_level" in one for one in found) <= len(files) / 20


def test_a_channel_with_the_sign_turned_is_told_and_the_other_is_heard(voice: Callable[..., Samples]) -> None:
    samples = voice(3.0)
    turned = from_array(np.stack([samples, -samples], axis=1), SAMPLE_RATE)
    assert "channels_cancel" in flags(turned)
    np.testing.assert_array_equal(turned.samples, samples)


def test_a_silent_second_channel_is_no_cancellation(voice: Callable[..., Samples]) -> None:
    samples = voice(3.0)
    one_sided = from_array(np.stack([samples, 0 * samples], axis=1), SAMPLE_RATE)
    assert "channels_cancel" not in flags(one_sided)


def test_silence_at_the_ends_is_not_heard_but_short_pauses_stay(voice: Callable[..., Samples]) -> None:
    samples, second = voice(3.0) + np.float32(1e-2) * white(3 * SAMPLE_RATE), np.zeros(SAMPLE_RATE, np.float32)
    start, stop = heard(from_array(np.concatenate([second, samples, second]), SAMPLE_RATE))
    assert start == pytest.approx(SAMPLE_RATE, abs=400) and stop == pytest.approx(4 * SAMPLE_RATE, abs=400)
    short = second[: SAMPLE_RATE // 4]
    whole = from_array(np.concatenate([short, samples, short]), SAMPLE_RATE)
    assert heard(whole) == (0, len(whole.samples))


def test_a_click_in_silence_is_too_short() -> None:
    samples = np.zeros(4 * SAMPLE_RATE, np.float32)
    samples[2 * SAMPLE_RATE : 2 * SAMPLE_RATE + 1600] = 0.1 * white(1600)
    with pytest.raises(TooShortError, match="of sound"):
        heard(from_array(samples, SAMPLE_RATE))


def white(samples: int) -> Samples:
    return np.random.default_rng(0).standard_normal(samples, dtype=np.float32)


def test_flat_top_is_the_share_near_the_quantile_of_the_positive_samples(voice: Voice) -> None:
    click = np.zeros(4_000, np.float32)
    click[7] = 1.0
    sparse = click + np.float32(1e-30) * np.abs(white(4_000))
    for samples in (voice(3.0), np.clip(voice(3.0), -0.1, 0.1), white(999), click, sparse, -white(50), np.ones(3)):
        samples = np.asarray(samples, dtype=np.float32)
        top = np.quantile(samples[samples > 0], FLAT_TOP_QUANTILE)
        share = np.count_nonzero(samples >= (1 - FLAT_TOP_TOLERANCE) * top) / len(samples)
        assert _flat_top(samples) == pytest.approx(share, abs=1.01 / len(samples))
    assert _flat_top(-np.ones(5, np.float32)) == 0.0
