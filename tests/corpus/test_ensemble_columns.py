"""Predictor scores, ensemble labels and disagreement as columns of a corpus."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import peer_stand_in
from mtqnet.corpus import ensemble
from mtqnet.corpus.ensemble import PREDICTORS
from mtqnet.corpus.table import COLUMNS, ENSEMBLE_COLUMNS, TABLE, read_rows, write_rows
from mtqnet.errors import CorpusError
from mtqnet.training.data import weights_of

STEPS: tuple[list[str], ...] = (["WhiteNoise", "Playback"], ["Opus"], ["RecordedNoise", "Dtln"], [])


def row(number: int, split: str) -> dict[str, Any]:
    text = {name: "" for name, kind in COLUMNS.items() if kind == "string"}
    values = {name: 2.5 + 0.1 * number for name, kind in COLUMNS.items() if kind == "double"}
    place = {"id": f"{split}/{number:06d}", "split": split, "shard": "audio.flac", "start": number, "samples": 9}
    return {**text, **values, **place, "steps": STEPS[number % len(STEPS)], "recipe": "{}"}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    peer_stand_in.put_in(tmp_path, monkeypatch, peer_stand_in.BY_PLACE)
    folder = tmp_path / "corpus"
    folder.mkdir()
    sf.write(folder / "audio.flac", np.zeros(64, np.float32), 16_000)
    rows = [row(number, "train") for number in range(6)] + [row(number, "validation") for number in range(4)]
    write_rows(rows, folder / TABLE)
    return folder


def test_the_table_gets_the_scores_the_ensemble_and_the_disagreement(corpus: Path) -> None:
    before = read_rows(corpus)
    ensemble.add_ensemble(corpus, Path(sys.executable), 1)
    after = read_rows(corpus)
    assert list(after[0]) == [*COLUMNS, *ENSEMBLE_COLUMNS]
    assert [{name: one[name] for name in COLUMNS} for one in after] == before
    for one in after:
        assert all(one[key] is not None for key in PREDICTORS)
        assert 1 <= one["g_mos_ensemble"] <= 5
        assert one["g_mos_disagreement"] >= 0
    assert len({one["s_mos_ensemble"] for one in after}) > 1


def test_clips_that_no_predictor_scored_keep_a_label_of_the_labeller(corpus: Path) -> None:
    ensemble.add_ensemble(corpus, Path(sys.executable), 1, train=2)
    train = [one for one in read_rows(corpus) if one["split"] == "train"]
    assert [one["distillmos"] is None for one in train] == [False] * 2 + [True] * 4
    assert all(one["n_mos_ensemble"] is not None for one in train)
    assert [one["n_mos_disagreement"] is None for one in train] == [False] * 2 + [True] * 4


def test_training_takes_the_ensemble_as_labels_and_weights_from_the_disagreement(corpus: Path) -> None:
    with pytest.raises(CorpusError, match="corpus ensemble"):
        ensemble.as_labels(read_rows(corpus))
    assert weights_of(read_rows(corpus)) == {}
    ensemble.add_ensemble(corpus, Path(sys.executable), 1)
    rows = ensemble.as_labels(read_rows(corpus))
    assert [one["s_mos"] for one in rows] == [one["s_mos_ensemble"] for one in rows]
    weights = weights_of(rows)
    assert set(weights) == {"s_mos", "n_mos", "g_mos"}
    most, least = (pick([one["g_mos_disagreement"] for one in rows]) for pick in (np.argmax, np.argmin))
    assert weights["g_mos"][most] < weights["g_mos"][least]
    assert np.mean(weights["g_mos"]) == pytest.approx(1.0)


def test_the_columns_stay_when_the_corpus_is_scored_again(corpus: Path) -> None:
    ensemble.add_ensemble(corpus, Path(sys.executable), 1)
    first = read_rows(corpus)
    ensemble.add_ensemble(corpus, Path("no such python"), 1)
    assert read_rows(corpus) == first
