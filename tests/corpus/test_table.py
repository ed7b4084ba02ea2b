"""The table of a corpus, and the clips of its rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.table import COLUMNS, TABLE, excerpt, read_clip, read_rows, write_rows
from mtqnet.errors import CorpusError, MissingFileError, UnreadableError


def row(**changes: Any) -> dict[str, Any]:
    blank = {"string": "x", "int64": 0, "double": 1.5, "list<string>": ["Opus", "Playback"]}
    return {name: blank[kind] for name, kind in COLUMNS.items()} | changes


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row(id="train/000000", samples=7), row(id="train/000001", steps=[])]
    write_rows(rows, tmp_path / TABLE)
    assert read_rows(tmp_path) == rows == read_rows(tmp_path / TABLE)
    assert [file.name for file in tmp_path.iterdir()] == [TABLE]


def test_table_of_a_user_in_csv_is_read_too(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["file", "s_mos"], ["a.wav", "3.5"]])
    assert read_rows(table) == [{"file": "a.wav", "s_mos": "3.5"}]
    assert excerpt(tmp_path, read_rows(table)[0]) == Excerpt(tmp_path / "a.wav")


def test_folder_without_a_table_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="build the corpus with"):
        read_rows(tmp_path)


def test_clip_is_its_stretch_of_the_shard_and_nothing_else(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 9_000).astype(np.float32)
    sf.write(tmp_path / "shard.flac", sound, 16_000, "PCM_24")
    clip = read_clip(tmp_path, {"shard": "shard.flac", "start": 4_000, "samples": 3_000})
    np.testing.assert_allclose(clip, sound[4_000:7_000], atol=2**-23)


def test_a_corpus_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere does not exist"):
        read_rows(tmp_path / "nowhere")


def test_shard_that_is_cut_or_gone_is_reported(tmp_path: Path) -> None:
    sf.write(tmp_path / "shard.flac", np.zeros(1_000), 16_000)
    with pytest.raises(UnreadableError, match="ends before sample 1500"):
        read_clip(tmp_path, {"shard": "shard.flac", "start": 500, "samples": 1_000})
    with pytest.raises(MissingFileError, match="no such file"):
        read_clip(tmp_path, {"shard": "other.flac", "start": 500, "samples": 1_000})
