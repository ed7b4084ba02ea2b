"""Degraded speech lowers S-MOS, noise lowers N-MOS, and both lower G-MOS; limits are in MOS or dB."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import a_weighted_power, active_level
from mtqnet.corpus.degradations.device import mnru
from mtqnet.corpus.degradations.network import FrameLoss
from mtqnet.corpus.degradations.room import DecayRoom
from mtqnet.corpus.degradations.step import Tracks
from mtqnet.corpus.degradations.suppressors import SpectralGain
from mtqnet.errors import LabelError
from mtqnet.labels.background import (
    MAX_SNR_DB,
    audible_power,
    background,
    equivalent_snr,
    own_snr,
    pause_frames,
    pause_snr,
)
from mtqnet.labels.speech import CURVES, curves, equivalent_q, look
from mtqnet.labels.three_signal import (
    MOST_LEAK_Q_DB,
    components,
    general_mos,
    label,
    label_three,
    label_two,
    noise_mos,
    speech_mos,
)
from research.labeller import fit
from research.labeller.rated import Agreement

Samples = NDArray[np.float32]

Q_DB, SNR_DB = np.arange(0.0, 45.0, 2.5), np.arange(-5.0, 50.0, 2.5)
"""The practical range: what corpora draw from"""


def white(speech: Samples, snr_db: float, seed: int = 5) -> Samples:
    """White noise, snr_db below the active speech level."""
    noise = np.random.default_rng(seed).standard_normal(len(speech))
    return (noise * 10 ** ((active_level(speech) - snr_db) / 20)).astype(np.float32)


def modulated(speech: Samples, q_db: float) -> Samples:
    return mnru(speech, q_db, np.random.default_rng(6))


def test_undamaged_speech_is_good_on_every_scale(talker: Callable[..., Samples]) -> None:
    speech = talker()
    perfect = label(speech, speech, np.zeros_like(speech))
    assert perfect.equivalent_snr_db == pytest.approx(MAX_SNR_DB, abs=3.1)  # no noise, and no floor of its own
    assert min(perfect.s_mos, perfect.n_mos, perfect.g_mos) > 4.3


def test_distortion_lowers_s_much_and_n_little(talker: Callable[..., Samples]) -> None:
    speech = talker()
    noise = white(speech, 40)
    good, middle, bad = (label(speech, modulated(speech, q), noise) for q in (40, 20, 5))
    assert good.s_mos - 0.4 > middle.s_mos > bad.s_mos + 0.4
    assert good.s_mos - bad.s_mos > 2 * (good.n_mos - bad.n_mos)
    assert good.g_mos > middle.g_mos > bad.g_mos


def test_noise_lowers_n_much_and_s_little(talker: Callable[..., Samples]) -> None:
    speech = talker()
    good, middle, bad = (label(speech, speech, white(speech, snr)) for snr in (45, 25, 10))
    assert good.n_mos - 0.6 > middle.n_mos > bad.n_mos + 0.6
    assert good.n_mos - bad.n_mos > 3 * (good.s_mos - bad.s_mos)
    assert good.g_mos > middle.g_mos > bad.g_mos


def test_g_is_between_the_worse_and_the_better_or_just_below() -> None:
    """As rated by listeners, G-MOS is between S-MOS and N-MOS, or up to 0.5 below the lower one."""
    scale = np.linspace(1.5, 4.8, 12)
    s, n = (axis.ravel() for axis in np.meshgrid(scale, scale))
    g = general_mos(s, n, curves().general)
    assert np.all(g <= np.maximum(s, n) + 0.1)
    assert np.all(g >= np.minimum(s, n) - 0.6)


def test_g_leans_to_the_worse() -> None:
    scale = np.linspace(1.5, 4.8, 12)
    s, n = (axis.ravel() for axis in np.meshgrid(scale, scale))
    far = np.abs(s - n) > 1
    assert np.mean((general_mos(s, n, curves().general) - (s + n) / 2)[far]) < -0.1


def test_g_leans_to_speech() -> None:
    """(S 2, N 4) is worse as a whole than (S 4, N 2): speech counts for more."""
    worse, better = general_mos(np.array([2.0, 4.0]), np.array([4.0, 2.0]), curves().general)
    assert worse < better


@pytest.mark.parametrize("q_db", [12.0, 18.0, 24.0])
def test_equivalent_q_is_the_q_of_modulated_noise(q_db: float, talker: Callable[..., Samples]) -> None:
    """On average over speakers, for which the curve was fitted; single speakers differ by several dB."""
    talkers = [talker(3.0, seed=seed) for seed in range(4)]
    heard = [equivalent_q(look(speech, modulated(speech, q_db)), curves()) for speech in talkers]
    assert np.mean(heard) == pytest.approx(q_db, abs=4.0)


@pytest.mark.parametrize(("snr_db", "most_hidden_db"), [(-5.0, 1.0), (10.0, 3.0), (40.0, 8.0)])
def test_equivalent_snr_is_the_snr_less_what_the_speech_hides(
    snr_db: float, most_hidden_db: float, talker: Callable[..., Samples]
) -> None:
    """White noise at 40 dB is hardly audible outside the pauses."""
    speech = talker()
    assert -0.5 <= equivalent_snr(speech, white(speech, snr_db)) - snr_db < most_hidden_db


def test_noise_in_pauses_counts_more_than_the_same_noise_under_speech(talker: Callable[..., Samples]) -> None:
    speech, noise = talker(6.0), white(talker(6.0), 20)
    envelope = np.convolve(np.abs(speech), np.ones(1600) / 1600, mode="same")
    under = np.where(envelope > np.quantile(envelope, 0.5), noise, 0).astype(np.float32)
    pauses = noise - under
    assert equivalent_snr(speech, under) > equivalent_snr(speech, pauses) + 1


def test_without_speech_all_noise_is_heard(talker: Callable[..., Samples]) -> None:
    noise = white(talker(), 20)
    assert audible_power(np.zeros_like(noise), noise) == pytest.approx(a_weighted_power(noise), rel=1e-3)


@pytest.mark.parametrize("floor_db", [25.0, 45.0])
def test_background_of_the_recording_itself_is_heard(floor_db: float, talker: Callable[..., Samples]) -> None:
    recorded = talker() + white(talker(), floor_db)
    assert own_snr(recorded, pause_frames(recorded)) == pytest.approx(floor_db, abs=1.5)
    assert background(recorded, recorded, np.zeros_like(recorded)).snr() == pytest.approx(floor_db, abs=1.5)
    # Added noise 20 dB louder drowns it.
    loud = white(talker(), floor_db - 20)
    audible = background(recorded, recorded, loud).snr(pause_weight=0.0)
    assert audible == pytest.approx(equivalent_snr(recorded, loud), abs=0.5)
    assert pause_snr(recorded, recorded, loud) == pytest.approx(floor_db - 20, abs=1.0)


def pauses_of(speech: Samples) -> NDArray[np.bool_]:
    envelope = np.convolve(np.abs(speech), np.ones(800) / 800, mode="same")
    return np.asarray(envelope < 0.2 * envelope.max())


def test_noise_under_the_words_alone_disturbs_less_than_noise_in_the_pauses(
    talker: Callable[..., Samples],
) -> None:
    speech = talker(6.0)
    noise, quiet = white(speech, 10), pauses_of(speech)
    whole, under, between = (
        background(speech, speech, np.where(part, noise, 0.03 * noise).astype(np.float32)).snr()
        for part in (np.ones_like(quiet), ~quiet, quiet)
    )
    assert under > whole + 8
    assert between < whole + 4


def bursts(noise: Samples, samples: int, every: int, gain_db: float) -> Samples:
    """The noise, louder by `gain_db` for so many samples out of `every`."""
    loud = np.arange(len(noise)) % every < samples
    return np.where(loud, noise * 10 ** (gain_db / 20), noise).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "every", "gain_db"),
    [(480, 8_000, 25.0), (4_000, 8_000, 12.0), (800, 1_600, 12.0)],
    ids=["residual bursts", "pumping", "musical noise that comes and goes"],
)
def test_noise_that_fluctuates_in_the_pauses_counts_more_than_its_usual_level(
    samples: int, every: int, gain_db: float, talker: Callable[..., Samples]
) -> None:
    speech = talker(6.0)
    steady = white(speech, 30)
    assert (
        background(speech, speech, bursts(steady, samples, every, gain_db)).snr()
        < background(speech, speech, steady).snr() - 3
    )


def test_single_clicks_in_silence_count_less_than_their_level_but_do_count(talker: Callable[..., Samples]) -> None:
    speech = talker(6.0)
    noise = white(speech, 20)
    clicks = np.where(np.arange(len(noise)) % 8_000 < 80, 10 * noise, 0).astype(np.float32)
    assert pause_snr(speech, speech, noise) + 5 < pause_snr(speech, speech, clicks) < 45


def test_background_that_a_reducer_takes_away_is_gone(talker: Callable[..., Samples]) -> None:
    speech = talker()
    recorded = speech + white(speech, 25)
    assert background(recorded, recorded, np.zeros_like(speech)).snr() < 28
    assert background(recorded, speech, np.zeros_like(speech)).snr() > 45


def test_gaps_of_a_network_do_not_make_a_recording_cleaner(talker: Callable[..., Samples]) -> None:
    speech = talker(6.0)
    recorded = speech + white(speech, 30)
    torn = FrameLoss(0.12, 3.0, 40, 1)(Tracks(recorded, recorded, np.zeros_like(recorded))).speech
    whole = background(recorded, recorded, np.zeros_like(recorded)).snr()
    assert background(recorded, torn, np.zeros_like(recorded)).snr() == pytest.approx(whole, abs=1.5)


def test_what_a_room_leaves_in_the_pauses_is_no_background(talker: Callable[..., Samples]) -> None:
    speech = talker()
    echoing = DecayRoom(0.8, 0.0, 1)(Tracks(speech, speech, np.zeros_like(speech))).speech
    assert own_snr(echoing, pause_frames(speech)) < 40
    assert background(speech, echoing, np.zeros_like(speech)).snr() > 60


def test_noise_that_is_hardly_heard_counts_less(talker: Callable[..., Samples]) -> None:
    speech = talker()
    time = np.arange(len(speech)) / 16_000
    rumble = (0.01 * np.sin(2 * np.pi * 63 * time)).astype(np.float32)
    whistle = (0.01 * np.sin(2 * np.pi * 2000 * time)).astype(np.float32)
    assert equivalent_snr(speech, rumble) > equivalent_snr(speech, whistle) + 25


def test_level_of_the_whole_changes_no_label(talker: Callable[..., Samples]) -> None:
    speech = talker()
    part, noise = modulated(speech, 25), white(speech, 20)
    loud = label(speech, part, noise)
    for gain in (np.float32(0.2), np.float32(0.005)):
        soft = label(speech, gain * part, gain * noise)
        assert (soft.s_mos, soft.n_mos, soft.g_mos) == pytest.approx(
            (loud.s_mos, loud.n_mos, loud.g_mos), abs=0.03
        )


def test_components_of_an_untouched_mixture_are_its_parts(talker: Callable[..., Samples]) -> None:
    speech = talker()
    noise = white(speech, 10)
    heard = components(speech, speech + noise, speech + noise)
    np.testing.assert_allclose(heard[0], speech, atol=1e-4)
    np.testing.assert_allclose(heard[1], noise, atol=1e-4)


@pytest.mark.parametrize("snr_db", [5.0, 20.0])
@pytest.mark.parametrize("sharpness", [0.5, 1.5])
def test_black_box_labels_agree_with_those_of_the_exact_tracks(
    snr_db: float, sharpness: float, talker: Callable[..., Samples]
) -> None:
    """For a processing that is a gain in time and frequency: within 0.3 MOS on every scale."""
    speech = talker()
    before = Tracks(speech, speech, white(speech, snr_db))
    after = SpectralGain(1.5, -20.0, sharpness)(before)
    exact = label(speech, after.speech, after.noise)
    blind = label_three(speech, before.mixture, after.mixture)
    assert (blind.s_mos, blind.n_mos, blind.g_mos) == pytest.approx(
        (exact.s_mos, exact.n_mos, exact.g_mos), abs=0.3
    )


def test_unlike_lengths_have_no_components(talker: Callable[..., Samples]) -> None:
    speech = talker()
    with pytest.raises(LabelError, match="aligned and equally long"):
        components(speech, speech, speech[:-1])


@pytest.mark.parametrize("snr_db", [0.0, 15.0, 40.0])
def test_components_add_up_to_what_the_box_gave(snr_db: float, talker: Callable[..., Samples]) -> None:
    speech = talker()
    mixture = speech + white(speech, snr_db)
    processed = np.tanh(6 * mixture) / 6 + white(speech, 30, seed=8)
    parts = components(speech, mixture, processed)
    np.testing.assert_allclose(parts[0] + parts[1], processed, atol=1e-6)


def test_speech_alone_comes_back_whole(talker: Callable[..., Samples]) -> None:
    """Without noise everything that the box does is done to the speech, new sound included."""
    speech = talker()
    processed = np.roll(speech, 3) + white(speech, 12)
    parts = components(speech, speech, processed)
    np.testing.assert_allclose(parts[0], processed, atol=1e-5)


def test_files_of_a_set_may_be_late_and_of_any_level(talker: Callable[..., Samples]) -> None:
    speech = talker()
    mixture = speech + white(speech, 15)
    processed = SpectralGain(1.5, -20.0, 1.0)(Tracks(speech, speech, white(speech, 15))).mixture
    at_once = label_three(speech, mixture, processed)
    late = label_three(
        speech, np.float32(0.3) * np.pad(mixture, (700, 0)), np.float32(0.5) * np.pad(processed, (1900, 0))
    )
    assert (late.s_mos, late.n_mos, late.g_mos) == pytest.approx(
        (at_once.s_mos, at_once.n_mos, at_once.g_mos), abs=0.05
    )


def test_recordings_of_unlike_talks_are_no_set(talker: Callable[..., Samples]) -> None:
    with pytest.raises(LabelError, match="does not contain the clean speech"):
        label_three(talker(seed=1), white(talker(), 0.0), talker(seed=1))


@pytest.mark.parametrize("gains", [(-1.0, 1.0), (1.0, -1.0), (1.0, 30.0), (1e-3, 1.0), (1.0, 3e-4)], ids=str)
def test_polarity_and_level_of_any_file_change_nothing(
    gains: tuple[float, float], talker: Callable[..., Samples]
) -> None:
    speech = talker()
    mixture = speech + white(speech, 10)
    processed = SpectralGain(1.5, -20.0, 1.0)(Tracks(speech, speech, white(speech, 10))).mixture
    plain = label_three(speech, mixture, processed)
    turned = label_three(speech, np.float32(gains[0]) * mixture, np.float32(gains[1]) * processed)
    assert (turned.s_mos, turned.n_mos) == pytest.approx((plain.s_mos, plain.n_mos), abs=0.02)
    two, other = (label_two(speech, np.float32(gain) * processed) for gain in (1.0, gains[1]))
    assert other.s_mos == pytest.approx(two.s_mos, abs=0.02)


def test_two_signals_are_as_good_as_three_without_background(talker: Callable[..., Samples]) -> None:
    speech = talker()
    damaged = modulated(speech, 18)
    two, three = label_two(speech, damaged), label_three(speech, speech, damaged)
    assert two.s_mos == pytest.approx(three.s_mos, abs=0.05)


def test_two_signals_contain_background_against_s_and_say_so(talker: Callable[..., Samples]) -> None:
    speech = talker(6.0)
    mixture = speech + white(speech, 20)
    two, three = label_two(speech, mixture), label_three(speech, mixture, mixture)
    assert two.s_mos < three.s_mos - 0.3
    assert two.n_mos > three.n_mos + 0.5
    assert "cannot be distinguished from distortion" in two.caution and not three.caution
    assert not label_two(speech, modulated(speech, 18)).caution


def test_shipped_curves_are_what_the_fit_writes(tmp_path: Path) -> None:
    shipped = json.loads(CURVES.read_text())
    one, two = (
        {k: Agreement(**v) for k, v in shipped[part].items()} for part in ("fitted", "left_one_talker_out")
    )
    result = fit.Fit(curves(), one, two, shipped["clips"], shipped["clean_talkers_for_calibration"])
    fit.write(result, tmp_path / "curves.json", shipped["command"])
    assert (tmp_path / "curves.json").read_text() == CURVES.read_text()


def test_shipped_curves_rise_with_q_and_snr() -> None:
    fitted = curves()
    assert np.all(np.diff(fitted.q_db) > 0) and np.all(np.diff(fitted.pesq_at_q) > 0)
    q, snr = np.meshgrid(Q_DB, SNR_DB, indexing="ij")
    s, n = speech_mos(q, snr, fitted.speech), noise_mos(q, snr, fitted.noise)
    assert np.all(np.diff(s, axis=0) > 0), "more Q, more S"
    assert np.all(np.diff(n, axis=1) > 0), "more SNR, more N"
    assert np.all(np.diff(n, axis=0) >= 0), "more Q, more N, or as much: below MOST_LEAK_Q_DB"
    assert np.all(np.diff(n, axis=0)[Q_DB[:-1] >= MOST_LEAK_Q_DB] > 0)
    assert np.all((s > 1) & (s < 5) & (n > 1) & (n < 5))
    clean = speech_mos(np.full_like(SNR_DB, 50.0), SNR_DB, fitted.speech)
    assert np.all(np.diff(clean) > 0), "S-MOS grows with the SNR, without a degradation that noise could mask"
    seen = (s > 1.5) & (n > 1.5)
    general = general_mos(s, n, fitted.general)
    assert np.all(np.diff(general, axis=1)[seen[:, 1:] & (q[:, 1:] >= 30)] > 0), "more SNR, more G"
