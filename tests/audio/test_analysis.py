"""Analysis of recordings: refusals, flags, trimming, and independence of the size of blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtqnet.audio.analysis import (
    FLAT_TOP_QUANTILE,
    FLAT_TOP_TOLERANCE,
    Analyser,
    Analysis,
    FlatTop,
    analyse,
    analyse_recording,
)
from mtqnet.audio.decoding import ArraySource
from mtqnet.audio.flags import Measurements
from mtqnet.audio.level import active_level, active_power
from mtqnet.audio.reading import MonoSignal, Recording, from_array, read
from mtqnet.audio.resampling import SAMPLE_RATE, Samples, resample
from mtqnet.errors import SilentError, TooShortError

Voice = Callable[..., Samples]


def recording(samples: Samples, rate: int = SAMPLE_RATE) -> Recording:
    return from_array(samples, rate)


def flags(recording: Recording) -> tuple[str, ...]:
    return analyse_recording(recording).flags


def measurements(recording: Recording) -> Measurements:
    return analyse_recording(recording).measurements


def trimmed(recording: Recording) -> tuple[int, int]:
    analysis = analyse_recording(recording)
    return analysis.start, analysis.stop


@pytest.fixture(scope="module")
def speech(voice: Voice) -> Voice:
    """`voice` with breath noise up to the end of the band: an undegraded recording."""

    def breathing(seconds: float, level_db: float = -26.0, rate: int = SAMPLE_RATE) -> Samples:
        sound = voice(seconds, rate=rate, level_db=level_db)
        breath = np.random.default_rng(1).standard_normal(len(sound)).astype(np.float32)
        return sound + np.float32(0.05) * np.abs(sound) * breath

    return breathing


def test_half_a_second_is_the_limit(voice: Voice) -> None:
    analyse_recording(recording(voice(0.5)))
    with pytest.raises(TooShortError, match=r"0\.01 s"):
        analyse_recording(recording(voice(0.01)))
    with pytest.raises(TooShortError):
        analyse_recording(recording(voice(0.5)[:-1]))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("offset", [0.0, 0.5, -1.0])
def test_silence_and_constant_dc_are_refused_at_every_rate(rate: int, offset: float) -> None:
    with pytest.raises(SilentError, match="silent"):
        analyse_recording(recording(np.full(2 * rate, offset, np.float32), rate))


def test_dither_alone_is_silence() -> None:
    dither = np.random.default_rng(0).integers(-1, 2, 2 * SAMPLE_RATE).astype(np.int16)
    with pytest.raises(SilentError):
        analyse_recording(from_array(dither, SAMPLE_RATE))


def test_faint_speech_is_accepted_and_flagged(speech: Voice) -> None:
    faint = recording(speech(3.0, level_db=-65))
    analyse_recording(faint)
    assert flags(faint) == ("low_level",)


def test_one_word_in_a_long_silence_is_short(speech: Voice) -> None:
    samples = np.zeros(60 * SAMPLE_RATE, np.float32)
    samples[SAMPLE_RATE : 2 * SAMPLE_RATE] = speech(1.0)
    analyse_recording(recording(samples))
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
def test_an_offset_of_either_sign_is_flagged(speech: Voice, offset: float) -> None:
    assert flags(recording(speech(3.0) + np.float32(offset))) == ("dc",)


def test_an_offset_below_the_threshold_is_not_flagged(speech: Voice) -> None:
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


def test_an_onset_at_the_very_end_does_not_raise_the_level(speech: Voice) -> None:
    """P.56 alone would divide all energy by the few steps that reach its highest threshold."""
    sound = speech(4.0)
    onset = np.full(48, 0.9, np.float32)
    found = measurements(recording(np.concatenate([sound, onset])))
    assert found.active_dbov < -18
    assert found.active_fraction > 0.5


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_clipping_is_detected_at_any_level_and_after_resampling(voice: Voice, rate: int, gain: float) -> None:
    loud = voice(3.0, rate=rate, level_db=-12)
    ceiling = np.quantile(np.abs(loud), 0.97)  # 3 % of the samples are cut off
    assert "clipped" not in flags(recording(loud, rate))
    assert "clipped" in flags(recording(np.clip(loud, -ceiling, ceiling) * np.float32(gain), rate))


def test_clipping_of_one_half_wave_is_enough(voice: Voice) -> None:
    loud = voice(3.0)
    assert "clipped" in flags(recording(np.minimum(loud, np.quantile(loud, 0.97))))


@pytest.mark.parametrize("level_db", [-40.0, -20.0])
def test_active_level_does_not_depend_on_the_offset(voice: Voice, level_db: float) -> None:
    """A quarter of the signal is pause, so the active level is above the RMS level, by less than 6 dB."""
    plain = measurements(recording(voice(4.0, level_db=level_db)))
    shifted = measurements(recording(voice(4.0, level_db=level_db) + np.float32(0.2)))
    assert level_db <= plain.active_dbov <= level_db + 6
    assert shifted.active_dbov == pytest.approx(plain.active_dbov, abs=0.1)


def test_facts_of_a_known_signal() -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    found = measurements(recording((0.5 * np.sin(2 * np.pi * 1_000 * time)).astype(np.float32)))
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


def test_a_channel_with_the_sign_turned_is_reported_and_the_other_is_trimmed(
    voice: Callable[..., Samples],
) -> None:
    samples = voice(3.0)
    turned = from_array(np.stack([samples, -samples], axis=1), SAMPLE_RATE)
    assert "channels_cancel" in flags(turned)
    np.testing.assert_array_equal(turned.samples, samples)


def test_a_silent_second_channel_is_no_cancellation(voice: Callable[..., Samples]) -> None:
    samples = voice(3.0)
    one_sided = from_array(np.stack([samples, 0 * samples], axis=1), SAMPLE_RATE)
    assert "channels_cancel" not in flags(one_sided)


def test_silence_at_the_ends_is_removed_but_short_pauses_stay(voice: Callable[..., Samples]) -> None:
    samples, second = voice(3.0) + np.float32(1e-2) * white(3 * SAMPLE_RATE), np.zeros(SAMPLE_RATE, np.float32)
    start, stop = trimmed(from_array(np.concatenate([second, samples, second]), SAMPLE_RATE))
    assert start == pytest.approx(SAMPLE_RATE, abs=400) and stop == pytest.approx(4 * SAMPLE_RATE, abs=400)
    short = second[: SAMPLE_RATE // 4]
    whole = from_array(np.concatenate([short, samples, short]), SAMPLE_RATE)
    assert trimmed(whole) == (0, len(whole.samples))


def test_a_click_in_silence_is_too_short() -> None:
    samples = np.zeros(4 * SAMPLE_RATE, np.float32)
    samples[2 * SAMPLE_RATE : 2 * SAMPLE_RATE + 1600] = 0.1 * white(1600)
    with pytest.raises(TooShortError, match="of sound"):
        trimmed(from_array(samples, SAMPLE_RATE))


def white(samples: int) -> Samples:
    return np.random.default_rng(0).standard_normal(samples, dtype=np.float32)


def test_ceiling_is_located_at_the_quantile_of_each_half_wave(voice: Voice) -> None:
    for samples in (voice(3.0), np.clip(voice(3.0), -0.1, 0.1), white(9_999), np.ones(3)):
        samples = np.asarray(samples, dtype=np.float32)
        count = 0
        for half in (samples[samples > 0], -samples[samples < 0]):
            if len(half):
                ceiling = np.quantile(half, FLAT_TOP_QUANTILE)
                count += int(np.count_nonzero(half >= (1 - FLAT_TOP_TOLERANCE) * ceiling))
        assert count_ceiling(samples) == pytest.approx(count, rel=0.1, abs=3)
    assert count_ceiling(-np.ones(5, np.float32)) == 5


def count_ceiling(samples: Samples) -> int:
    ceiling = FlatTop()
    ceiling.add(samples)
    return ceiling.count()


def analysed(samples: Samples, block: int) -> Analysis:
    """Analysis of a signal that arrives in blocks of this size."""
    analyser = Analyser()
    for start in range(0, len(samples), block):
        analyser.add(samples[start : start + block])
    return analyser.finish(SAMPLE_RATE)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


@pytest.mark.parametrize("block", [999, 80_000])
def test_result_does_not_depend_on_the_block_size(voice: Voice, block: int) -> None:
    speech = voice(7.3) + np.float32(1e-3) * white(round(7.3 * SAMPLE_RATE))
    for samples in (
        speech[: round(1.2345 * SAMPLE_RATE)],
        np.concatenate([silence(3.21), speech, silence(0.3), speech, silence(11.7)]),
        np.concatenate([silence(0.4), speech, silence(0.4)]),
        np.concatenate([silence(16.0), speech]),
        speech + np.float32(0.1),
        np.clip(speech, -0.05, 0.05),
    ):
        whole, blocks = analysed(samples, len(samples)), analysed(samples, block)
        assert (blocks.start, blocks.stop, blocks.flags) == (whole.start, whole.stop, whole.flags)
        assert blocks.active_power == pytest.approx(whole.active_power, rel=1e-9)
        assert blocks.measurements.active_dbov == pytest.approx(whole.measurements.active_dbov, abs=0.05)
        assert blocks.measurements.loudest_dbov == pytest.approx(whole.measurements.loudest_dbov, abs=1e-9)
        assert blocks.measurements.clipped_fraction == whole.measurements.clipped_fraction


def test_trimmed_part_and_active_power_follow_their_definition(voice: Voice) -> None:
    speech = voice(3.0)
    padded = np.concatenate([silence(2.0), speech, silence(2.0)])
    result = analysed(padded, 7_777)
    assert abs(result.start - 2 * SAMPLE_RATE) <= 320 and abs(result.stop - 5 * SAMPLE_RATE) <= 0.4 * SAMPLE_RATE
    assert result.active_power == pytest.approx(
        active_power(active_level(padded[result.start : result.stop])), rel=1e-6
    )


def test_samples_of_a_long_recording_are_decoded_again(voice: Voice) -> None:
    samples = np.stack([voice(4.0, rate=8_000), 0.3 * voice(4.0, rate=8_000)], axis=1)
    signal = MonoSignal(ArraySource(samples, 8_000))
    held, decoded = analyse(signal), analyse(signal, hold_s=1.0)
    assert decoded.analysis == held.analysis
    np.testing.assert_array_equal(np.concatenate(list(decoded.blocks())), next(held.blocks()))


def test_a_long_recording_with_an_inverted_channel_is_that_channel_in_both_passes(voice: Voice) -> None:
    samples = voice(3.0)
    result = analyse(
        MonoSignal(ArraySource(np.stack([-0.97 * samples, samples], axis=1), SAMPLE_RATE)), hold_s=1.0
    )
    assert "channels_cancel" in result.analysis.flags
    np.testing.assert_array_equal(np.concatenate(list(result.blocks())), samples)
