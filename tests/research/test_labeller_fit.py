"""Curves fitted to ratings: to ratings generated from known curves, and to the rated recordings in ../shared."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import CorpusError
from mtqnet.labels.speech import Curves, curves
from mtqnet.labels.three_signal import general_mos, noise_mos, speech_mos
from research.labeller import fit
from research.labeller.rated import read_rated

Samples = NDArray[np.float32]

CONDITIONS = (
    ("clean", "clean"), ("40", "8"), ("40", "16"), ("40", "24"), ("40", "32"), ("40", "40"), ("0", "40"),
    ("10", "40"), ("20", "40"), ("30", "40"), ("10", "16"), ("20", "24"), ("30", "32"),
)  # fmt: skip
"""(SNR, Q) in dB, the conditions of CSP835"""
LISTENERS = Curves(
    q_db=(), pesq_at_q=(), envelope_at_q=(), narrow_q_at_q=(),
    speech=(1.0, 0.6, -2.0, 15.0, 6.0, 4.7), noise=(-2.5, 24.0, 12.0, 4.8),
    general=(-0.5, 0.7, 0.4, 0.05, -0.03, -0.02),
)  # fmt: skip
"""Simulated listeners whose votes are on known curves"""


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory, talker: Callable[..., Samples]) -> Path:
    """Two speakers in every condition; the votes of LISTENERS depend on the nominal Q and SNR."""
    folder = tmp_path_factory.mktemp("rated")
    rows = []
    for seed in (1, 2):
        sf.write(folder / f"talker{seed}.wav", talker(2.5, seed=seed), SAMPLE_RATE)
        for number, (snr, q) in enumerate(CONDITIONS):
            rows.append(vote(f"c{number}", f"talker{seed}.wav", snr, q))
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def vote(condition: str, clean: str, snr: str, q: str) -> dict[str, str]:
    q_db = np.array(50.0 if q == "clean" else float(q))
    snr_db = np.array(70.0 if snr == "clean" else float(snr))
    s, n = speech_mos(q_db, snr_db, LISTENERS.speech), noise_mos(q_db, snr_db, LISTENERS.noise)
    votes = {"sig": s, "bak": n, "ovrl": general_mos(s, n, LISTENERS.general)}
    means = {f"{key}_mos": f"{float(value):.4f}" for key, value in votes.items()}
    return {"condition": condition, "clean_ref": clean, "snr_db": snr, "mnru_q_db": q, **means}


@pytest.fixture(scope="module")
def fitted(rated: Path) -> fit.Fit:
    return fit.fit(rated, sorted(rated.glob("*.wav")))


def test_fit_passes_through_the_condition_means(fitted: fit.Fit) -> None:
    assert fitted.clips == 2 * len(CONDITIONS)
    assert fitted.talkers == 2
    assert fitted.fitted["s"].error < 0.15
    assert fitted.fitted["n"].error < 0.05
    assert fitted.fitted["g"].error < 0.10
    # PESQ differs between speakers, the votes do not.
    assert min(one.lcc_clip for one in fitted.fitted.values()) > 0.9


def test_speaker_who_was_left_out_is_reported_by_the_other(fitted: fit.Fit) -> None:
    """Votes are the same for both talkers: what is left is how unlike the measures find them."""
    for key, bound in (("s", 0.4), ("n", 0.1), ("g", 0.25)):
        assert fitted.fitted[key].error_per_talker <= fitted.left_out[key].error_per_talker < bound


def test_fit_finds_how_g_comes_from_s_and_n(fitted: fit.Fit) -> None:
    s, n = np.array([2.0, 3.0, 4.0]), np.array([3.5, 3.0, 2.5])
    expected = general_mos(s, n, LISTENERS.general)
    np.testing.assert_allclose(general_mos(s, n, fitted.curves.general), expected, atol=0.05)


def test_pesq_is_measured_at_rising_q(fitted: fit.Fit) -> None:
    assert fitted.curves.q_db == fit.Q_GRID_DB
    assert np.all(np.diff(fitted.curves.pesq_at_q) > 0)
    assert fitted.curves.pesq_at_q[-1] - fitted.curves.pesq_at_q[0] > 2


def test_envelope_distance_is_measured_at_rising_q(fitted: fit.Fit) -> None:
    assert np.all(np.diff(fitted.curves.envelope_at_q) < 0)
    assert fitted.curves.envelope_at_q[0] > 3 > 0.1 > fitted.curves.envelope_at_q[-1]


def test_same_seed_same_clips(rated: Path) -> None:
    one, two, other = (read_rated(rated, seed).heard[7] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.noise, two.noise)
    np.testing.assert_array_equal(one.speech, two.speech)
    assert not np.array_equal(one.noise, other.noise)


def test_folder_without_ratings_is_refused(tmp_path: Path, rated: Path) -> None:
    with pytest.raises(CorpusError, match=r"no labels\.csv"):
        fit.fit(tmp_path, sorted(rated.glob("*.wav")))


def test_clean_speech_is_needed(rated: Path) -> None:
    with pytest.raises(CorpusError, match="clean speech"):
        fit.fit(rated, [])


@pytest.mark.shared
def test_shipped_curves_pass_through_real_ratings(shared_data: Path) -> None:
    """The limits for the 13 conditions of CSP835, with every clip measured; each speaker by curves of the other
    two."""
    rated = read_rated(shared_data / "p835_csp835_refconditions", seed=0)
    measured = fit.measure(rated, curves())
    assert len(measured.q_db) == 78
    for made in (fit.predict(measured, curves()), fit.left_out_scores(rated, measured, curves())):
        found = fit.judge(rated, made)
        assert found["s"].error <= 0.30 and found["s"].lcc >= 0.95
        assert found["n"].error <= 0.20 and found["n"].lcc >= 0.97
        assert found["g"].error <= 0.20 and found["g"].lcc >= 0.97
