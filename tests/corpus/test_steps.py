"""Each step has the effect that its name states, and changes the corresponding label in the right direction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.features import stft
from mtqnet.audio.level import active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import PEAK_LIMIT, BandLimit, Clipping, Mnru, Playback
from mtqnet.corpus.degradations.network import FADE, FrameLoss
from mtqnet.corpus.degradations.noise import ColouredNoise, WhiteNoise
from mtqnet.corpus.degradations.room import DecayRoom
from mtqnet.corpus.degradations.step import Step, Tracks, start
from mtqnet.corpus.degradations.suppressors import SpectralGain
from mtqnet.labels.three_signal import Quest, label

Samples = NDArray[np.float32]


def tone(hertz: float, seconds: float = 1.0) -> Samples:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(0.1 * np.sin(2 * np.pi * hertz * time), dtype=np.float32)


def heard(clean: Samples, *steps: Step) -> Quest:
    """Labels of speech in very soft noise, after these steps."""
    tracks = WhiteNoise(40.0, 1)(start(clean))
    for step in steps:
        tracks = step(tracks)
    return label(tracks.clean, tracks.speech, tracks.noise)


def test_modulated_noise_lowers_s_and_nearly_leaves_n(talker: Callable[..., Samples]) -> None:
    good, bad = (heard(talker(), Mnru(q, False, 2)) for q in (40.0, 10.0))
    assert bad.s_mos < good.s_mos - 1
    assert 0 < good.n_mos - bad.n_mos < 0.4 * (good.s_mos - bad.s_mos)


def test_modulated_noise_on_the_whole_damages_speech_and_noise_alike(talker: Callable[..., Samples]) -> None:
    part, whole = (heard(talker(), Mnru(12.0, whole, 2)) for whole in (False, True))
    assert whole.s_mos == pytest.approx(part.s_mos, abs=0.1)


def test_noise_lowers_n_and_s_little(talker: Callable[..., Samples]) -> None:
    good, bad = heard(talker()), heard(talker(), WhiteNoise(12.0, 3))
    assert bad.n_mos < good.n_mos - 1
    assert bad.s_mos > good.s_mos - 0.5


@pytest.mark.parametrize(
    ("mild", "hard"),
    [
        (BandLimit(0.0, 7000.0, 8), BandLimit(0.0, 2000.0, 8)),
        (Clipping(2.0, False), Clipping(24.0, False)),
        (FrameLoss(0.01, 1.0, 20, 5), FrameLoss(0.25, 2.0, 20, 5)),
        (DecayRoom(0.1, 18.0, 6), DecayRoom(1.2, -6.0, 6)),
        (SpectralGain(0.7, -6.0, 0.5), SpectralGain(4.0, -35.0, 2.0)),
    ],
    ids=lambda step: type(step).__name__,
)
def test_more_degradation_to_speech_lowers_s(mild: Step, hard: Step, talker: Callable[..., Samples]) -> None:
    before, after = heard(talker(), mild), heard(talker(), hard)
    assert after.s_mos < before.s_mos - 0.5
    assert after.g_mos < before.g_mos


def test_reducer_raises_the_equivalent_snr(talker: Callable[..., Samples]) -> None:
    clean = talker()
    for step in (WhiteNoise(10.0, 3), ColouredNoise(3.0, 10.0, 3)):
        noisy = step(start(clean))
        reduced = SpectralGain(1.5, -20.0, 1.0)(noisy)
        before, after = (label(clean, t.speech, t.noise) for t in (noisy, reduced))
        assert after.equivalent_snr_db > before.equivalent_snr_db + 3
        assert after.n_mos > before.n_mos


def test_reducer_is_one_gain_between_floor_and_one_for_both_tracks(talker: Callable[..., Samples]) -> None:
    step = SpectralGain(1.5, -12.0, 1.0)
    noisy = WhiteNoise(5.0, 3)(start(talker()))
    gain = step.gain(np.abs(stft(noisy.mixture)) ** 2)
    assert gain.min() >= 10 ** (-12 / 20) - 1e-9
    assert gain.max() <= 1.0
    reduced = step(noisy)
    for after, before in ((reduced.speech, noisy.speech), (reduced.noise, noisy.noise)):
        assert np.sum(after**2) <= np.sum(before**2) * 1.001


def test_reducer_takes_more_from_noise_than_from_speech(talker: Callable[..., Samples]) -> None:
    noisy = WhiteNoise(10.0, 3)(start(talker()))
    reduced = SpectralGain(1.5, -20.0, 1.0)(noisy)
    lost_speech = rms_level(noisy.speech) - rms_level(reduced.speech)
    lost_noise = rms_level(noisy.noise) - rms_level(reduced.noise)
    assert lost_noise > lost_speech + 3


@pytest.mark.parametrize(
    ("hertz", "gain_db"), [(100.0, -60.0), (300.0, -3.01), (1000.0, 0.0), (3400.0, -3.01), (6000.0, -59.2)]
)
def test_band_limit_passes_its_band(hertz: float, gain_db: float) -> None:
    """Butterworth: 3 dB down at the edges, 6 dB an octave and order beyond."""
    passed = BandLimit(300.0, 3400.0, 12)(start(tone(hertz)))
    gain = rms_level(passed.speech) - rms_level(tone(hertz))
    assert gain == pytest.approx(gain_db, abs=0.1) if gain_db > -10 else gain < gain_db + 0.1


def test_hard_clipping_cuts_the_mixture_at_the_level_asked(talker: Callable[..., Samples]) -> None:
    noisy = WhiteNoise(15.0, 1)(start(talker()))
    limit = np.abs(noisy.mixture).max() * 10 ** (-10.0 / 20)
    cut = Clipping(10.0, False)(noisy)
    np.testing.assert_allclose(cut.mixture, np.clip(noisy.mixture, -limit, limit), atol=1e-6)


def test_soft_clipping_bends_the_mixture(talker: Callable[..., Samples]) -> None:
    noisy = WhiteNoise(15.0, 1)(start(talker()))
    limit = np.abs(noisy.mixture).max() * 10 ** (-10.0 / 20)
    bent = Clipping(10.0, True)(noisy)
    np.testing.assert_allclose(bent.mixture, limit * np.tanh(noisy.mixture / limit), atol=1e-6)


@pytest.mark.parametrize(("rate", "burst"), [(0.05, 1.0), (0.2, 1.0), (0.2, 3.0)])
@pytest.mark.parametrize("frame_ms", [10, 40])
def test_frames_are_lost_at_the_rate_and_in_bursts_as_asked(rate: float, burst: float, frame_ms: int) -> None:
    ones = np.ones(frame_ms * 16 * 4_000, np.float32)
    gain = FrameLoss(rate, burst, frame_ms, 8)(Tracks(ones, ones, ones)).speech
    lost = gain.reshape(4_000, -1)[:, frame_ms * 8] < 0.5  # the middle of each frame
    assert np.mean(lost) == pytest.approx(rate, abs=0.03)
    gaps = np.count_nonzero(lost[1:] & ~lost[:-1]) + lost[0]
    assert np.count_nonzero(lost) / gaps == pytest.approx(burst, rel=0.1)


def test_nothing_lost_nothing_changed(talker: Callable[..., Samples]) -> None:
    clean = start(talker(1.0))
    np.testing.assert_allclose(FrameLoss(0.0, 1.0, 20, 1)(clean).speech, clean.speech, rtol=1e-6)


def test_gaps_are_silent_and_fade_in_and_out() -> None:
    ones = np.ones(SAMPLE_RATE, np.float32)
    gain = FrameLoss(0.2, 1.5, 20, 3)(Tracks(ones, ones, ones)).speech
    assert gain.min() == pytest.approx(0.0, abs=1e-6) and gain.max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(np.diff(gain)).max() <= 1 / FADE + 1e-6


@pytest.mark.parametrize("slope_db", [-3.0, 0.0, 3.0, 9.0])
def test_coloured_noise_falls_by_its_slope_an_octave(slope_db: float) -> None:
    made = ColouredNoise(slope_db, 0.0, 1)(start(tone(440, 20.0)))
    power = np.abs(np.fft.rfft(made.noise)) ** 2
    bands = [np.mean(power[round(20 * low) : round(40 * low)]) for low in (250, 500, 1000, 2000)]
    np.testing.assert_allclose(-np.diff(10 * np.log10(bands)), slope_db, atol=0.4)


@pytest.mark.parametrize("rt60_s", [0.3, 0.9])
def test_room_decays_by_60_db_in_its_reverberation_time(rt60_s: float) -> None:
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[0] = 1.0
    response = DecayRoom(rt60_s, 0.0, 1)(start(click)).speech.astype(np.float64)
    assert response[0] == pytest.approx(1.0, abs=1e-6), "the direct path comes first, with gain 1"
    tail = response[1:]
    assert np.sum(tail**2) == pytest.approx(1.0, rel=0.01), "0 dB direct to reverberant"
    early, late = (np.mean(tail[round(s * SAMPLE_RATE) :][:1_600] ** 2) for s in (0.05, 0.05 + rt60_s / 2))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize("level_dbov", [-45.0, -26.0, -18.0])
def test_playback_sets_the_level_of_the_mixture(level_dbov: float, voice: Callable[..., Samples]) -> None:
    played = Playback(level_dbov)(WhiteNoise(30.0, 1)(start(voice())))
    assert active_level(played.mixture) == pytest.approx(level_dbov, abs=0.05)


def test_playback_never_clips(voice: Callable[..., Samples]) -> None:
    played = Playback(0.0)(start(voice()))
    assert np.abs(played.mixture).max() == pytest.approx(PEAK_LIMIT, rel=1e-4)
