"""Response, gaps, offset and level of a device. BandLimit: test_steps.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import (
    HANDSET_CURVES,
    LOUD_DBOV,
    MAX_LEVEL_DBOV,
    MAX_OFFSET,
    MAX_TILT_DB,
    MIN_LEVEL_DBOV,
    PEAK_LIMIT,
    QUIET_DBOV,
    DcOffset,
    Equaliser,
    Playback,
    TelephoneBand,
)
from mtqnet.corpus.degradations.network import FADE, Dropouts
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.step import Step, Tracks, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import label

Samples = NDArray[np.float32]

GAPS = Dropouts((0.02, 0.2, 0.35, 0.5, 0.65, 0.8), (120.0,) * 6, True)
LINEAR: tuple[Step, ...] = (
    TelephoneBand(False, False, 1.0),
    TelephoneBand(True, True, 1.1),
    Equaliser(-6.0, 12.0, 900.0, 2.0),
    GAPS,
    Dropouts((0.3,), (50.0,), False),
)
"""Steps that do the same to both tracks"""


@pytest.fixture
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(25.0, 1)(start(talker()))


def gain_db(step: Step, hertz: float) -> float:
    """Gain in dB of a step for a tone."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.asarray(0.1 * np.sin(2 * np.pi * hertz * time), dtype=np.float32)
    return rms_level(step(start(tone)).speech) - rms_level(tone)


@pytest.mark.parametrize("row", HANDSET_CURVES[2:17:3], ids=lambda row: f"{row[0]:.0f} Hz")
def test_handset_has_the_response_of_its_table(row: tuple[float, float, float, float]) -> None:
    hertz, sending, receiving, modified = row
    for plain, curve in ((True, sending), (False, modified)):
        assert gain_db(TelephoneBand(not plain, False, 1.0), hertz) == pytest.approx(curve, abs=0.1)
        both = gain_db(TelephoneBand(not plain, True, 1.0), hertz)
        assert both == pytest.approx(curve + receiving, abs=0.1)
    assert gain_db(TelephoneBand(False, False, 0.5), hertz) == pytest.approx(sending / 2, abs=0.1)


def test_telephone_passes_its_band_alone() -> None:
    phone = TelephoneBand(False, False, 1.0)
    assert all(gain_db(phone, hertz) < -20 for hertz in (60.0, 150.0, 4000.0, 6000.0))
    assert all(abs(gain_db(phone, hertz)) < 8 for hertz in (320.0, 1000.0, 3300.0))


@pytest.mark.parametrize("slope_db", [-6.0, 3.0])
def test_equaliser_tilts_about_1_khz_within_its_limits(slope_db: float) -> None:
    step = Equaliser(slope_db, 0.0, 1000.0, 1.0)
    for octave in (-2, -1, 0, 1, 2):
        assert gain_db(step, 1000 * 2.0**octave) == pytest.approx(slope_db * octave, abs=0.05)
    steep = Equaliser(9.0, 0.0, 1000.0, 1.0)
    assert gain_db(steep, 100) == pytest.approx(-MAX_TILT_DB, abs=0.05)
    assert gain_db(steep, 7000) == pytest.approx(MAX_TILT_DB, abs=0.05)


@pytest.mark.parametrize("resonance_db", [-12.0, 12.0])
def test_resonance_is_where_and_as_wide_as_asked(resonance_db: float) -> None:
    step = Equaliser(0.0, resonance_db, 2000.0, 4.0)
    assert gain_db(step, 2000) == pytest.approx(resonance_db, abs=0.05)
    edge = 2000 * (np.sqrt(1 + 1 / 64) + 1 / 8)  # where f / f0 - f0 / f is 1 / Q
    assert gain_db(step, round(edge)) == pytest.approx(resonance_db / 2, abs=0.05)
    assert abs(gain_db(step, 200)) < 0.2


@pytest.mark.parametrize(
    ("mild", "hard", "loss"),
    [
        (TelephoneBand(True, False, 0.6), TelephoneBand(False, True, 1.0), 0.4),
        (Equaliser(1.0, 0.0, 1000.0, 1.0), Equaliser(-9.0, 0.0, 1000.0, 1.0), 0.4),
        (Equaliser(1.0, 0.0, 1000.0, 1.0), Equaliser(9.0, 18.0, 3000.0, 1.0), 0.2),
        (Dropouts((0.3,), (5.0,), False), GAPS, 1.0),
    ],
    ids=str,
)
def test_more_degradation_lowers_s(mild: Step, hard: Step, loss: float, talker: Callable[..., Samples]) -> None:
    """In hardly any noise: a dull response would take white noise away, and win in N what it loses in S."""
    quiet = WhiteNoise(50.0, 1)(start(talker()))
    before, after = (label(t.clean, t.speech, t.noise) for t in (mild(quiet), hard(quiet)))
    assert after.s_mos < before.s_mos - loss
    assert after.g_mos < before.g_mos


@pytest.mark.parametrize("hard", [True, False])
def test_gaps_are_where_and_as_long_as_asked(hard: bool) -> None:
    flat = np.ones(2 * SAMPLE_RATE, np.float32)
    gain = Dropouts((0.25, 0.99), (20.0, 100.0), hard)(Tracks(flat, flat, flat)).speech
    edges = np.flatnonzero(np.diff((gain < 0.5).astype(int)))
    assert edges == pytest.approx([7999, 8319, 31_679], abs=2)
    assert gain[-1] == pytest.approx(0.0, abs=1e-6), "the second gap goes on to the end of the clip"
    steepest = np.abs(np.diff(gain)).max()
    assert steepest == (1.0 if hard else pytest.approx(1 / FADE, rel=1e-3))
    assert gain.min() == pytest.approx(0.0, abs=1e-6) and gain[0] == pytest.approx(1.0, abs=1e-6)


def test_offset_is_a_constant_below_full_scale(noisy: Tracks) -> None:
    peak = float(np.abs(noisy.mixture).max())
    for share in (0.2, -0.1):
        made = DcOffset(share)(noisy)
        np.testing.assert_array_equal(made.speech, noisy.speech)
        np.testing.assert_allclose(made.noise - noisy.noise, share * peak, atol=1e-6)
    loud = noisy.gained(0.95 / peak)
    assert np.abs(DcOffset(0.2)(loud).mixture).max() <= PEAK_LIMIT + 1e-6
    over = noisy.gained(1.5 / peak)
    np.testing.assert_array_equal(DcOffset(0.2)(over).noise, over.noise)


def test_offset_leaves_the_labels_nearly_alone(noisy: Tracks) -> None:
    """A-weighting takes away what has no frequency."""
    offset = DcOffset(MAX_OFFSET)(noisy)
    before, after = (label(t.clean, t.speech, t.noise) for t in (noisy, offset))
    assert after.s_mos == pytest.approx(before.s_mos, abs=0.05)
    assert after.n_mos == pytest.approx(before.n_mos, abs=0.05)


def test_level_leaves_the_labels_alone(noisy: Tracks) -> None:
    before = label(noisy.clean, noisy.speech, noisy.noise)
    for level_dbov in (QUIET_DBOV, MIN_LEVEL_DBOV, LOUD_DBOV):
        played = Playback(level_dbov)(noisy)
        after = label(played.clean, played.speech, played.noise)
        assert after.s_mos == pytest.approx(before.s_mos, abs=0.05)
        assert after.n_mos == pytest.approx(before.n_mos, abs=0.1)


def test_playback_reads_the_level_without_the_offset(noisy: Tracks) -> None:
    played = Playback(-30.0)(DcOffset(0.2)(noisy)).mixture
    assert active_level(played - played.mean(dtype=np.float64)) == pytest.approx(-30.0, abs=0.05)


def test_levels_are_mostly_usual_with_extremes_at_both_ends(full_pool: Pool) -> None:
    rng = np.random.default_rng(1)
    drawn = np.array([Playback.draw(rng, full_pool, 48_000).level_dbov for _ in range(2000)])
    assert QUIET_DBOV <= drawn.min() < QUIET_DBOV + 3 and LOUD_DBOV - 0.5 < drawn.max() <= LOUD_DBOV
    for few in (drawn < MIN_LEVEL_DBOV, drawn > MAX_LEVEL_DBOV):
        assert 0.04 < few.mean() < 0.1


@pytest.mark.parametrize("step", LINEAR, ids=str)
def test_sum_of_the_tracks_is_what_the_step_does_to_the_mixture(step: Step, noisy: Tracks) -> None:
    whole = step(Tracks(noisy.clean, noisy.mixture, np.zeros_like(noisy.clean)))
    np.testing.assert_allclose(step(noisy).mixture, whole.mixture, atol=2e-6)


@pytest.mark.parametrize("step", (*LINEAR, DcOffset(-0.15)), ids=str)
def test_equal_parameters_equal_samples_in_the_same_place(step: Step, noisy: Tracks) -> None:
    made, again = step(noisy), type(step)(**vars(step))(noisy)
    for part in ("speech", "noise"):
        np.testing.assert_array_equal(getattr(made, part), getattr(again, part))
        assert getattr(made, part).dtype == np.float32 and getattr(made, part).shape == noisy.clean.shape
    np.testing.assert_array_equal(made.clean, noisy.clean)
    assert delay(made.clean, made.speech) == 0
    assert rms_level(step(start(np.zeros(32_000, np.float32))).mixture) < -90


@pytest.mark.parametrize("kind", [TelephoneBand, Equaliser, Dropouts, DcOffset])
def test_draws_vary(kind: Any, full_pool: Pool) -> None:
    rng = np.random.default_rng(3)
    drawn = [kind.draw(rng, full_pool, 48_000) for _ in range(100)]
    assert len(set(map(str, drawn))) > 80
    for name in vars(drawn[0]):
        assert len({vars(step)[name] for step in drawn}) > 1, name
