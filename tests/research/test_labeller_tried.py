"""The table of measures: each is fitted like the labeller, and evaluated on other speakers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.corpus.degradations.device import mnru
from mtqnet.errors import CorpusError
from research.labeller import rated, tried
from research.labeller.__main__ import tried_page
from research.labeller.rated import Rated, make
from research.labeller.tried import RatedCodec

Samples = NDArray[np.float32]

LEVELS = ((50.0, 70.0), (8.0, 40.0), (24.0, 40.0), (40.0, 10.0), (40.0, 30.0), (20.0, 20.0))
"""(Q, SNR) in dB"""


@pytest.fixture(scope="module")
def conditions(talker: Callable[..., Samples]) -> Rated:
    """Two talkers in six conditions; the votes rise with Q and SNR."""
    heard = tuple(make(talker(2.5, seed=seed), q, snr, 0) for seed in (1, 2) for q, snr in LEVELS)
    sig = np.tile([1 + 3.6 / (1 + np.exp(-(q - 14) / 6)) for q, _ in LEVELS], 2)
    bak = np.tile([1 + 3.8 / (1 + np.exp(-(snr - 26) / 10)) for _, snr in LEVELS], 2)
    names = tuple(f"c{n}" for n in range(len(LEVELS))) * 2
    return Rated(names, ("a",) * 6 + ("b",) * 6, heard, sig, bak, (sig + bak) / 2)


@pytest.fixture(scope="module")
def rows(conditions: Rated, talker: Callable[..., Samples], request: pytest.FixtureRequest) -> list[tried.Row]:
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    patch.setattr(
        tried, "_visqol", lambda clean, speech: -float(np.mean((clean - speech) ** 2))
    )  # needs a package
    clean = talker(2.5, seed=3)
    codecs = [
        RatedCodec(f"q{q}", 2.0 * q, clean, mnru(clean, q, np.random.default_rng(q)), 50.0, 3.0)
        for q in (5, 20, 40)
    ]
    return tried.compare(conditions, codecs, [talker(2.5, seed=4), talker(2.5, seed=5)])


def test_every_measure_and_mix_has_a_row(rows: list[tried.Row]) -> None:
    names = [row.name for row in rows]
    assert {"PESQ", "ESTOI", "envelope", tried.CHOSEN, *tried.MIXES, *tried.BACKGROUND} <= set(names)
    assert len(set(names)) == len(names)


def test_measures_that_hear_modulated_noise_rank_it(rows: list[tried.Row]) -> None:
    for row in rows:
        assert np.isfinite([*vars(row.ratings).values()]).all()
        if row.codecs is not None:
            assert min(row.codecs) > 0.999, row.name
            assert row.ratings.lcc > 0.9, row.name


def test_page_contains_all_figures(rows: list[tried.Row]) -> None:
    clean, noisy, enhanced = (np.array([of, of]) for of in ((4.6, 4.4, 4.3), (4.5, 2.0, 2.5), (4.0, 3.5, 3.25)))
    page = tried_page(rows, tried.Triples(clean, noisy, enhanced))
    assert "| 2 sentences, three signals |" in page
    assert "| enhanced (CMGAN) | 4.000 | 3.500 | 3.250 |" in page
    assert "| sentences with clean > enhanced > noisy | 0 | 2 | 2 |" in page
    for row in rows:
        assert f"| {row.name} | {row.ratings.error:.3f} | {row.ratings.lcc:.3f} |" in page
    assert "they are not scores of the licensed 3QUEST instrument" in page


def test_left_out_speaker_is_predicted_by_the_others_alone(conditions: Rated) -> None:
    def mean_of_train(train: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.full(len(train), 1.0 if train[0] else 2.0)

    made = rated.left_out(conditions, mean_of_train)
    assert made.tolist() == [2.0] * 6 + [1.0] * 6


def test_folder_without_ratings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no labels\.csv"):
        tried.rate_codecs(tmp_path)


def test_triples_are_labelled_from_three_signals(tmp_path: Path, talker: Callable[..., Samples]) -> None:
    clean = talker(3.0)
    heard = make(clean, 50.0, 15.0, 0)
    softer = clean + np.float32(0.2) * heard.noise
    for name, sound in (("clean", clean), ("noisy", clean + heard.noise), ("enhanced_x", softer)):
        (tmp_path / name).mkdir()
        sf.write(tmp_path / name / "a.flac", sound, 16_000, "PCM_24")
    found = tried.rate_triples(tmp_path)
    assert found.clean.shape == found.noisy.shape == (1, 3)
    assert found.enhanced[0, 1] > found.noisy[0, 1] + 0.8, "N"
    assert found.ordered()[1:] == (1, 1)
    with pytest.raises(CorpusError, match="needs clean/"):
        tried.rate_triples(tmp_path / "clean")


@pytest.mark.shared
def test_clean_is_above_enhanced_above_noisy(shared_data: Path, tmp_path: Path) -> None:
    """VoiceBank-DEMAND and CMGAN, three sentences; docs/results/voicebank.md has all."""
    source = shared_data / "pairs_voicebank_demand_cmgan"
    for name in sorted(path.name for path in (source / "clean").glob("*.flac"))[::10]:
        for part in ("clean", "noisy", "enhanced_cmgan"):
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / name).symlink_to(source / part / name)
    found = tried.rate_triples(tmp_path)
    assert found.ordered()[1:] == (len(found.clean), len(found.clean)) == (3, 3)
