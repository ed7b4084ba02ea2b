"""Narrowband speech is compared with narrowband speech; a part of a band that a filter removed is a degradation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from mtqnet.audio.resampling import resample
from mtqnet.corpus.degradations.device import mnru
from mtqnet.labels.speech import curves, equivalent_q, is_narrow, look, narrowed, q_in_its_band
from mtqnet.labels.three_signal import label, label_two

Samples = NDArray[np.float32]


def telephone(speech: Samples) -> Samples:
    """Once through 8 kHz."""
    return resample(resample(speech, 16000, 8000), 8000, 16000)[: len(speech)]


def low_passed(speech: Samples, edge_hz: float) -> Samples:
    return np.asarray(sosfiltfilt(butter(8, edge_hz, fs=16000, output="sos"), speech), dtype=np.float32)


def test_what_went_through_8_khz_is_narrow_and_nothing_else_is(talker: Callable[..., Samples]) -> None:
    speech = talker()
    assert is_narrow(telephone(speech))
    assert not is_narrow(speech)
    assert not is_narrow(low_passed(speech, 6000))
    assert not is_narrow(np.zeros(16000, np.float32))


def test_narrowed_speech_is_aligned_and_as_long(talker: Callable[..., Samples]) -> None:
    speech = talker()[:30_001]
    assert narrowed(speech).shape == speech.shape
    below = low_passed(speech, 3000)
    inside = slice(500, -500)  # the ends are edges to a resampler
    np.testing.assert_allclose(narrowed(below)[inside], below[inside], atol=1e-3 * np.abs(below).max())


def test_undamaged_narrowband_speech_is_good(talker: Callable[..., Samples]) -> None:
    speech = talker()
    silence = np.zeros_like(speech)
    narrow, wide = label(speech, telephone(speech), silence), label(speech, speech, silence)
    assert narrow.s_mos == pytest.approx(wide.s_mos, abs=0.1)
    assert narrow.n_mos == pytest.approx(wide.n_mos, abs=0.1)
    assert label_two(speech, telephone(speech)).s_mos == pytest.approx(narrow.s_mos, abs=0.1)


def test_a_band_that_is_partly_lost_is_degradation(talker: Callable[..., Samples]) -> None:
    speech = talker()
    silence = np.zeros_like(speech)
    assert label(speech, low_passed(speech, 5000), silence).s_mos < label(speech, speech, silence).s_mos - 0.1
    within = low_passed(telephone(speech), 1500)
    assert label(speech, within, silence).s_mos < label(speech, telephone(speech), silence).s_mos - 0.3


def test_degradation_in_narrowband_counts_as_in_wideband(talker: Callable[..., Samples]) -> None:
    speech, silence = talker(), np.zeros_like(talker())
    scores = []
    for q_db in (0, 10, 20, 30, 40):
        wide = label(speech, mnru(speech, q_db, np.random.default_rng(1)), silence)
        damaged = mnru(resample(speech, 16000, 8000), q_db, np.random.default_rng(1))
        scores.append(label(speech, resample(damaged, 8000, 16000)[: len(speech)], silence).s_mos)
        assert scores[-1] == pytest.approx(wide.s_mos, abs=1.0)  # the talker is made up
    assert scores == sorted(scores)


def test_low_noise_does_not_make_wide_speech_narrow(talker: Callable[..., Samples]) -> None:
    speech = talker()
    hum = (np.sin(2 * np.pi * 50 * np.arange(len(speech)) / 16000) * 30).astype(np.float32)
    assert is_narrow(speech + hum)
    heard = q_in_its_band(speech, low_passed(speech, 5000), curves(), speech + hum)
    assert heard == equivalent_q(look(speech, low_passed(speech, 5000)), curves())
