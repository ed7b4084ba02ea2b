"""The existing models run in a separate environment; the tests replace it by a program that is started in the same
way."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import peer_stand_in
from mtqnet.audio.reading import Excerpt
from mtqnet.corpus import ensemble
from mtqnet.corpus.peer_worker import COLUMNS, RATE, read
from mtqnet.errors import UsageError


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    peer_stand_in.put_in(tmp_path, monkeypatch, peer_stand_in.BY_START)
    monkeypatch.setattr(ensemble, "CHUNK", 4)
    return tmp_path / "store"


def score(
    store: Path, clips: int = 10, python: str = sys.executable, predictors: tuple[str, ...] = tuple(COLUMNS)
) -> ensemble.Scores:
    shard = store.parent / "shard.flac"
    if not shard.exists():
        shard.touch()
    excerpts = [Excerpt(shard, number, 100) for number in range(clips)]
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    scores = ensemble.score(Path(python), excerpts, store, "test", 2, progress, predictors)
    assert told[-1] == (clips * len(predictors), clips * len(predictors))
    return scores


def test_scores_come_back_in_the_order_of_the_clips(stand_in: Path) -> None:
    scores = score(stand_in)
    assert list(scores) == [column for columns in COLUMNS.values() for column in columns]
    np.testing.assert_array_equal(scores["dnsmos_sig"], np.arange(10))
    np.testing.assert_array_equal(scores["distillmos"], np.arange(10))
    assert set(scores["dnsmos_p808"]) == {4.0}


def test_what_is_stored_is_not_scored_again(stand_in: Path) -> None:
    score(stand_in)
    assert sum(1 for _ in stand_in.glob("*.called")) == 6
    score(stand_in, python="no such python")
    grown = score(stand_in, clips=11)
    np.testing.assert_array_equal(grown["dnsmos_sig"], np.arange(11))
    assert sum(1 for _ in stand_in.glob("*.called")) == 8  # the last chunk of each predictor again


def test_only_the_predictors_that_are_asked_for_are_run(stand_in: Path) -> None:
    assert ensemble.predictors_of(["distillmos"]) == ("distillmos",)
    assert ensemble.predictors_of(["dnsmos_p808", "distillmos", "dnsmos_sig"]) == ("dnsmos", "distillmos")
    assert set(score(stand_in, predictors=("distillmos",))) == {"distillmos"}
    assert sum(1 for _ in stand_in.glob("*.called")) == 3


def test_missing_environment_states_how_to_make_it(stand_in: Path) -> None:
    with pytest.raises(UsageError, match="make peers"):
        score(stand_in, python="no such python")


def test_failing_peer_states_why_and_leaves_no_half_result(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = stand_in.parent / "broken.py"
    broken.write_text("raise ImportError('No module named speechmos')")
    monkeypatch.setattr(ensemble, "WORKER", broken)
    with pytest.raises(UsageError, match="No module named speechmos"):
        score(stand_in)
    assert not list(stand_in.glob("*.csv"))


def test_worker_reads_a_stretch_and_other_rates(tmp_path: Path) -> None:
    sound = (0.1 * np.sin(np.arange(8000) / 5)).astype(np.float32)
    sf.write(tmp_path / "wide.wav", sound, RATE, subtype="FLOAT")
    sf.write(tmp_path / "narrow.wav", np.stack([sound, sound], axis=1), 8000, subtype="FLOAT")
    part = read({"path": str(tmp_path / "wide.wav"), "start": "100", "samples": "50"})
    np.testing.assert_array_equal(part, sound[100:150])
    assert len(read({"path": str(tmp_path / "narrow.wav"), "start": "0", "samples": ""})) == 16_000
