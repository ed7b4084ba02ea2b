"""PESQ, STOI, SDI and the alignment before them, on signals whose answer is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError, MissingExtraError
from mtqnet.labels.intrusive import objective, pesq_wb, sdi, stoi
from mtqnet.labels.pairing import align, delay
from mtqnet.targets import PESQ, SDI

Samples = NDArray[np.float32]


def white(samples: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)


def at_snr(speech: Samples, snr_db: float, seed: int = 0) -> Samples:
    """White noise, by power over the whole clip."""
    noise = white(len(speech), seed)
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return np.asarray(noise * gain, dtype=np.float32)


@given(lag=st.integers(-8_000, 8_000))
@settings(max_examples=20, deadline=None)
def test_delay_is_found_both_ways(lag: int) -> None:
    sound = white(30_000)
    clean, processed = sound[max(0, lag) : 20_000], sound[max(0, -lag) : 20_000]
    # A recording that lacks its first n samples leads by n.
    assert delay(clean, processed) == lag


def test_delay_is_found_in_noise_and_through_a_gain_of_minus_one(voice: Callable[..., Samples]) -> None:
    speech = voice(3.0)
    late = np.concatenate([np.zeros(123, np.float32), speech])
    assert delay(speech, -0.1 * (late + at_snr(late, 5))) == 123


@pytest.mark.parametrize("lag", [-777, 0, 400])
def test_aligned_recordings_cover_the_same_stretch(lag: int, voice: Callable[..., Samples]) -> None:
    speech = voice(3.0)
    clean, processed = speech[max(0, lag) :], speech[max(0, -lag) : -100]
    one, other = align(clean, processed)
    np.testing.assert_array_equal(one, other)
    assert len(one) == len(speech) - abs(lag) - 100


def test_recordings_that_do_not_overlap_have_no_label() -> None:
    with pytest.raises(LabelError, match="do not overlap"):
        align(np.zeros(0, np.float32), white(100))


def test_identical_signals_are_perfect(voice: Callable[..., Samples]) -> None:
    speech = voice(3.0)
    perfect = objective(speech, speech)
    assert perfect.pesq == pytest.approx(4.64, abs=0.01) and perfect.pesq <= PESQ.high
    assert perfect.stoi == pytest.approx(1.0, abs=1e-6)
    assert perfect.sdi == SDI.low


def test_more_noise_is_worse_on_every_measure(talker: Callable[..., Samples]) -> None:
    speech = talker(4.0)
    noisy = [objective(speech, speech + at_snr(speech, snr)) for snr in (30, 20, 10, 0)]
    for better, worse in pairwise(noisy):
        assert better.pesq > worse.pesq
        assert better.stoi > worse.stoi
        assert better.sdi < worse.sdi


@pytest.mark.parametrize("snr_db", [-8.0, 0.0, 10.0, 25.0])
def test_sdi_of_noise_is_its_power_over_that_of_the_speech(snr_db: float, voice: Callable[..., Samples]) -> None:
    speech = voice(4.0)
    noise = at_snr(speech, snr_db)
    noise -= speech * ((speech @ noise) / (speech @ speech))  # what is left is unrelated to the speech
    expected = float(noise @ noise) / float(speech @ speech)
    assert expected == pytest.approx(10 ** (-snr_db / 10), rel=0.01)
    assert sdi(speech, speech + noise) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("gain", [0.01, 0.5, 3.0])
def test_sdi_ignores_gain(gain: float, voice: Callable[..., Samples]) -> None:
    speech = voice(2.0)
    noisy = speech + at_snr(speech, 6)
    assert sdi(speech, np.float32(gain) * noisy) == pytest.approx(sdi(speech, noisy), rel=1e-4)


def test_sdi_stays_in_its_range(voice: Callable[..., Samples]) -> None:
    speech = voice(2.0)
    assert sdi(speech, -speech) == SDI.high
    assert sdi(speech, np.zeros_like(speech)) == SDI.high
    assert sdi(speech, at_snr(speech, -30)) == SDI.high


@pytest.mark.parametrize("measure", [pesq_wb, stoi, sdi])
def test_signals_of_unlike_length_have_no_label(
    measure: Callable[[Samples, Samples], float], voice: Callable[..., Samples]
) -> None:
    with pytest.raises(LabelError, match="align them first"):
        measure(voice(2.0), voice(1.5))


@pytest.mark.parametrize("measure", [pesq_wb, stoi, sdi])
def test_silent_reference_has_no_label(
    measure: Callable[[Samples, Samples], float], voice: Callable[..., Samples]
) -> None:
    with pytest.raises(LabelError):
        measure(np.zeros(2 * SAMPLE_RATE, np.float32), voice(2.0))


def test_silent_output_has_no_pesq(voice: Callable[..., Samples]) -> None:
    with pytest.raises(LabelError, match="silent"):
        pesq_wb(voice(2.0), np.zeros(2 * SAMPLE_RATE, np.float32))


def test_too_little_speech_has_no_stoi(voice: Callable[..., Samples]) -> None:
    with pytest.raises(LabelError, match="too little speech"):
        stoi(voice(0.2), voice(0.2))


@pytest.mark.parametrize("lag", [-127, -90, 90, 127])
def test_delay_of_short_signals_is_found_up_to_their_length(lag: int) -> None:
    clean, processed = np.zeros(128, np.float32), np.zeros(128, np.float32)
    clean[max(0, -lag)] = processed[max(0, lag)] = 1.0
    assert delay(clean, processed) == lag


def test_pesq_takes_a_minute_and_refuses_more_with_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    import pesq

    monkeypatch.setattr(pesq, "pesq", lambda *_: 2.5)  # the limit is tested, not PESQ of a minute
    minute = np.ones(60 * SAMPLE_RATE, np.float32)
    assert pesq_wb(minute, minute) == 2.5
    with pytest.raises(LabelError, match="60 s are too long for PESQ: cut to 60 s"):
        pesq_wb(np.append(minute, minute[:1]), np.append(minute, minute[:1]))
    with pytest.raises(LabelError, match="75 s are too long"):
        pesq_wb(np.tile(minute, 2)[: 75 * SAMPLE_RATE], np.tile(minute, 2)[: 75 * SAMPLE_RATE])


@pytest.mark.parametrize(("package", "measure"), [("pesq", pesq_wb), ("pystoi", stoi)])
def test_a_missing_package_is_named_with_its_extra(
    package: str, measure: Callable[[Samples, Samples], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="corpus"):
        measure(white(SAMPLE_RATE), white(SAMPLE_RATE))
